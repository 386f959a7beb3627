"""WebSockets (RFC 6455) over a `messages.Duplex`, server and client side. Frames are wsproto's; extensions are not offered.

    async def run(socket: WebSocket) -> None: ...
    return websocket.accept(request, ["v5.channel.k8s.io", "v4.channel.k8s.io"], run)

Pings are answered while somebody receives. One task receives; any may send.
"""

import asyncio
import base64
import contextlib
import enum
import hashlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from wsproto import frame_protocol

from pinnace.web import client, messages, wire

NORMAL, GOING_AWAY, PROTOCOL_ERROR, TOO_BIG, INTERNAL_ERROR = 1000, 1001, 1002, 1009, 1011
NO_STATUS, ABNORMAL = 1005, 1006
"""Never on the wire: the peer's close frame had no code; there was no close frame."""

MAX_MESSAGE = 32 << 20
"""Bytes of one received message. As in upstream's servers."""
CLOSE_SECONDS = 2.0
"""How long the peer may take to answer a close frame. Closing at once could lose what was sent last."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Kind(enum.Enum):
    TEXT = "text"
    BINARY = "binary"


class Refused(Exception):
    """The server answered the handshake with something else than 101."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(
            f"the server refused the WebSocket with status {status}: {body[:500].decode('utf-8', 'replace')}"
        )
        self.status = status
        self.body = body


class WebSocket:
    def __init__(
        self, raw: messages.Duplex, *, is_client: bool, subprotocol: str = "", max_message: int = MAX_MESSAGE
    ) -> None:
        self.subprotocol = subprotocol
        """What was negotiated; "" without one."""
        self.close_code: int | None = None
        """The peer's, once `receive` has returned None."""
        self._raw = raw
        self._protocol = frame_protocol.FrameProtocol(is_client, [])
        self._max_message = max_message
        self._frames: deque[frame_protocol.Frame] = deque()
        self._is_close_sent = False

    @property
    def is_closed(self) -> bool:
        """Nothing more will be received."""
        return self.close_code is not None

    async def receive(self) -> tuple[Kind, bytes] | None:
        """The next message; None once the connection is closed, or had to be (`close_code` tells)."""
        pieces: list[bytes] = []
        size = 0
        while (piece := await self.receive_piece()) is not None:
            kind, data, is_last = piece
            size += len(data)
            if size > self._max_message:
                await self._give_up(TOO_BIG, "message too big")
                return None
            pieces.append(data)
            if is_last:
                return kind, b"".join(pieces)
        return None

    async def receive_piece(self) -> tuple[Kind, bytes, bool] | None:
        """The next part of a message as it arrives, with whether it is its last. For who wants no assembly."""
        while not self.is_closed:
            if not self._frames:
                await self._receive_frames()
                continue
            frame = self._frames.popleft()
            if not frame.opcode.iscontrol():
                return _piece(frame)
            await self._handle_control(frame)
        return None

    async def send(self, data: bytes | str) -> None:
        """One message, text for str. Returns when the peer keeps up again. Raises Disconnected."""
        if self._is_close_sent:
            raise messages.Disconnected("the WebSocket is closed")
        await self._raw.write(bytes(self._protocol.send_data(data)))

    async def ping(self, data: bytes = b"") -> None:
        """Raises Disconnected."""
        await self._raw.write(bytes(self._protocol.ping(data)))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, wait a moment for the answer and close the connection. Nobody may be receiving meanwhile."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._send_close(code, reason)
                while not self.is_closed:
                    await self.receive_piece()
        except (TimeoutError, messages.Disconnected):
            pass
        finally:
            await self._raw.close()

    # ------------------------------------------------------------

    async def _receive_frames(self) -> None:
        data = await self._raw.read()
        if not data:
            self.close_code = ABNORMAL
            return
        self._protocol.receive_bytes(data)
        try:
            self._frames.extend(self._protocol.received_frames())
        except frame_protocol.ParseFailed as error:
            await self._give_up(int(error.code), str(error))

    async def _handle_control(self, frame: frame_protocol.Frame) -> None:
        if frame.opcode is frame_protocol.Opcode.PING:
            assert isinstance(frame.payload, bytes)
            await self._raw.write(bytes(self._protocol.pong(frame.payload)))
        elif frame.opcode is frame_protocol.Opcode.CLOSE:
            assert isinstance(frame.payload, tuple)
            self.close_code = int(frame.payload[0])
            await self._send_close(NORMAL if self.close_code == NO_STATUS else self.close_code, "")

    async def _give_up(self, code: int, reason: str) -> None:
        self.close_code = code
        await self._send_close(code, reason)
        await self._raw.close()

    async def _send_close(self, code: int, reason: str) -> None:
        if not self._is_close_sent:
            self._is_close_sent = True
            with contextlib.suppress(messages.Disconnected):
                await self._raw.write(bytes(self._protocol.close(code, reason)))


class Tunnel:
    """A `messages.Duplex` inside a WebSocket: a stream of bytes cut into binary messages as it comes."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        while (piece := await self._socket.receive_piece()) is not None:
            if piece[1]:
                return piece[1]
        return b""

    async def write(self, data: bytes) -> None:
        await self._socket.send(data)

    async def end(self) -> None:
        return None

    async def close(self) -> None:
        await self._socket.close()


# ---------------------------------------------------------------- handshakes


def is_websocket(request: messages.Request) -> bool:
    headers = request.headers
    return headers.get("upgrade", "").lower() == "websocket" and wire.has_token(
        headers.get("connection", ""), "upgrade"
    )


def requested_protocols(request: messages.Request) -> list[str]:
    """The subprotocols that the client offers, in its order of preference."""
    names = request.headers.get("sec-websocket-protocol", "").split(",")
    return [name.strip() for name in names if name.strip()]


def accept(
    request: messages.Request,
    protocols: Sequence[str],
    run: Callable[[WebSocket], Awaitable[None]],
    *,
    max_message: int = MAX_MESSAGE,
) -> messages.Answer:
    """The answer to a handshake (RFC 6455, 4.2.2): an Upgrade that calls `run`, or the refusal.

    Of the client's subprotocols the first that is in `protocols` is taken. "" in `protocols`: a client may come without any."""
    headers = request.headers
    key = headers.get("sec-websocket-key", "")
    if not is_websocket(request) or request.method != "GET" or not _is_key(key):
        return _refusal(400, "not a WebSocket handshake")
    if headers.get("sec-websocket-version") != "13":
        return _refusal(426, "only WebSocket version 13 is spoken", ("Sec-WebSocket-Version", "13"))
    offered = requested_protocols(request)
    chosen = next((name for name in offered or [""] if name in protocols), None)
    if chosen is None:
        known = [name for name in protocols if name]
        return _refusal(403, f"requested protocol(s) are not supported: {offered}; supports {known}")
    fields = [("Upgrade", "websocket"), ("Sec-WebSocket-Accept", _accept_key(key))]
    if chosen:
        fields.append(("Sec-WebSocket-Protocol", chosen))

    async def upgraded(raw: messages.Duplex) -> None:
        await run(WebSocket(raw, is_client=False, subprotocol=chosen, max_message=max_message))

    return messages.Upgrade(fields, upgraded)


async def connect(
    http: client.HttpClient,
    url: str,
    *,
    protocols: Sequence[str] = (),
    headers: Sequence[tuple[str, str]] = (),
    timeout: float | None = None,
) -> WebSocket:
    """A client's WebSocket to an http(s) URL. Raises Refused, ConnectError."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    fields = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key), *headers]
    if protocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(protocols)))
    status, answer, raw, body = await http.upgrade("GET", url, headers=fields, timeout=timeout)
    if raw is None:
        raise Refused(status, body)
    chosen = answer.get("sec-websocket-protocol", "")
    if answer.get("sec-websocket-accept") != _accept_key(key) or (chosen and chosen not in protocols):
        await raw.close()
        raise Refused(status, b"its handshake does not fit the request")
    return WebSocket(raw, is_client=True, subprotocol=chosen)


def _piece(frame: frame_protocol.Frame) -> tuple[Kind, bytes, bool]:
    if isinstance(frame.payload, str):
        return Kind.TEXT, frame.payload.encode(), frame.message_finished
    assert isinstance(frame.payload, bytes)
    return Kind.BINARY, frame.payload, frame.message_finished


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


def _accept_key(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()).decode()


def _refusal(status: int, text: str, *headers: tuple[str, str]) -> messages.Response:
    return messages.Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), text.encode() + b"\n")
