"""Connections that the kernel tracks: find those to given addresses, make it forget them (ctnetlink)."""

import contextlib
import dataclasses
import ipaddress
import socket
import struct
from collections.abc import Callable

from pinnace.kernel import netlink

UDP = 17

_GET, _DELETE = 0x0101, 0x0102
_ORIGINAL, _REPLY = 1, 2
_ADDRESSES, _PORTS = 1, 2
_FROM, _TO = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """`address` and `port`: to whom the client speaks; `answers_from`: who really answers (the same where nothing is translated)."""

    address: ipaddress.IPv4Address
    port: int
    answers_from: tuple[ipaddress.IPv4Address, int]


class Connections:
    """For one thread at a time; of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = netlink.Socket()

    def close(self) -> None:
        self._socket.close()

    def forget(self, protocol: int, is_stale: Callable[[Flow], bool]) -> int:
        """Delete the IPv4 flows of one protocol for which `is_stale` holds; how many. The next packet is translated anew. Raises OSError."""
        stale = []
        for body in self._socket.dump(netlink.message(_GET, netlink.REQUEST | netlink.DUMP, 1, b"")):
            parts = dict(netlink.attributes(body))
            flow = _flow(parts, protocol)
            if flow is not None and is_stale(flow):
                stale.append(bytes(parts[_ORIGINAL]))
        for original in stale:
            named = netlink.nested(_ORIGINAL, original)
            with contextlib.suppress(FileNotFoundError):  # it ended by itself meanwhile
                self._socket.request(netlink.message(_DELETE, netlink.REQUEST | netlink.ACKNOWLEDGE, 1, named))
        return len(stale)


def _flow(parts: dict[int, memoryview], protocol: int) -> Flow | None:
    original = dict(netlink.attributes(parts[_ORIGINAL]))
    ports = dict(netlink.attributes(original[_PORTS]))
    if ports[1][0] != protocol or 3 not in ports:
        return None
    reply = dict(netlink.attributes(parts[_REPLY]))
    reply_ports = dict(netlink.attributes(reply[_PORTS]))
    to = dict(netlink.attributes(original[_ADDRESSES]))[_TO]
    answers = dict(netlink.attributes(reply[_ADDRESSES]))[_FROM]
    return Flow(_address(to), _number(ports[3]), (_address(answers), _number(reply_ports[2])))


def _address(data: memoryview) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(socket.inet_ntoa(data))


def _number(data: memoryview) -> int:
    return int(struct.unpack("!H", data)[0])
