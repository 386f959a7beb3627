"""Bytes to requests: httptools' callbacks, made into exchanges. No I/O; `connection` feeds it and answers what comes out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import httptools

from pinnace.web import bodies, messages, wire

_NAMES: dict[bytes, str] = {
    name.encode(): name.lower()
    for name in (
        "Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Length", "Content-Type", "Expect", "Host", "If-None-Match",
        "Kubectl-Command", "Kubectl-Session", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version",
        "Transfer-Encoding", "Upgrade", "User-Agent", "X-Stream-Protocol-Version",
    )
}  # fmt: skip
_METHODS: dict[bytes, str] = {
    name.encode(): name for name in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
}


class Malformed(Exception):
    """The bytes cannot be read as requests any more: `status` and `text` are the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclasses.dataclass(slots=True, eq=False)
class Exchange:
    """A request in the queue, or the refusal of one (`refusal`: status and text)."""

    request: messages.Request
    body: bodies.IncomingBody | None = None
    keep_alive: bool = True
    is_http10: bool = False
    wants_upgrade: bool = False
    refusal: tuple[int, str] | None = None


class RequestParser:
    """Calls `on_exchange` when a request's header is complete; its body then fills by itself."""

    def __init__(
        self,
        peer: messages.Peer,
        head_bytes: int,
        on_exchange: Callable[[Exchange], None],
        on_body_change: Callable[[], None],
        on_body_wanted: Callable[[], None],
    ) -> None:
        """`head_bytes`: the largest header. `on_body_change`: a body may have become full or empty. `on_body_wanted`: a handler
        waits for the body of a request that expects `100 Continue`."""
        self.current: Exchange | None = None
        """The request whose body is still arriving."""
        self.early: list[bytes] | None = None
        """What came after a request that wants another protocol: nothing is parsed until `refuse_upgrade`."""
        self.is_ended = False
        """No further request will be parsed."""
        self._peer = peer
        self._head_bytes = head_bytes
        self._on_exchange = on_exchange
        self._on_body_change = on_body_change
        self._on_body_wanted = on_body_wanted
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_size = 0
        self._in_head = True
        self._has_two_hosts = False
        self._unparsed = 0

    def feed(self, data: bytes) -> None:
        """Raises Malformed."""
        if self.early is not None:
            self.early.append(data)
            return
        if self.is_ended:
            return
        # Bytes since the last callback: bounds what httptools itself gathers for one field.
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.early = [data[upgrade.args[0] :]] if upgrade.args[0] < len(data) else []
        except httptools.HttpParserError as error:
            if not self.is_ended:  # else it only complains about bytes after the last request
                raise Malformed(400, str(error.__context__ or error)) from None
        else:
            if self._unparsed > self._head_bytes:
                raise Malformed(431, "the request's header is too large")

    @property
    def is_in_head(self) -> bool:
        """A part of a header has arrived."""
        return self._in_head and self._unparsed > 0

    def refuse_upgrade(self) -> list[bytes]:
        """The protocol stays HTTP. Returns what is to be fed again."""
        early, self.early = self.early, None
        return early or []

    # ------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        self._headers = {}
        self._target = b""
        self._head_size = 0
        self._in_head = True
        self._has_two_hosts = False

    def on_url(self, url: bytes) -> None:
        self._target = self._target + url if self._target else url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if not self._in_head:  # a trailer
            if self._head_size > self._head_bytes:
                raise ValueError("the trailer is too large")
            return
        key = _NAMES.get(name)
        if key is None:
            key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        if text.endswith((" ", "\t")):
            text = text.rstrip(" \t")
        headers = self._headers
        if key == "host" and key in headers:
            self._has_two_hosts = True
        headers[key] = text if key not in headers else wire.join_fields(key, headers[key], text)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unparsed = 0
        method = self._parser.get_method()
        request = messages.Request(
            _METHODS.get(method) or method.decode(), "", "", self._headers, messages.BytesBody(), self._peer
        )
        exchange = Exchange(
            request,
            keep_alive=self._parser.should_keep_alive(),
            is_http10=self._parser.get_http_version() == "1.0",
            wants_upgrade=self._parser.should_upgrade(),
        )
        self._fill(exchange)
        if exchange.refusal is not None:
            exchange.keep_alive = False
            self.is_ended = True
        self.current = exchange
        self._on_exchange(exchange)

    def on_body(self, data: bytes) -> None:
        self._unparsed = 0
        if self.current is not None and self.current.body is not None:
            self.current.body.feed(data)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._in_head = True
        self._head_size = 0
        current, self.current = self.current, None
        if current is not None:
            if current.body is not None:
                current.body.finish()
            self.is_ended = self.is_ended or not current.keep_alive

    # ------------------------------------------------------------

    def _fill(self, exchange: Exchange) -> None:
        """The request's target and body, or why it is refused."""
        headers, request = exchange.request.headers, exchange.request
        if self._head_size + len(self._target) > self._head_bytes:
            exchange.refusal = 431, "the request's header is too large"
            return
        try:
            request.path, request.query = wire.split_target(self._target)
        except wire.BadTarget as error:
            exchange.refusal = 400, str(error)
            return
        if self._has_two_hosts:
            # Who stands before us may have looked at the other one (RFC 9112, 3.2).
            exchange.refusal = 400, "too many Host headers"
            return
        if "host" not in headers and not exchange.is_http10:
            exchange.refusal = 400, "missing required Host header"
            return
        length = headers.get("content-length")
        if length == "0":
            length = None
        if length is None and "transfer-encoding" not in headers:
            return
        expectation = headers.get("expect")
        if expectation is not None and expectation.lower() != "100-continue":
            exchange.refusal = 417, f"unknown expectation {expectation}"
            return
        incoming = bodies.IncomingBody(
            int(length) if length is not None else None,
            on_change=self._on_body_change,
            on_wanted=self._on_body_wanted if expectation is not None and not exchange.is_http10 else bodies.nothing,
        )
        exchange.body = request.body = incoming
        if exchange.wants_upgrade:
            incoming.finish()  # what follows the header belongs to the other protocol
