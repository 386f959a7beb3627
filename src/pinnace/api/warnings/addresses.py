"""IP addresses and ranges in other than their standard form (apimachinery/pkg/util/validation/ip.go)."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def ip(path: str, value: str) -> Iterator[str]:
    address, is_standard = _parse(value)
    if address is None:
        return
    if not is_standard:
        yield (
            f'{path}: non-standard IP address "{value}" will be considered invalid in a future Kubernetes release: '
            f'use "{address}"'
        )
    elif str(address) != value:
        yield f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{address}")'


def cidr(path: str, value: str) -> Iterator[str]:
    text, _, length = value.partition("/")
    address, is_standard = _parse(text)
    if address is None or not length.isdigit():
        return
    bits = int(length)
    if address.version == 4 and ":" in text:
        bits -= 96  # Of an IPv4 address in IPv6's clothes.
    if not 0 <= bits <= address.max_prefixlen:
        return
    network = ipaddress.ip_network((address, bits), strict=False)
    is_ambiguous = network.network_address != address
    is_standard = is_standard and length == str(int(length))
    if is_ambiguous:
        yield (
            f'{path}: CIDR value "{value}" is ambiguous in this context '
            f'(should be "{network}" or "{address}/{address.max_prefixlen}"?)'
        )
    if not is_standard:
        yield (
            f'{path}: non-standard CIDR value "{value}" will be considered invalid in a future Kubernetes release: '
            f'use "{network}"'
        )
    elif not is_ambiguous and str(network) != value:
        yield f'{path}: IPv6 CIDR value "{value}" should be in RFC 5952 canonical format ("{network}")'


def ips(path: str, values: Iterable[str] | None) -> Iterator[str]:
    for index, value in enumerate(values or ()):
        yield from ip(f"{path}[{index}]", value)


def cidrs(path: str, values: Iterable[str] | None) -> Iterator[str]:
    for index, value in enumerate(values or ()):
        yield from cidr(f"{path}[{index}]", value)


def _parse(text: str) -> tuple[Address | None, bool]:
    """(the address, whether it is in a form that every reader takes for the same); None for what is no address at all."""
    try:
        address: Any = ipaddress.ip_address(text)
    except ValueError:
        return _parse_sloppily(text), False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped, False) if mapped is not None else (address, True)


def _parse_sloppily(text: str) -> Address | None:
    """IPv4 with leading zeros, which Go once read as decimal and C reads as octal."""
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isdigit() and part.isascii() for part in parts):
        return None
    try:
        return ipaddress.IPv4Address(".".join(str(int(part)) for part in parts))
    except ValueError:
        return None
