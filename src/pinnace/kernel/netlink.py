"""Netfilter's netlink in bytes: attributes, messages and one socket that waits for the kernel's answers.

For what is too slow through libnftables (tens of thousands of elements at once) or not reachable by it (tracked connections). Everything here
is in the layout of linux/netlink.h and linux/netfilter/nfnetlink.h: a message is a header, the family header and attributes padded to four bytes.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence

REQUEST, ACKNOWLEDGE, DUMP, CREATE = 0x1, 0x4, 0x300, 0x400
NESTED = 0x8000
BATCH_BEGIN, BATCH_END = 0x10, 0x11

_NETFILTER = 12
_ERROR, _DONE = 2, 3
_RECEIVE_BYTES = 1 << 18
_PATIENCE_SECONDS = 20
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_HEADERS_BYTES = _HEADER.size + _FAMILY.size
FAMILY_BYTES = _FAMILY.size
"""Between an answer's header and its attributes."""


def attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(data: memoryview | bytes) -> Iterator[tuple[int, memoryview]]:
    """(type without flags, payload) of each."""
    view = memoryview(data)
    while len(view) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(view)
        if length < 4:
            return
        yield kind & 0x3FFF, view[4:length]
        view = view[(length + 3) & ~3 :]


def message(
    kind: int, flags: int, sequence: int, body: bytes, *, family: int = socket.AF_INET, resource: int = 0
) -> bytes:
    """`kind` is subsystem << 8 | message, or one of the batch marks."""
    header = _HEADER.pack(_HEADERS_BYTES + len(body), kind, flags, sequence, 0)
    return header + _FAMILY.pack(family, 0, resource) + body


class Socket:
    """For one thread at a time. The kernel handles a request before `send` returns, so that its answers are there already."""

    def __init__(self, protocol: int = _NETFILTER) -> None:
        """Belongs to the network namespace of the calling thread."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        # Answers are there already: whoever waits for one that never comes gets an OSError.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE_SECONDS, 0))
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def transact(self, data: bytes, sequences: int) -> None:
        """Send a batch whose messages are numbered below `sequences` and whose last one asks for an acknowledgement. Raises OSError with the
        first refusal (`filename` is then the number of the refused message): the kernel has changed nothing."""
        self._make_room(len(data))
        self._socket.sendto(data, (0, 0))
        refused: tuple[int, int] | None = None
        while True:
            for kind, sequence, body in self._receive():
                if kind != _ERROR:
                    continue
                (code,) = struct.unpack_from("=i", body)
                if code and (refused is None or sequence < refused[1]):
                    refused = (-code, sequence)
                if code == 0 and refused is None and sequence == sequences - 1:
                    return
            if refused is not None:
                self._drain()
                raise OSError(refused[0], os.strerror(refused[0]), str(refused[1]))

    def request(self, data: bytes) -> None:
        """One message that asks for an acknowledgement. Raises OSError."""
        self._socket.sendto(data, (0, 0))
        for kind, _, body in self._receive():
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", body)
                if code:
                    raise OSError(-code, os.strerror(-code))

    def ask(self, data: bytes) -> memoryview:
        """The body of the one answer to a request. Raises OSError."""
        self._socket.sendto(data, (0, 0))
        ((kind, _, body),) = self._receive()
        if kind == _ERROR:
            (code,) = struct.unpack_from("=i", body)
            raise OSError(-code, os.strerror(-code))
        return body

    def dump(self, data: bytes) -> Iterator[memoryview]:
        """The attributes of each object that a dump request finds. Read to the end before the socket is used again. Raises OSError."""
        self._socket.sendto(data, (0, 0))
        while True:
            for kind, _, body in self._receive():
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    (code,) = struct.unpack_from("=i", body)
                    raise OSError(-code, os.strerror(-code))
                yield body[_FAMILY.size :]

    def _receive(self) -> Sequence[tuple[int, int, memoryview]]:
        """(type, sequence, body) of the messages of one datagram."""
        view = memoryview(self._socket.recv(_RECEIVE_BYTES))
        found = []
        while len(view) >= _HEADER.size:
            length, kind, _, sequence, _ = _HEADER.unpack_from(view)
            found.append((kind, sequence, view[_HEADER.size : length]))
            view = view[(length + 3) & ~3 :]
        return found

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return

    def _make_room(self, size: int) -> None:
        if size > 100_000:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * size)
            # A batch that is refused is answered once for each of its messages.
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 22)
