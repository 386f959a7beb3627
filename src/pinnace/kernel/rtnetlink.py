"""Links, addresses, routes and neighbours over rtnetlink (linux/rtnetlink.h, linux/if_link.h), several requests in one message to the kernel.

Links are named, not numbered, wherever the kernel allows it: no look-up whose answer grows with the number of links.
"""

import errno
import ipaddress
import pathlib
import socket
import struct
from collections.abc import Sequence

from pinnace.kernel import netlink

_PROTOCOL = 0
_GET_ADDRESS = 22
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ADDRESS, _NEW_ROUTE, _NEW_NEIGHBOUR, _DELETE_NEIGHBOUR = (
    16,
    17,
    18,
    20,
    24,
    28,
    29,
)
_REPLACE, _EXCLUSIVE = 0x100, 0x200
_UP = 0x1
LOOPBACK = 1
"""The index of every namespace's own `lo`."""

# Attributes of links, of their kind, of a bridge's port, of addresses and routes.
_ADDRESS, _NAME, _MTU, _MASTER, _INFO, _GROUP, _NAMESPACE = 1, 3, 4, 10, 18, 27, 28
_KIND, _DATA, _PORT_KIND, _PORT_DATA = 1, 2, 4, 5
_PEER = 1
_PORT_HAIRPIN = 4
_PORT_LEARNING, _PORT_UNICAST_FLOOD, _PORT_MULTICAST_FLOOD, _PORT_BROADCAST_FLOOD = 8, 9, 27, 30
_INTERFACE_ADDRESS, _INTERFACE_LOCAL = 1, 2
_DESTINATION, _OUT, _GATEWAY, _PREFERRED_SOURCE = 1, 4, 5, 7

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS_HEADER = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_NEIGHBOUR_ADDRESS, _NEIGHBOUR_LINK_ADDRESS = 1, 2
_STATIC, _PERMANENT, _OF_MASTER = 0x40, 0x80, 0x04
_BRIDGE = 7
_MAIN_TABLE, _BOOT, _UNICAST = 254, 3, 1
_SCOPE_GLOBAL, _SCOPE_LINK = 0, 253

Request = tuple[int, int, bytes]
"""(type, flags, body): what `Links.change` takes."""


def new_bridge(name: str, mac: str) -> Request:
    body = _link() + _name(name) + netlink.attribute(_ADDRESS, _mac(mac))
    kind = netlink.nested(_INFO, netlink.attribute(_KIND, b"bridge"))
    return _NEW_LINK, netlink.CREATE | _EXCLUSIVE, body + kind


def new_veth(name: str, bridge: int, peer: str, peer_namespace: int, mtu: int, *, peer_mac: str, group: int) -> Request:
    """A pair: one end up on the bridge (an index), in a group of links; the other, with that link address, in the namespace that a
    descriptor names."""
    size = netlink.attribute(_MTU, struct.pack("=I", mtu))
    there = _link() + _name(peer) + size + netlink.attribute(_ADDRESS, _mac(peer_mac))
    there += netlink.attribute(_NAMESPACE, struct.pack("=I", peer_namespace))
    kind = netlink.nested(
        _INFO, netlink.attribute(_KIND, b"veth"), netlink.nested(_DATA, netlink.attribute(_PEER, there))
    )
    owners = netlink.attribute(_MASTER, struct.pack("=I", bridge)) + netlink.attribute(_GROUP, struct.pack("=I", group))
    return _NEW_LINK, netlink.CREATE | _EXCLUSIVE, _link(up=True) + _name(name) + size + kind + owners


def closed_port(name: str) -> Request:
    """The bridge learns nothing from this port and sends there only what is for an address that it was told of (`set_forwarding`). It may send
    what it got through this port back through it."""
    switches = {
        _PORT_HAIRPIN: b"\1",
        _PORT_LEARNING: b"\0",
        _PORT_UNICAST_FLOOD: b"\0",
        _PORT_MULTICAST_FLOOD: b"\0",
        _PORT_BROADCAST_FLOOD: b"\0",
    }
    port = netlink.nested(_PORT_DATA, *(netlink.attribute(kind, value) for kind, value in switches.items()))
    return _NEW_LINK, 0, _link() + _name(name) + netlink.nested(_INFO, netlink.attribute(_PORT_KIND, b"bridge"), port)


def set_forwarding(port: int, mac: str) -> Request:
    """The bridge sends what is for this link address through this port (an index), whatever arrives elsewhere. It goes with the port."""
    body = _NEIGHBOUR.pack(_BRIDGE, port, _STATIC, _OF_MASTER, 0)
    return _NEW_NEIGHBOUR, netlink.CREATE | _REPLACE, body + netlink.attribute(_NEIGHBOUR_LINK_ADDRESS, _mac(mac))


def set_neighbour(index: int, address: ipaddress.IPv4Address, mac: str) -> Request:
    """Who has the address on this link, whatever anybody says there."""
    body = _NEIGHBOUR.pack(socket.AF_INET, index, _PERMANENT, 0, 0)
    body += netlink.attribute(_NEIGHBOUR_ADDRESS, address.packed) + netlink.attribute(
        _NEIGHBOUR_LINK_ADDRESS, _mac(mac)
    )
    return _NEW_NEIGHBOUR, netlink.CREATE | _REPLACE, body


def delete_neighbour(index: int, address: ipaddress.IPv4Address) -> Request:
    body = _NEIGHBOUR.pack(socket.AF_INET, index, 0, 0, 0)
    return _DELETE_NEIGHBOUR, 0, body + netlink.attribute(_NEIGHBOUR_ADDRESS, address.packed)


def set_up(index: int, mtu: int = 0) -> Request:
    """`mtu`: 0 leaves it."""
    return _NEW_LINK, 0, _link(index, up=True) + (netlink.attribute(_MTU, struct.pack("=I", mtu)) if mtu else b"")


def delete_link(name: str) -> Request:
    return _DELETE_LINK, 0, _link() + _name(name)


def set_address(index: int, address: ipaddress.IPv4Address, prefix_length: int) -> Request:
    body = _ADDRESS_HEADER.pack(socket.AF_INET, prefix_length, 0, _SCOPE_GLOBAL, index)
    body += netlink.attribute(_INTERFACE_LOCAL, address.packed) + netlink.attribute(_INTERFACE_ADDRESS, address.packed)
    return _NEW_ADDRESS, netlink.CREATE | _REPLACE, body


def set_route(
    index: int,
    destination: ipaddress.IPv4Network,
    gateway: ipaddress.IPv4Address | None = None,
    source: ipaddress.IPv4Address | None = None,
) -> Request:
    """Without a gateway: what is reached on the link itself. `source`: the machine's address that speaks where none was chosen;
    the route goes with it."""
    scope = _SCOPE_LINK if gateway is None else _SCOPE_GLOBAL
    body = _ROUTE.pack(socket.AF_INET, destination.prefixlen, 0, 0, _MAIN_TABLE, _BOOT, scope, _UNICAST, 0)
    if destination.prefixlen:
        body += netlink.attribute(_DESTINATION, destination.network_address.packed)
    if gateway is not None:
        body += netlink.attribute(_GATEWAY, gateway.packed)
    if source is not None:
        body += netlink.attribute(_PREFERRED_SOURCE, source.packed)
    return _NEW_ROUTE, netlink.CREATE | _REPLACE, body + netlink.attribute(_OUT, struct.pack("=I", index))


class Links:
    """The links of the network namespace of the thread that makes this object; for one thread at a time."""

    def __init__(self) -> None:
        self._socket = netlink.Socket(_PROTOCOL)

    def __enter__(self) -> "Links":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def change(self, *requests: Request) -> None:
        """All of them, in order, in one message. Raises OSError with the first refusal; the others were tried all the same."""
        data = b"".join(
            _message(kind, netlink.REQUEST | netlink.ACKNOWLEDGE | flags, sequence, body)
            for sequence, (kind, flags, body) in enumerate(requests)
        )
        self._socket.transact(data, len(requests))

    def find(self, name: str) -> int | None:
        """The index of a link; None: there is none of that name."""
        request = _message(_GET_LINK, netlink.REQUEST, 0, _link() + _name(name))
        try:
            return int(_LINK.unpack_from(self._socket.ask(request))[2])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def addresses(self) -> frozenset[ipaddress.IPv4Address]:
        """All of IPv4 that are this machine's."""
        body = _ADDRESS_HEADER.pack(socket.AF_INET, 0, 0, 0, 0)
        found = set()
        for answer in self._socket.dump(_message(_GET_ADDRESS, netlink.REQUEST | netlink.DUMP, 0, body)):
            parts = dict(netlink.attributes(answer[_ADDRESS_HEADER.size - netlink.FAMILY_BYTES :]))
            found.add(ipaddress.IPv4Address(bytes(parts.get(_INTERFACE_LOCAL) or parts[_INTERFACE_ADDRESS])))
        return frozenset(found)

    def delete(self, names: Sequence[str]) -> None:
        """Quiet about those that are not there."""
        for name in names:
            try:
                self.change(delete_link(name))
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise


def default_mtu() -> int:
    """Of the interface with the default route; 1500 without one."""
    for line in pathlib.Path("/proc/thread-self/net/route").read_text().splitlines()[1:]:
        name, destination, *rest = line.split()
        if destination == "00000000" and rest[5] == "00000000":
            return int(pathlib.Path(f"/sys/class/net/{name}/mtu").read_text())
    return 1500


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def _link(index: int = 0, *, up: bool = False) -> bytes:
    flags = _UP if up else 0
    return _LINK.pack(socket.AF_UNSPEC, 0, index, flags, flags)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _name(name: str) -> bytes:
    return netlink.attribute(_NAME, name.encode() + b"\0")
