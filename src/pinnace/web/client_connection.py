"""One connection of an HTTP client: a request out, an answer in, one at a time. `client.HttpClient` owns and pools them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httptools

from pinnace.web import bodies, duplex, origin, wire

Headers = Sequence[tuple[str, str]]


class Stale(Exception):
    """The server closed the connection after a request was sent and before it answered anything."""


class ClientConnection(asyncio.Protocol):
    """`exchange`, then (once the body is read) `release`; or `switch` after an answer 101."""

    def __init__(self, address: str, head_bytes: int, on_free: Callable[["ClientConnection", bool], None]) -> None:
        """`on_free(connection, is_reusable)` is called when an exchange is over, and when the connection is lost."""
        self.is_lost = False
        self.expiry: asyncio.TimerHandle | None = None
        self._address = address
        self._head_bytes = head_bytes
        self._on_free = on_free
        self._transport: Any = None
        self._parser: Any = None
        self._gate = duplex.WriteGate()
        self._sender: asyncio.Task[None] | None = None
        self._reset("GET")

    def _reset(self, method: str) -> None:
        self._method = method
        self._head: asyncio.Future[None] | None = None
        self._body: bodies.IncomingBody | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._unparsed = 0
        self._is_complete = False
        self._keep_alive = False
        self._ends_with_connection = False
        self._early = b""
        self._has_answer = False

    # ------------------------------------------------------------ the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = _parser(self)

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            self._transport.abort()  # an idle connection on which the server speaks: out of step
            return
        self._has_answer = True
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if not self._is_complete:
                self._fail(origin.ConnectError(self._address, f"not an HTTP answer: {error.__context__ or error}"))
            self._transport.abort()
            return
        if self._unparsed > self._head_bytes:
            self._fail(
                origin.ConnectError(self._address, f"the answer's header is larger than {self._head_bytes} bytes")
            )
            self._transport.abort()
        elif self._is_complete:
            self._parser = _parser(self)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._ends_with_connection and self._body is not None and exc is None:
            self._body.finish()
        reason = (
            origin.reason_of(exc) if isinstance(exc, OSError) else "the connection was closed before the answer's end"
        )
        self._fail(origin.ConnectError(self._address, reason))
        self._on_free(self, False)

    def pause_writing(self) -> None:
        self._gate.pause()

    def resume_writing(self) -> None:
        self._gate.resume()

    # ------------------------------------------------------------ the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._body is not None:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").rstrip(" \t")
        headers = self._headers
        headers[key] = text if key not in headers else wire.join_fields(key, headers[key], text)

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._headers = {}
            return
        self._status = status
        self._keep_alive = self._parser.should_keep_alive()
        is_empty = wire.has_no_body(status) or self._method == "HEAD"
        length = self._headers.get("content-length")
        self._ends_with_connection = not is_empty and length is None and "transfer-encoding" not in self._headers
        expected = int(length) if length is not None and length.isdigit() and not is_empty else None
        self._body = bodies.IncomingBody(expected, on_change=self._update_reading)
        if is_empty:
            # The parser does not know the method and would wait for a body: the next answer gets a new one.
            self._is_complete = True
            self._body.finish()
        if self._head is not None and not self._head.done():
            self._head.set_result(None)

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        if self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if self._body is not None:
            self._is_complete = True
            self._body.finish()

    # ------------------------------------------------------------ the user's side

    @property
    def is_usable(self) -> bool:
        """A request can be sent, as far as we know."""
        return not self.is_lost and not self._transport.is_closing()

    @property
    def headers(self) -> dict[str, str]:
        return self._headers

    async def exchange(
        self, host: str, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]
    ) -> tuple[int, bodies.IncomingBody]:
        """(status, body) once the answer's header is there; its fields are in `headers`. Raises ConnectError, Stale."""
        self._reset(method)
        self._head = asyncio.get_running_loop().create_future()
        try:
            self._send(host, method, target, headers, body)
            await self._head
        except BaseException:
            self.abort()
            raise
        assert self._body is not None
        return self._status, self._body

    def release(self, body: bodies.IncomingBody) -> None:
        """The answer with this body is not needed any more. Quiet when that was said before."""
        if self._body is not body:
            return
        is_reusable = self._is_complete and self._keep_alive and self._sender is None
        self._body = self._head = None
        if is_reusable and self.is_usable:
            self._update_reading()
            self._on_free(self, True)
        else:
            self.abort()

    def switch(self) -> duplex.TransportDuplex:
        """The bare connection, after an answer 101."""
        raw = duplex.TransportDuplex(self._early)
        raw.connection_made(self._transport)
        self._transport.set_protocol(raw)
        self._on_free(self, False)
        return raw

    def abort(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------

    def _send(self, host: str, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes]) -> None:
        names = {name.lower() for name, _ in headers}
        more = "" if "host" in names else f"Host: {host}\r\n"
        is_chunked = not isinstance(body, bytes) and "content-length" not in names
        if is_chunked:
            more += "Transfer-Encoding: chunked\r\n"
        elif isinstance(body, bytes) and (body or method in ("POST", "PUT", "PATCH")):
            more += f"Content-Length: {len(body)}\r\n"
        head = wire.encode_head(f"{method} {target} HTTP/1.1\r\n", headers, more)
        if isinstance(body, bytes):
            for block in wire.blocks((head, body)):
                self._transport.write(block)
            return
        self._transport.write(head)
        self._sender = asyncio.get_running_loop().create_task(self._send_stream(body, is_chunked))

    async def _send_stream(self, stream: AsyncIterator[bytes], is_chunked: bool) -> None:
        try:
            async for piece in stream:
                for block in wire.blocks(wire.chunk_pieces(piece) if is_chunked else (piece,)):
                    self._transport.write(block)
                    await self._gate.wait()
            if is_chunked:
                self._transport.write(wire.LAST_CHUNK)
            self._sender = None
        except origin.ConnectError:
            self._sender = None  # the answer, or its absence, tells
        except Exception as error:
            self._sender = None
            if self._head is not None and not self._head.done():
                self._head.set_exception(error)
            self._transport.abort()
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def _fail(self, error: origin.ConnectError) -> None:
        self._gate.fail(error)
        if self._head is not None and not self._head.done():
            self._head.set_exception(error if self._has_answer else Stale())
        if self._body is not None:
            self._body.fail(error)

    def _update_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self._body is not None and self._body.is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()


def _parser(protocol: ClientConnection) -> Any:
    """Small servers and scripts end their header lines with a bare line feed; Go's client, which upstream's parts use, reads them."""
    parser = httptools.HttpResponseParser(protocol)
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
    return parser
