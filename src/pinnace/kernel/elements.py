"""Elements of nftables maps and sets, written by netlink in one transaction.

libnftables parses text: 60,000 elements cost it three seconds and 170 MB, this 0.2 seconds and a few megabytes. Tables, maps, chains and rules are
made by `nftables`; here are only elements. A key is the concatenation of its fields, each padded to four bytes, numbers as the packet has them
(a mark: the machine's own order; a name: 16 bytes); a map whose only key field is shorter than that is not for here.

In a set of intervals a key is a `Range` where it is a concatenation. Where it is one field an interval is two elements: `bounds` makes them.
"""

import dataclasses
import functools
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pinnace.kernel import netlink, nftables

_NEW_ELEMENTS, _DELETE_ELEMENTS = 0x0A0C, 0x0A0E
_NFTABLES = 10
_DROP, _GOTO = 0, -4
_FLAGS, _KEY_END = 3, 10
_INTERVAL_END = 1
_CHUNK_BYTES = 48_000
"""Of elements in one message: the length of a list of elements is a 16-bit number."""

IPV4, BRIDGE = socket.AF_INET, 7
"""Families of tables."""


class Range(NamedTuple):
    """All keys from `first` to `last`, field by field."""

    first: bytes
    last: bytes


class End(NamedTuple):
    """The first key that an interval of one field does not hold any more."""

    key: bytes


Key = bytes | Range | End
Element = tuple[Key, bytes]
"""Key, and what `data`, `goto` or DROP return (b"" in sets and where elements are deleted)."""


def bounds(first: int, last: int, width: int) -> tuple[Element, ...]:
    """The elements of an interval of a set whose only field has `width` bytes, at least four. One up to the greatest number has no end."""
    start: Element = (first.to_bytes(width, "big"), b"")
    if last + 1 == 1 << 8 * width:
        return (start,)
    return start, (End((last + 1).to_bytes(width, "big")), b"")


def data(value: bytes) -> bytes:
    """A value is a concatenation like a key."""
    return _head_of_value(len(value)) + value


@functools.cache
def goto(chain: str) -> bytes:
    name = netlink.attribute(2, chain.encode() + b"\0")
    return netlink.nested(2, netlink.nested(2, netlink.attribute(1, struct.pack("!i", _GOTO)), name))


DROP = netlink.nested(2, netlink.nested(2, netlink.attribute(1, struct.pack("!i", _DROP))))


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One step of a transaction: `elements` of the map go or come. `is_flush`: all that are in it go."""

    map: str
    is_add: bool
    elements: Sequence[Element] = ()
    is_flush: bool = False


class Writer:
    """For one thread at a time; of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = netlink.Socket()

    def close(self) -> None:
        self._socket.close()

    def write(self, table: str, changes: Iterable[Change], family: int = IPV4) -> None:
        """All of them, in order, or none. Raises NftablesError: an element to delete was not there, or one to add is there with other data."""
        bodies = [body for change in changes for body in _bodies(table, change)]
        if not bodies:
            return
        last = len(bodies) - 1
        parts = [_mark(netlink.BATCH_BEGIN)]
        for sequence, (kind, _, body) in enumerate(bodies):
            flags = netlink.REQUEST | (netlink.CREATE if kind == _NEW_ELEMENTS else 0)
            flags |= netlink.ACKNOWLEDGE if sequence == last else 0
            parts.append(netlink.message(kind, flags, sequence, body, family=family))
        parts.append(_mark(netlink.BATCH_END))
        try:
            self._socket.transact(b"".join(parts), len(bodies))
        except OSError as error:
            at = int(error.filename) if error.filename else 0
            verb = "add to" if bodies[at][0] == _NEW_ELEMENTS else "delete from"
            raise nftables.NftablesError(str(error.strerror), f"{verb} {table} {bodies[at][1]}") from error


def _mark(kind: int) -> bytes:
    return netlink.message(kind, netlink.REQUEST, 0, b"", family=0, resource=_NFTABLES)


def _bodies(table: str, change: Change) -> Iterator[tuple[int, str, bytes]]:
    """(message, map, body); several where the elements do not fit into one."""
    kind = _NEW_ELEMENTS if change.is_add else _DELETE_ELEMENTS
    names = netlink.attribute(1, table.encode() + b"\0") + netlink.attribute(2, change.map.encode() + b"\0")
    if change.is_flush:
        yield kind, change.map, names
    encoded: list[bytes] = []
    size = 0
    for element in change.elements:
        encoded.append(_element(*element))
        size += len(encoded[-1])
        if size > _CHUNK_BYTES:
            yield kind, change.map, names + netlink.nested(3, *encoded)
            encoded, size = [], 0
    if encoded:
        yield kind, change.map, names + netlink.nested(3, *encoded)


def _element(key: Key, value: bytes) -> bytes:
    if isinstance(key, bytes):
        return _head_of_element(len(key), len(value)) + key + value
    if isinstance(key, Range):
        return netlink.nested(1, _key(1, key.first), value, _key(_KEY_END, key.last))
    return netlink.nested(1, netlink.attribute(_FLAGS, struct.pack("!I", _INTERVAL_END)), _key(1, key.key), value)


def _key(kind: int, key: bytes) -> bytes:
    return netlink.nested(kind, netlink.attribute(1, key))


# Elements of one map have keys of one length: what precedes them is the same in all.


@functools.cache
def _head_of_value(length: int) -> bytes:
    return netlink.nested(2, netlink.attribute(1, bytes(length)))[:-length]


@functools.cache
def _head_of_element(key_length: int, value_length: int) -> bytes:
    key = netlink.nested(1, netlink.attribute(1, bytes(key_length)))
    return netlink.nested(1, key, bytes(value_length))[: -key_length - value_length]
