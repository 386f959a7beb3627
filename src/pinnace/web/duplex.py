"""Raw connections as `messages.Duplex`: after an upgrade, or dialled directly."""

import asyncio
import contextlib
import ssl
import typing
from collections.abc import Callable

from pinnace.web import messages

HELD_BYTES = 256 * 1024
"""Beyond this many unread bytes the socket is not read."""


class WriteGate:
    """Follows pause_writing and resume_writing of a transport; `wait` returns when the peer keeps up again."""

    __slots__ = ("_error", "_is_paused", "_waiters")

    def __init__(self) -> None:
        self._is_paused = False
        self._waiters: list[asyncio.Future[None]] = []
        self._error: Exception | None = None

    @property
    def is_open(self) -> bool:
        return not self._is_paused and self._error is None

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        self._error = error
        self.resume()

    async def wait(self) -> None:
        """Raises what `fail` was given."""
        while self._is_paused and self._error is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._error is not None:
            raise self._error


def is_tls(transport: asyncio.BaseTransport) -> bool:
    try:
        return transport.get_extra_info("ssl_object") is not None
    except AttributeError:
        return True  # asyncio's own TLS transport, closed, has forgotten what it spoke


class TransportDuplex(asyncio.Protocol):
    """An asyncio protocol that hands out what arrives. One reader, any number of writers."""

    def __init__(self, early: bytes = b"", on_lost: Callable[[], None] | None = None) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = [early] if early else []
        self._size = len(early)
        self._is_paused = False
        self._is_ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._gate = WriteGate()
        self._on_lost = on_lost

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = typing.cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._is_ended = True
        self._wake()
        # Over plain sockets the other direction stays open: the peer may only have ended its own writes.
        return self._transport is not None and not is_tls(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = True
        self._gate.fail(messages.Disconnected("the connection is closed"))
        self._wake()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        self._gate.pause()

    def resume_writing(self) -> None:
        self._gate.resume()

    # ------------------------------------------------------------ the user's side

    async def read(self) -> bytes:
        while not self._received:
            if self._is_ended:
                return b""
            assert self._waiter is None, "a connection has one reader"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self._size = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise messages.Disconnected("the connection is closed")
        self._transport.write(data)
        if not self._gate.is_open:
            await self._gate.wait()

    async def end(self) -> None:
        if self._transport is not None and self._transport.can_write_eof() and not self._transport.is_closing():
            with contextlib.suppress(OSError):  # the peer may have reset the connection
                self._transport.write_eof()

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def detach(self) -> asyncio.Transport:
        """The transport, for `loop.start_tls`; this object is of no use afterwards."""
        assert self._transport is not None
        return self._transport

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(host: str, port: int, *, context: ssl.SSLContext | None = None) -> TransportDuplex:
    """Raises OSError."""
    _, protocol = await asyncio.get_running_loop().create_connection(TransportDuplex, host, port, ssl=context)
    return protocol


async def settle(
    *tasks: "asyncio.Task[typing.Any]", quiet: tuple[type[Exception], ...] = (messages.Disconnected,)
) -> None:
    """Cancel what still runs and wait for all; raises the first error that is not one of `quiet`."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception) and not isinstance(result, quiet):
            raise result


async def relay(left: messages.Duplex, right: messages.Duplex) -> None:
    """Carry bytes both ways until both directions have ended or one side is gone; closes both."""

    async def carry(source: messages.Duplex, sink: messages.Duplex) -> None:
        while data := await source.read():
            await sink.write(data)
        await sink.end()

    tasks = [asyncio.create_task(carry(left, right)), asyncio.create_task(carry(right, left))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        try:
            await settle(*tasks)
        finally:
            await left.close()
            await right.close()
