"""HTTP as values: what a handler is given and what it answers. The same on a socket and in one process.

`server.HttpServer` turns sockets into calls of a `Handler`; `client.transport.DirectTransport` calls the same handler without a
socket. Handlers therefore never see which it was.
"""

import dataclasses
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol


class BodyTooLarge(Exception):
    """The request's body is larger than the handler allows (`limit` bytes)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"request body is larger than {limit} bytes")
        self.limit = limit


class Disconnected(Exception):
    """The other side is gone. The server drops the answer in silence."""


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as far as the connection shows it."""

    address: str = ""
    """`ip:port`, or "" in one process or on a UNIX socket."""
    common_name: str = ""
    """Of the client certificate that TLS verified; "" without one."""
    organizations: tuple[str, ...] = ()
    is_ambiguous: bool = False
    """The certificate's subject does not name one party: it is a credential, and a wrong one."""


class Body(Protocol):
    """A request's body, read at most once."""

    @property
    def is_finished(self) -> bool:
        """Every byte has arrived: `read` does not wait."""
        ...

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises `BodyTooLarge` beyond `limit` bytes, `Disconnected`."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, with back-pressure on the socket."""
        ...


@dataclasses.dataclass(slots=True)
class BytesBody:
    """A body that is there already."""

    data: bytes = b""

    @property
    def is_finished(self) -> bool:
        return True

    async def read(self, limit: int) -> bytes:
        if len(self.data) > limit:
            raise BodyTooLarge(limit)
        return self.data

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data


@dataclasses.dataclass(slots=True)
class Request:
    method: str
    path: str
    """Percent-decoded, without the query."""
    query: str = ""
    """As sent, without the `?`."""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names in lower case; fields that came several times are joined by `, ` (those whose values have commas: by line ends)."""
    body: Body = dataclasses.field(default_factory=BytesBody)
    peer: Peer = dataclasses.field(default_factory=Peer)
    user: Any = None
    """Set by whoever authenticated the request before the handler (in one process: by the transport)."""
    takes_objects: bool = False
    """The caller is in this process and reads `Response.objects` where there are some."""

    def query_values(self) -> dict[str, list[str]]:
        """Raises ValueError when the query is not well formed."""
        if not self.query:
            return {}
        return urllib.parse.parse_qs(self.query, keep_blank_values=True, strict_parsing=False)


Chunk = bytes | Sequence[bytes]
Objects = AsyncGenerator[Sequence[tuple[str, Any]], None]
"""Watch events within one process: (type, object). The objects are shared with other readers: never change them."""


@dataclasses.dataclass(slots=True)
class Response:
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    """Without Content-Length, Transfer-Encoding, Date and Connection: the server adds those."""
    body: bytes | Sequence[bytes] | AsyncIterator[Chunk] = b""
    """Bytes, pieces to be joined on the wire (never copied into one), or a stream that is sent chunk by chunk.

    A stream is closed (`aclose`) when the client goes away. A client that does not read for long is cut."""
    objects: Objects | None = None
    """Instead of `body`, for a request that takes objects: what the body's lines would be decoded to."""


class Duplex(Protocol):
    """A connection after its upgrade: bytes both ways."""

    async def read(self) -> bytes:
        """What has arrived; b"" at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when the peer keeps up again. Raises `Disconnected`."""
        ...

    async def end(self) -> None:
        """No write follows: the peer reads its end. Does nothing where the connection cannot say that (TLS): then close."""
        ...

    async def close(self) -> None: ...


@dataclasses.dataclass(slots=True)
class Upgrade:
    """Answer 101 and hand the connection to `run`; it is closed when `run` returns."""

    headers: Sequence[tuple[str, str]]
    run: Callable[[Duplex], Awaitable[None]]


Answer = Response | Upgrade
Handler = Callable[[Request], Awaitable[Answer]]
