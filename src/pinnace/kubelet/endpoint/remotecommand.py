"""exec and attach: from an HTTP request to the stdio of a process.

Called by the kubelet's endpoint. Knows the two transports of upstream's clients and nothing of pods:

* WebSocket, subprotocols `v5.channel.k8s.io` down to none at all: every message begins with its channel (stdin 0, stdout 1, stderr 2,
  error 3, resize 4; v5 adds 255, which closes the channel in its second byte);
* SPDY/3.1 with one stream per channel, named by its `streamType` header, protocols `v5.channel.k8s.io` down to `channel.k8s.io`.

At the end the error channel carries how it ended: from v4 on a `Status`, before that a text and only for failures.
"""

import asyncio
import base64
import binascii
import contextlib
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from pinnace.engine import interface
from pinnace.web import duplex, messages, spdy_session, websocket, wire

log = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHANNELS = {"stdout": STDOUT, "stderr": STDERR, "error": ERROR}

V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
V4_BASE64, V1_BASE64 = "v4.base64.channel.k8s.io", "base64.channel.k8s.io"
WEBSOCKET_PROTOCOLS = (V5, V4, V4_BASE64, V1, V1_BASE64, "")
SPDY_PROTOCOLS = (V5, V4, "v3.channel.k8s.io", "v2.channel.k8s.io", V1)
_WITH_STATUS = frozenset((V5, V4, V4_BASE64))
_WITH_RESIZE = frozenset((V5, V4, "v3.channel.k8s.io"))

STREAM_CREATION_SECONDS = 30.0
"""For a SPDY client to open all of its streams. Upstream's figure."""
CLOSE_SECONDS = 2.0
"""For a client to close the connection after the end; what was sent last could be lost otherwise."""
MAX_RESIZE_BYTES = 4096

QUIET = (messages.Disconnected, interface.EngineError)
"""Errors that end a conversation and are told to the client, if it is still there."""

OpenStreams = Callable[[], Awaitable[interface.Streams]]


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Which streams the client asked for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    is_attach: bool = False
    """An attach ends with success whatever the container's exit code, as upstream's does."""

    @classmethod
    def from_query(cls, values: Mapping[str, Sequence[str]], *, is_attach: bool = False) -> "Options":
        """From the names of PodExecOptions (`stdin`, `stdout`, `stderr`) or the kubelet's (`input`, `output`, `error`).

        Raises ValueError when no stream is asked for."""

        def is_set(*names: str) -> bool:
            return any(
                value in ("1", "true", "True", "t", "T", "TRUE") for name in names for value in values.get(name, ())[:1]
            )

        tty = is_set("tty")
        # A terminal has one output.
        stderr = is_set("stderr", "error") and not tty
        options = cls(is_set("stdin", "input"), is_set("stdout", "output"), stderr, tty, is_attach)
        if not (options.stdin or options.stdout or options.stderr):
            raise ValueError("you must specify at least 1 of stdin, stdout, stderr")
        return options


class RemoteEnd(Protocol):
    """The client's side of the conversation."""

    async def pump(self, streams: interface.Streams) -> None:
        """Carry stdin and terminal sizes to `streams`; returns when the client is gone."""
        ...

    async def write(self, channel: str, data: bytes) -> None:
        """Raises Disconnected."""
        ...

    async def finish(self, status: Mapping[str, Any]) -> None:
        """Say how it ended and close. `pump` does not run any more."""
        ...


def serve(request: messages.Request, options: Options, open_streams: OpenStreams) -> messages.Answer:
    """The answer to an exec or attach request. `open_streams` is called once the client's streams are there; an EngineError
    that it raises, or that the streams raise later, reaches the client as an InternalError."""
    if websocket.is_websocket(request):

        async def run_websocket(socket: websocket.WebSocket) -> None:
            end = _WebSocketEnd(socket, options)
            await end.greet()
            await _converse(end, options, open_streams)

        return websocket.accept(request, WEBSOCKET_PROTOCOLS, run_websocket)
    headers = request.headers
    if not (
        wire.has_token(headers.get("connection", ""), "upgrade") and headers.get("upgrade", "").lower() == "spdy/3.1"
    ):
        return text_answer(400, "unable to upgrade: missing upgrade headers in request")
    protocol = negotiate(request, SPDY_PROTOCOLS)
    if isinstance(protocol, messages.Response):
        return protocol

    async def run_spdy(raw: messages.Duplex) -> None:
        async with spdy_session.Session(raw) as session:
            end = _SpdyEnd(session, options, protocol or V1)
            if await end.wait_streams():
                await _converse(end, options, open_streams)

    fields = [("Upgrade", "SPDY/3.1")]
    if protocol:
        fields.append(("X-Stream-Protocol-Version", protocol))
    return messages.Upgrade(fields, run_spdy)


def negotiate(request: messages.Request, known: Sequence[str]) -> str | messages.Response:
    """The first of the client's stream protocols that is known; "" when it names none (the oldest clients); else the refusal."""
    offered = [name.strip() for name in request.headers.get("x-stream-protocol-version", "").split(",") if name.strip()]
    if not offered:
        return ""
    for name in offered:
        if name in known:
            return name
    text = (
        f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}],"
        f" server accepts [{' '.join(known)}]"
    )
    return text_answer(403, text, *[("X-Accepted-Stream-Protocol-Versions", name) for name in known])


def text_answer(status: int, text: str, *headers: tuple[str, str]) -> messages.Response:
    return messages.Response(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), text.encode() + b"\n")


# ---------------------------------------------------------------- the conversation


async def _converse(end: RemoteEnd, options: Options, open_streams: OpenStreams) -> None:
    try:
        streams = await open_streams()
    except interface.EngineError as error:
        await end.finish(failed(options, error))
        return
    pump = asyncio.create_task(end.pump(streams))
    output = asyncio.create_task(_carry_output(end, streams))
    try:
        await asyncio.wait({pump, output}, return_when=asyncio.FIRST_COMPLETED)
        # A client that went away while the process still runs gets no answer: the exec is killed, an attach let go.
        status = _status_of(output if output.done() else pump, options)
        await duplex.settle(pump, quiet=QUIET)
    finally:
        await duplex.settle(pump, output, quiet=QUIET)
        await streams.close()
    if status is not None:
        await end.finish(status)


async def _carry_output(end: RemoteEnd, streams: interface.Streams) -> int:
    while (piece := await streams.read()) is not None:
        await end.write(*piece)
    return await streams.wait()


def _status_of(task: "asyncio.Task[int] | asyncio.Task[None]", options: Options) -> Mapping[str, Any] | None:
    """What to tell the client once `task` has ended: the one that carries output with an exit code, the other with None."""
    try:
        code = task.result()
    except messages.Disconnected:
        return None
    except interface.EngineError as error:
        return failed(options, error)
    if code is None:
        return None
    return SUCCESS if code == 0 or options.is_attach else exited(code)


# ---------------------------------------------------------------- how it ended


SUCCESS: Mapping[str, Any] = {"metadata": {}, "status": "Success"}


def exited(code: int) -> Mapping[str, Any]:
    """metav1.Status of a command that ended with a code other than 0."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(options: Options, error: Exception) -> Mapping[str, Any]:
    """metav1.Status of a command that could not be run."""
    what = "error attaching to container" if options.is_attach else "error executing command in container"
    text = f"{what}: {error}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }


def encode_status(status: Mapping[str, Any], protocol: str) -> bytes:
    if protocol in _WITH_STATUS:
        return orjson.dumps(status)
    return b"" if status is SUCCESS else str(status["message"]).encode()


class SizeDecoder:
    """Terminal sizes from a stream of JSON objects that may be cut anywhere."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """(width, height) of every object that `data` completes. What is not such an object is dropped."""
        self._text = (self._text + data.decode("latin-1")).lstrip()
        sizes = []
        decoder = json.JSONDecoder()
        while self._text:
            try:
                value, end = decoder.raw_decode(self._text)
            except ValueError:
                if len(self._text) > MAX_RESIZE_BYTES:
                    self._text = ""
                break
            except RecursionError:
                self._text = ""
                break
            self._text = self._text[end:].lstrip()
            size = _size_of(value)
            if size is not None:
                sizes.append(size)
        return sizes


def _size_of(value: Any) -> tuple[int, int] | None:
    if not isinstance(value, dict):
        return None
    fields = {str(key).lower(): number for key, number in value.items()}
    width, height = fields.get("width", 0), fields.get("height", 0)
    if not (isinstance(width, int) and isinstance(height, int) and 0 <= width <= 0xFFFF and 0 <= height <= 0xFFFF):
        return None
    return width, height


# ---------------------------------------------------------------- WebSocket


class _WebSocketEnd:
    def __init__(self, socket: websocket.WebSocket, options: Options) -> None:
        self._socket = socket
        self._options = options
        self._codec = ChannelCodec(socket.subprotocol)
        self._is_stdin_open = options.stdin

    async def greet(self) -> None:
        """An empty message on the first channel that is written to tells the client that all is set up."""
        options = self._options
        with contextlib.suppress(messages.Disconnected):
            await self._send(STDOUT if options.stdout else STDERR if options.stderr else ERROR, b"")

    async def pump(self, streams: interface.Streams) -> None:
        sizes = SizeDecoder()
        while (message := await self._socket.receive()) is not None:
            channel, data = self._codec.decode(message[1])
            if channel == STDIN and self._is_stdin_open and data:
                await streams.write(data)
            elif channel == RESIZE:
                for width, height in sizes.feed(data):
                    await streams.resize(width, height)
            elif channel == CLOSE and self._socket.subprotocol == V5 and data[:1] == b"\0" and self._is_stdin_open:
                self._is_stdin_open = False
                await streams.close_stdin()

    async def write(self, channel: str, data: bytes) -> None:
        if getattr(self._options, channel):
            await self._send(_CHANNELS[channel], data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        data = encode_status(status, self._socket.subprotocol)
        with contextlib.suppress(messages.Disconnected):
            if data:
                await self._send(ERROR, data)
        await self._socket.close()

    async def _send(self, channel: int, data: bytes) -> None:
        await self._socket.send(self._codec.encode(channel, data))


class ChannelCodec:
    """Messages of the channel protocols: a byte that names the channel, then its data; or the same as text, in base64."""

    def __init__(self, subprotocol: str) -> None:
        self._is_base64 = "base64." in subprotocol

    def encode(self, channel: int, data: bytes) -> bytes | str:
        if self._is_base64:
            return chr(ord("0") + channel) + base64.b64encode(data).decode()
        return bytes((channel,)) + data

    def decode(self, message: bytes) -> tuple[int, bytes]:
        """(channel, data); (-1, b"") for what is no such message."""
        if not message:
            return -1, b""
        if not self._is_base64:
            return message[0], message[1:]
        try:
            return message[0] - ord("0"), base64.b64decode(message[1:], validate=True)
        except binascii.Error:
            return -1, b""


# ---------------------------------------------------------------- SPDY


class _SpdyEnd:
    def __init__(self, session: spdy_session.Session, options: Options, protocol: str) -> None:
        self._session = session
        self._options = options
        self._protocol = protocol
        self._streams: dict[str, spdy_session.Stream] = {}

    async def wait_streams(self) -> bool:
        """Accept the client's streams until all that were announced are there. False: they did not come."""
        options = self._options
        wanted = {"error"} | {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
        if options.tty and self._protocol in _WITH_RESIZE:
            wanted.add("resize")
        try:
            async with asyncio.timeout(STREAM_CREATION_SECONDS):
                while not wanted <= self._streams.keys():
                    stream = await self._session.accept()
                    if stream is None:
                        return False
                    await self._take(stream)
        except TimeoutError:
            log.warning(
                "timed out waiting for client to create streams: %s are missing", sorted(wanted - self._streams.keys())
            )
            return False
        except messages.Disconnected:
            return False
        return True

    async def _take(self, stream: spdy_session.Stream) -> None:
        kind = stream.headers.get("streamtype", "")
        if kind not in ("error", "stdin", "stdout", "stderr", "resize") or kind in self._streams:
            await stream.reset()
            return
        self._streams[kind] = stream
        await self._session.reply(stream)

    async def pump(self, streams: interface.Streams) -> None:
        tasks = [asyncio.create_task(self._pump_stdin(streams)), asyncio.create_task(self._pump_sizes(streams))]
        try:
            await self._session.wait_ended()
        finally:
            await duplex.settle(*tasks, quiet=QUIET)

    async def _pump_stdin(self, streams: interface.Streams) -> None:
        stdin = self._streams.get("stdin")
        if stdin is None:
            return
        while data := await stdin.read():
            await streams.write(data)
        await streams.close_stdin()

    async def _pump_sizes(self, streams: interface.Streams) -> None:
        resize = self._streams.get("resize")
        if resize is None:
            return
        sizes = SizeDecoder()
        while data := await resize.read():
            for width, height in sizes.feed(data):
                await streams.resize(width, height)

    async def write(self, channel: str, data: bytes) -> None:
        stream = self._streams.get(channel)
        if stream is not None:
            await stream.write(data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        data = encode_status(status, self._protocol)
        with contextlib.suppress(messages.Disconnected):
            if data:
                await self.write("error", data)
        for stream in self._streams.values():
            await stream.close()
        await self._session.wait_ended(CLOSE_SECONDS)
