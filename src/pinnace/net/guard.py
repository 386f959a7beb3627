"""Who may send what from a pod's link: nobody but the pod, under its own addresses, to its gateway. Pure: returns nft(8) text and elements.

A pod may hold CAP_NET_RAW and forge any frame. Before the bridge looks at a frame from a pod's port, link, link address and address must be
one element of `members` (one look-up, however many pods there are), and it must be for the gateway: pods do not speak to each other but
through the host, where the cluster's other table is passed. Everything that is not IPv4 or ARP is dropped (there is no IPv6 in the cluster:
router advertisements and link-local neighbours have nobody to reach).

The ports of pods are known by their group of links, set when they are made; links of others are not looked at. The ports are not isolated
from each other in the bridge's sense: where the machine hands bridged packets to the IP hooks (net.bridge.bridge-nf-call-iptables), it is the
bridge that carries a packet for a Service from pod to pod, once its address has been translated.
"""

import hashlib
import ipaddress
from collections.abc import Mapping

from pinnace.kernel import elements
from pinnace.net import interface

GATEWAY_MAC = "0a:58:0a:2a:00:01"
"""The same on every bridge: pods keep a valid neighbour entry when the bridge is made anew."""
MEMBERS = "members"


def mac_of(address: ipaddress.IPv4Address) -> str:
    """A pod's link address follows from its address (locally administered, and never the gateway's)."""
    return "0a:59:" + ":".join(f"{octet:02x}" for octet in address.packed)


def group_of(table: str) -> int:
    """The group of links that the ports of this cluster's pods are in."""
    return int.from_bytes(hashlib.sha256(table.encode()).digest()[:4], "big") & 0x7FFFFFFF | 1


def table_text(name: str) -> str:
    """Creates the table, or brings an older one to this form; elements stay."""
    known = "iifname . ether saddr . ip saddr"
    rules = [
        f"iifgroup != {group_of(name)} accept",
        f"ether type ip ether daddr {GATEWAY_MAC} {known} @{MEMBERS} accept",
        f"ether type arp ether daddr {{ {GATEWAY_MAC}, ff:ff:ff:ff:ff:ff }} {known.replace('ip saddr', 'arp saddr ip')} @{MEMBERS}"
        f" iifname . arp saddr ether . arp saddr ip @{MEMBERS} accept",
        "drop",
    ]
    lines = [
        f"add table bridge {name}",
        f"add set bridge {name} {MEMBERS} {{ type ifname . ether_addr . ipv4_addr; }}",
        # Before everything else of the bridge, and before it hands packets to the IP hooks.
        f"add chain bridge {name} guard {{ type filter hook prerouting priority -300; policy accept; }}",
        f"flush chain bridge {name} guard",
        *(f"add rule bridge {name} guard {rule}" for rule in rules),
    ]
    return "\n".join(lines) + "\n"


def member(attachment: interface.Attachment) -> elements.Element:
    mac = bytes.fromhex(mac_of(attachment.address).replace(":", ""))
    name = attachment.interface.encode().ljust(16, b"\0")
    return name + mac + bytes(2) + attachment.address.packed, b""


def all_members(attachments: Mapping[str, interface.Attachment]) -> list[elements.Change]:
    """The set as it has to be, whatever is in it."""
    found = [member(attachment) for attachment in attachments.values()]
    return [
        elements.Change(MEMBERS, is_add=False, is_flush=True),
        elements.Change(MEMBERS, is_add=True, elements=found),
    ]
