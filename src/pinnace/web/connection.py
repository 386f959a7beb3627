"""One connection of a server: bytes to requests, answers to bytes.

The parser's callbacks queue exchanges; one task per connection answers them in their order. `server.HttpServer` owns the
connections and their time limits.

What holds: at most one handler of a connection runs at a time; reading stops while a body or the queue is full; writing stops
while the client does not read; a handler that only reads (GET, HEAD) and every streamed answer is cancelled when
the client goes away, any other handler runs to its end.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol

from pinnace.kit import subjects
from pinnace.web import bodies, duplex, messages, request_parser, response_writer, wire

log = logging.getLogger(__name__)

MAX_QUEUED = 16
"""Requests of one connection that may wait for the one before them."""
MAX_DISCARD = 256 * 1024
"""A body that the handler left unread is read and dropped up to this size to keep the connection."""
LINGER_SECONDS = 1.0
"""How long a connection stays half open after an answer that ends it, lest a reset overtakes the answer."""

END_SECONDS = 1.0
"""How long a request that only reads goes on after its client has ended its writes."""

_SAFE_METHODS = frozenset(("GET", "HEAD"))


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may take."""

    head_bytes: int = 64 * 1024
    """Of a request line with its header; the answer beyond is 431. Bearer tokens and long selectors need some."""
    head_seconds: float = 30.0
    """From a request's first byte to the end of its header: bounds what slow clients can hold."""
    first_seconds: float = 10.0
    """From the accepted connection to the end of its first request's header: who has asked nothing yet is a stranger, and a
    real client connects because it has something to ask."""
    idle_seconds: float = 180.0
    """Between requests. Longer than clients keep idle connections (Go: 90), so that they close first."""
    stall_seconds: float = 60.0
    """Without a byte of a request's body that a handler waits for, or without the client taking a byte of the answer."""
    write_bytes: int = 256 * 1024
    """Of answers held for a client that reads slowly; beyond, the handler's stream waits."""


class Owner(Protocol):
    """What a connection needs of its server."""

    handler: messages.Handler
    limits: Limits
    is_stopping: bool

    def general_lines(self) -> str:
        """Header lines of every answer (the Date), with line ends."""
        ...

    def monotonic(self) -> float: ...
    def add(self, connection: "Connection") -> bool:
        """False: too many; refuse this one."""
        ...

    def remove(self, connection: "Connection") -> None: ...


class Connection(asyncio.Protocol):
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._transport: Any = None
        self._peer = messages.Peer()
        self._parser: request_parser.RequestParser
        # what waits and what runs
        self._queue: deque[request_parser.Exchange] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._worker: asyncio.Task[None] | None = None
        self._can_cancel = True
        self._is_lost = False
        self._is_reading = True
        self._writer: response_writer.ResponseWriter
        self._since = owner.monotonic()
        self._has_asked = False
        self._head_since = 0.0
        self._stalled_since = 0.0
        self._body_mark = (-1, 0.0)
        self._is_switched = False

    # ------------------------------------------------------------ the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._peer = peer_of(transport)
        self._writer = response_writer.ResponseWriter(transport, self._owner.general_lines)
        self._parser = request_parser.RequestParser(
            self._peer, self._limits.head_bytes, self._enqueue, self._update_reading, self._send_continue
        )
        self._transport.set_write_buffer_limits(high=self._limits.write_bytes)
        if not self._owner.add(self):
            self._parser.is_ended = True
            self._transport.write(
                wire.encode_head(wire.status_line(503), (), "Content-Length: 0\r\nConnection: close\r\n")
            )
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_lost:
            self._lose()
        self._forget_if_done()

    def eof_received(self) -> bool:
        """Returns whether the connection stays open for the answers to what came before."""
        self._parser.is_ended = True
        if duplex.is_tls(self._transport) or self._writer.is_streaming:
            return False
        if not (self.is_busy or self._queue):
            return False
        # Some clients end their writes and wait for the answer; most have gone. What only reads gets a moment.
        asyncio.get_running_loop().call_later(END_SECONDS, self._close_if_reading)
        return True

    def _close_if_reading(self) -> None:
        if self._can_cancel:
            self._transport.close()

    def pause_writing(self) -> None:
        self._stalled_since = self._owner.monotonic()
        self._writer.gate.pause()

    def resume_writing(self) -> None:
        self._stalled_since = 0.0
        self._writer.gate.resume()

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        try:
            parser.feed(data)
        except request_parser.Malformed as error:
            self._refuse_rest(error.status, error.text)
        if parser.early is not None:
            self._update_reading()
        elif not parser.is_in_head:
            self._head_since = 0.0
        elif not self._head_since:
            self._head_since = self._owner.monotonic()

    def _enqueue(self, exchange: request_parser.Exchange) -> None:
        self._has_asked = True
        self._queue.append(exchange)
        if len(self._queue) >= MAX_QUEUED:
            self._update_reading()
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _refuse_rest(self, status: int, text: str) -> None:
        """The bytes make no sense, or take too long: answer what came before, then say so and close."""
        parser = self._parser
        parser.is_ended = True
        current, parser.current = parser.current, None
        if current is not None and current not in self._queue:
            # It is being answered: its handler learns that the body is broken.
            if current.body is not None:
                current.body.fail(messages.Disconnected(text))
            return
        if current is not None:
            self._queue.remove(current)
        self._enqueue(request_parser.Exchange(messages.Request("GET", ""), keep_alive=False, refusal=(status, text)))

    # ------------------------------------------------------------ the worker

    @property
    def is_busy(self) -> bool:
        """A request is being answered (or another protocol runs)."""
        return self._worker is not None and self._wake is None and not self._worker.done()

    async def _work(self) -> None:
        try:
            while not self._is_lost:
                if self._queue:
                    exchange = self._queue.popleft()
                    if not self._is_reading:
                        self._update_reading()
                    if not await self._serve(exchange):
                        break
                    self._since = self._owner.monotonic()
                elif self._parser.is_ended or self._owner.is_stopping:
                    break
                else:
                    self._wake = asyncio.get_running_loop().create_future()
                    try:
                        await self._wake
                    finally:
                        self._wake = None
            self._close_gently()
        except messages.Disconnected:
            self._transport.close()
        except asyncio.CancelledError:
            self._transport.abort()
            if not self._is_lost:
                raise
        except Exception:
            log.exception("connection of %s failed", self._peer.address)
            self._transport.abort()
        finally:
            self._worker = None
            self._parser.is_ended = True
            self._forget_if_done()

    async def _serve(self, exchange: request_parser.Exchange) -> bool:
        """Answer one request. Returns whether the connection can go on."""
        if exchange.refusal is not None:
            await self._send(exchange, _refusal(*exchange.refusal), keep_alive=False)
            return False
        self._can_cancel = exchange.request.method in _SAFE_METHODS
        try:
            answer, keep_alive = await self._answer(exchange)
            self._can_cancel = True
            if isinstance(answer, messages.Response):
                try:
                    return await self._send(exchange, answer, keep_alive=keep_alive)
                except wire.BadField:
                    log.exception("%r %r: its answer cannot be sent", exchange.request.method, exchange.request.path)
                    return await self._send(exchange, _refusal(500, "internal error"), keep_alive=keep_alive)
            if exchange.wants_upgrade:
                await self._switch(answer)
                return False
            log.error(
                "%r %r: a handler wants to upgrade what is no upgrade", exchange.request.method, exchange.request.path
            )
            return await self._send(exchange, _refusal(400, "this needs an Upgrade request"), keep_alive=keep_alive)
        finally:
            self._can_cancel = True

    async def _answer(self, exchange: request_parser.Exchange) -> tuple[messages.Answer, bool]:
        """The handler's answer, or what stands for its error; and whether the connection is still sound."""
        request = exchange.request
        try:
            return await self._owner.handler(request), True
        except messages.BodyTooLarge as error:
            return _refusal(413, str(error)), False
        except messages.Disconnected as error:
            if self._is_lost:
                raise
            return _refusal(400, str(error)), False
        except Exception:
            log.exception("%r %r failed", request.method, request.path)
            return _refusal(500, "internal error"), True

    async def _send(self, exchange: request_parser.Exchange, response: messages.Response, *, keep_alive: bool) -> bool:
        is_stream = isinstance(response.body, AsyncIterator)
        if is_stream and exchange.body is not None and not exchange.body.is_finished:
            # The stream may still feed on the request's body: that is not dropped, and the connection is not used again.
            keep_alive = False
        keep_alive = keep_alive and self._can_keep_alive(exchange)
        return await self._writer.send(exchange, response, keep_alive=keep_alive) and keep_alive

    async def _switch(self, answer: messages.Upgrade) -> None:
        await self._writer.gate.wait()
        self._transport.write(wire.encode_head(wire.status_line(101), answer.headers, "Connection: Upgrade\r\n"))
        raw = duplex.TransportDuplex(b"".join(self._parser.early or ()), on_lost=self._on_duplex_lost)
        raw.connection_made(self._transport)
        self._transport.set_protocol(raw)
        self._can_cancel, self._is_switched = False, True
        if not self._is_reading:
            self._transport.resume_reading()
        try:
            await answer.run(raw)
        except messages.Disconnected:
            pass
        finally:
            await raw.close()

    def _can_keep_alive(self, exchange: request_parser.Exchange) -> bool:
        """Whether the next request can be found after this one's body; what is left of the body will be dropped."""
        if not exchange.keep_alive or self._owner.is_stopping:
            return False
        incoming = exchange.body
        if incoming is not None and not incoming.is_finished:
            incoming.discard()
            is_short = incoming.expected is not None and incoming.expected - incoming.received <= MAX_DISCARD
            return is_short and "expect" not in exchange.request.headers
        if self._parser.early is not None:
            # An upgrade that was not taken up: what follows the header is HTTP again, unless it was this request's body.
            early = self._parser.refuse_upgrade()
            if incoming is not None:
                return False
            asyncio.get_running_loop().call_soon(self._feed_again, early)
        return True

    def _feed_again(self, early: list[bytes]) -> None:
        self._update_reading()
        for data in early:
            self.data_received(data)

    # ------------------------------------------------------------ ends

    def abandon(self) -> None:
        """Cut it, whatever it does."""
        if self._worker is not None:
            self._worker.cancel()
        self._transport.abort()

    def close_if_idle(self) -> None:
        """The server stops: no further request is wanted here."""
        if self._worker is None:
            self._parser.is_ended = True
            self._transport.close()
        elif self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def check(self, now: float) -> None:
        """Cut what takes too long. Called every now and then."""
        limits = self._limits
        if self._is_lost or self._is_switched:
            return
        is_late = not self._has_asked and now - self._since > limits.first_seconds
        if self._stalled_since and now - self._stalled_since > limits.stall_seconds:
            self._transport.abort()
        elif self._parser.current is not None:
            self._check_body(self._parser.current, now)
        elif self._head_since:
            if now - self._head_since > limits.head_seconds or is_late:
                self._refuse_rest(408, "the request's header took too long")
        elif not self.is_busy and not self._queue and (is_late or now - self._since > limits.idle_seconds):
            self._parser.is_ended = True
            self.close_if_idle()

    def _check_body(self, exchange: request_parser.Exchange, now: float) -> None:
        incoming = exchange.body
        if incoming is None or not incoming.is_waiting:
            self._body_mark = (-1, now)
        elif incoming.received != self._body_mark[0]:
            self._body_mark = (incoming.received, now)
        elif now - self._body_mark[1] > self._limits.stall_seconds:
            self._refuse_rest(408, "the request's body stalled")

    def _close_gently(self) -> None:
        transport = self._transport
        if self._parser.current is None or self._is_lost or transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        # The client still sends: closing now would answer its bytes with a reset that may overtake the answer.
        self._parser.is_ended = True
        with contextlib.suppress(OSError):  # the client may have reset the connection
            transport.write_eof()
        if not self._is_reading:
            self._is_reading = True
            transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.close)

    def _lose(self) -> None:
        self._is_lost = True
        error = messages.Disconnected("the client is gone")
        self._writer.gate.fail(error)
        for exchange in (self._parser.current, *self._queue):
            if exchange is not None and exchange.body is not None:
                exchange.body.fail(error)
        if self._worker is not None and self._can_cancel:
            self._worker.cancel()

    def _on_duplex_lost(self) -> None:
        self._is_lost = True
        self._forget_if_done()

    def _forget_if_done(self) -> None:
        if self._worker is None and self._is_lost:
            self._owner.remove(self)

    def _send_continue(self) -> None:
        if not self._is_lost:
            self._transport.write(wire.CONTINUE)

    def _update_reading(self) -> None:
        current = self._parser.current
        is_full = (
            len(self._queue) >= MAX_QUEUED
            or (current is not None and current.body is not None and current.body.is_full)
            or (self._parser.early is not None and sum(map(len, self._parser.early)) > bodies.HELD_BYTES)
        )
        if is_full is self._is_reading and not self._transport.is_closing():
            self._is_reading = not is_full
            if is_full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


def peer_of(transport: asyncio.BaseTransport) -> messages.Peer:
    """Who is at the other end; the names are those of a client certificate that TLS verified."""
    host = transport.get_extra_info("peername")
    address = ""
    if isinstance(host, tuple):
        address = f"[{host[0]}]:{host[1]}" if ":" in host[0] else f"{host[0]}:{host[1]}"
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return messages.Peer(address)
    fields = [field for group in certificate.get("subject", ()) for field in group]
    organizations = tuple(value for key, value in fields if key == "organizationName")
    try:
        name = subjects.sole_common_name([value for key, value in fields if key == "commonName"])
    except ValueError:
        return messages.Peer(address, organizations=organizations, is_ambiguous=True)
    return messages.Peer(address, name, organizations)


def _refusal(status: int, text: str) -> messages.Response:
    return messages.Response(status, (("Content-Type", "text/plain; charset=utf-8"),), text.encode() + b"\n")
