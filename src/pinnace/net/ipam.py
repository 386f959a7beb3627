"""Which address a sandbox gets. Pure.

The first address of the node's range is the gateway (the bridge); network and broadcast addresses are never given out. The next free address
after the last one given is taken, so that an address just released is not reused at once (connections to the old pod would reach the new one).
"""

import ipaddress
from collections.abc import Collection

from pinnace.net import interface


def gateway(pod_range: ipaddress.IPv4Network) -> ipaddress.IPv4Address:
    return pod_range[1]


def next_address(
    pod_range: ipaddress.IPv4Network, used: Collection[ipaddress.IPv4Address], last: ipaddress.IPv4Address | None
) -> ipaddress.IPv4Address:
    """Raises NoAddressLeft."""
    first, count = int(pod_range[2]), pod_range.num_addresses - 3
    start = 0 if last is None or last not in pod_range else int(last) + 1 - first
    for step in range(count):
        candidate = ipaddress.IPv4Address(first + (start + step) % count)
        if candidate not in used:
            return candidate
    raise interface.NoAddressLeft(f"all {count} addresses of {pod_range} are in use")
