"""Answers to bytes, with back-pressure. One per connection; `connection` decides what is answered and whether it goes on."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from pinnace.web import duplex, messages, request_parser, wire

log = logging.getLogger(__name__)


class ResponseWriter:
    """Writes one answer at a time; waits whenever the client does not keep up. Raises Disconnected once `gate` has failed."""

    def __init__(self, transport: Any, general_lines: Callable[[], str]) -> None:
        """`general_lines`: header lines of every answer, with line ends."""
        self.gate = duplex.WriteGate()
        self.is_streaming = False
        self._transport = transport
        self._general_lines = general_lines

    async def send(self, exchange: request_parser.Exchange, response: messages.Response, *, keep_alive: bool) -> bool:
        """Returns whether all was sent, and in a way that lets the client find its end. Raises BadField before anything is sent."""
        payload = response.body
        if isinstance(payload, AsyncIterator):
            try:
                return await self._send_stream(exchange, response, payload, keep_alive=keep_alive)
            finally:
                close = getattr(payload, "aclose", None)
                if close is not None:
                    await close()
        pieces = as_pieces(payload)
        size = sum([len(piece) for piece in pieces])
        head = self._encode_head(exchange, response, keep_alive, f"Content-Length: {size}\r\n")
        await self._write([head] if _ends_with_head(exchange, response) else [head, *pieces])
        return True

    async def _send_stream(
        self,
        exchange: request_parser.Exchange,
        response: messages.Response,
        stream: AsyncIterator[messages.Chunk],
        *,
        keep_alive: bool,
    ) -> bool:
        is_chunked = not exchange.is_http10
        framing = "Transfer-Encoding: chunked\r\n" if is_chunked else ""
        await self._write([self._encode_head(exchange, response, keep_alive and is_chunked, framing)])
        if _ends_with_head(exchange, response):
            return is_chunked
        self.is_streaming = True
        try:
            async for chunk in stream:
                await self._write(wire.chunk_pieces(chunk) if is_chunked else as_pieces(chunk))
        except messages.Disconnected:
            raise
        except Exception:
            # The head is out: all that can still be said is that the body is not whole.
            log.exception("%r %r failed while its answer was streamed", exchange.request.method, exchange.request.path)
            self._transport.abort()
            return False
        finally:
            self.is_streaming = False
        if is_chunked:
            self._transport.write(wire.LAST_CHUNK)
        return is_chunked

    async def _write(self, pieces: Sequence[bytes]) -> None:
        for block in wire.blocks(pieces):
            self._transport.write(block)
            if not self.gate.is_open:
                await self.gate.wait()

    def _encode_head(
        self, exchange: request_parser.Exchange, response: messages.Response, keep_alive: bool, framing: str
    ) -> bytes:
        if wire.has_no_body(response.status):
            framing = ""
        if not keep_alive:
            framing += "Connection: close\r\n"
        elif exchange.is_http10:
            framing += "Connection: keep-alive\r\n"
        return wire.encode_head(wire.status_line(response.status), response.headers, framing + self._general_lines())


def _ends_with_head(exchange: request_parser.Exchange, response: messages.Response) -> bool:
    return exchange.request.method == "HEAD" or wire.has_no_body(response.status)


def as_pieces(chunk: messages.Chunk) -> Sequence[bytes]:
    return [chunk] if isinstance(chunk, bytes) else chunk
