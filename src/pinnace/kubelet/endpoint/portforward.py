"""Port-forward: from an HTTP request to connections into a pod.

Called by the kubelet's endpoint. Knows the three transports of upstream's clients:

* `Upgrade: SPDY/3.1`, protocol `portforward.k8s.io`: for each connection an error and a data stream with the same `requestID`;
* the same frames inside a WebSocket, subprotocol `SPDY/3.1+portforward.k8s.io` (kubectl from 1.31 on);
* WebSocket channels, subprotocol `v4.channel.k8s.io`: the ports stand in the query, port i has channels 2i (data) and 2i+1 (error),
  each of which begins with the port as two bytes, the low one first. One connection per port.
"""

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pinnace.kit import clock, tasks
from pinnace.kubelet.endpoint import remotecommand
from pinnace.web import duplex, messages, spdy_session, websocket, wire

log = logging.getLogger(__name__)

PROTOCOL = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io", PROTOCOL, "")

STREAM_CREATION_SECONDS = 30.0
"""For the second stream of a pair to follow the first. Upstream's figure."""
MAX_PORTS = 64
QUEUED_PIECES = 16
"""Messages of one channel that may wait for its connection."""

Connect = Callable[[int], Awaitable[messages.Duplex]]


def serve(
    request: messages.Request, connect: Connect, *, pod: str = "", uid: str = "", time: clock.Clock | None = None
) -> messages.Answer:
    """The answer to a port-forward request. `connect(port)` reaches into the pod; it raises OSError when nothing listens there.

    `pod` and `uid` stand in what users read when that fails."""
    forwarder = _Forwarder(connect, pod, uid, time or clock.SystemClock())
    if websocket.is_websocket(request):
        return _serve_websocket(request, forwarder)
    headers = request.headers
    if not (
        wire.has_token(headers.get("connection", ""), "upgrade") and headers.get("upgrade", "").lower() == "spdy/3.1"
    ):
        return remotecommand.text_answer(400, "unable to upgrade: missing upgrade headers in request")
    protocol = remotecommand.negotiate(request, (PROTOCOL,))
    if isinstance(protocol, messages.Response):
        return protocol
    fields = [("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", protocol)]
    return messages.Upgrade(fields if protocol else fields[:1], forwarder.run_spdy)


def ports_of(values: Mapping[str, Sequence[str]]) -> list[int]:
    """From a query: `ports` (PodPortForwardOptions) or `port` (the kubelet's), repeated or separated by commas. Raises ValueError."""
    texts = [*(values.get("ports") or ()), *values.get("port", ())]
    if not texts:
        raise ValueError('query parameter "ports" is required')
    ports = []
    for text in (part for each in texts for part in each.split(",")):
        if not is_port(text):
            raise ValueError(f'unable to parse "{text}" as a port: must be between 1 and 65535')
        ports.append(int(text))
    if len(ports) > MAX_PORTS:
        raise ValueError(f"{len(ports)} ports: at most {MAX_PORTS} can be forwarded on one connection")
    return ports


def is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= 0xFFFF


def _serve_websocket(request: messages.Request, forwarder: "_Forwarder") -> messages.Answer:
    if TUNNEL in websocket.requested_protocols(request):

        async def run_tunnel(socket: websocket.WebSocket) -> None:
            await forwarder.run_spdy(websocket.Tunnel(socket))

        return websocket.accept(request, (TUNNEL,), run_tunnel)
    try:
        ports = ports_of(request.query_values())
    except ValueError as error:
        return remotecommand.text_answer(400, str(error))

    async def run_channels(socket: websocket.WebSocket) -> None:
        await _Channels(socket, forwarder, ports).run()

    return websocket.accept(request, CHANNEL_PROTOCOLS, run_channels)


class _Forwarder:
    """Connections into one pod."""

    def __init__(self, connect: Connect, pod: str, uid: str, time: clock.Clock) -> None:
        self.clock = time
        self._connect = connect
        self._pod = pod
        self._uid = uid

    async def forward(self, port: int, data: messages.Duplex) -> str:
        """Carry bytes between `data` and the pod's port until the pod closes. Returns what went wrong, "" for nothing."""
        try:
            inside = await self._connect(port)
        except OSError as error:
            reason = error.strerror or str(error)
            text = f"error forwarding port {port} to pod {self._pod}, uid {self._uid}: failed to connect to port {port}: {reason}"
            log.info("%s", text)
            return text
        upstream = asyncio.create_task(_carry(data, inside))
        try:
            await _carry(inside, data)
        finally:
            try:
                await duplex.settle(upstream)
            finally:
                await inside.close()
        return ""

    async def run_spdy(self, raw: messages.Duplex) -> None:
        async with spdy_session.Session(raw) as session, tasks.Supervisor(self.clock) as supervisor:
            await _SpdyConnection(session, self, supervisor).run()


async def _carry(source: messages.Duplex, sink: messages.Duplex) -> None:
    with contextlib.suppress(messages.Disconnected):
        while data := await source.read():
            await sink.write(data)
        await sink.end()


# ---------------------------------------------------------------- SPDY


class _SpdyConnection:
    """One SPDY connection with any number of pairs of streams."""

    def __init__(self, session: spdy_session.Session, forwarder: _Forwarder, supervisor: tasks.Supervisor) -> None:
        self._session = session
        self._forwarder = forwarder
        self._supervisor = supervisor
        self._halves: dict[str, spdy_session.Stream] = {}

    async def run(self) -> None:
        with contextlib.suppress(messages.Disconnected):
            while (stream := await self._session.accept()) is not None:
                await self._take(stream)

    async def _take(self, stream: spdy_session.Stream) -> None:
        kind, port = stream.headers.get("streamtype", ""), stream.headers.get("port", "")
        if kind not in ("error", "data") or not is_port(port) or len(self._halves) >= spdy_session.MAX_STREAMS:
            log.info("a port-forward stream was refused: type %r, port %r", kind[:20], port[:20])
            await stream.reset()
            return
        request = request_id(stream.id, kind, stream.headers)
        other = self._halves.get(request)
        if other is not None and other.headers.get("streamtype") == kind:
            await stream.reset()
            return
        await self._session.reply(stream)
        if other is None:
            self._halves[request] = stream
            self._supervisor.spawn("time limit of a port-forward stream", self._expire(request, stream))
        else:
            del self._halves[request]
            data, errors = (stream, other) if kind == "data" else (other, stream)
            self._supervisor.spawn("port-forward", self._forward(int(data.headers["port"]), data, errors))

    async def _forward(self, port: int, data: spdy_session.Stream, errors: spdy_session.Stream) -> None:
        with contextlib.suppress(messages.Disconnected):
            problem = await self._forwarder.forward(port, data)
            if problem:
                await errors.write(problem.encode())
        await errors.close()
        await data.close()

    async def _expire(self, request: str, stream: spdy_session.Stream) -> None:
        await self._forwarder.clock.sleep(STREAM_CREATION_SECONDS)
        if self._halves.get(request) is stream:
            del self._halves[request]
            with contextlib.suppress(messages.Disconnected):
                await stream.reset()


def request_id(stream: int, kind: str, headers: Mapping[str, str]) -> str:
    """What pairs a data stream with its error stream. The oldest clients send none: their error stream comes just before."""
    return headers.get("requestid") or str(stream if kind == "error" else stream - 2)


# ---------------------------------------------------------------- WebSocket channels


class _Channel:
    """The data channel of one port; a `messages.Duplex`."""

    def __init__(self, owner: "_Channels", number: int) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue(QUEUED_PIECES)
        self._owner = owner
        self._number = number

    async def read(self) -> bytes:
        return await self.arrived.get()

    async def write(self, data: bytes) -> None:
        await self._owner.send(self._number, data)

    async def end(self) -> None:
        """Channels have no end of their own."""

    async def close(self) -> None:
        return None


class _Channels:
    def __init__(self, socket: websocket.WebSocket, forwarder: _Forwarder, ports: Sequence[int]) -> None:
        self._socket = socket
        self._codec = remotecommand.ChannelCodec(socket.subprotocol)
        self._forwarder = forwarder
        self._ports = ports
        self._channels = [_Channel(self, 2 * index) for index in range(len(ports))]
        self._finished: set[int] = set()

    async def run(self) -> None:
        reader = asyncio.create_task(self._read())
        forwards = asyncio.create_task(self._forward_all())
        try:
            await asyncio.wait({reader, forwards}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await duplex.settle(reader, forwards)
            finally:
                await self._socket.close()

    async def send(self, channel: int, data: bytes) -> None:
        await self._socket.send(self._codec.encode(channel, data))

    async def _read(self) -> None:
        while (message := await self._socket.receive()) is not None:
            channel, data = self._codec.decode(message[1])
            if data and channel % 2 == 0 and 0 <= channel < 2 * len(self._channels) and channel not in self._finished:
                await self._channels[channel // 2].arrived.put(data)

    async def _forward_all(self) -> None:
        for index, port in enumerate(self._ports):
            for channel in (2 * index, 2 * index + 1):
                await self.send(channel, struct.pack("<H", port))
        await asyncio.gather(*[self._forward(index) for index in range(len(self._ports))])

    async def _forward(self, index: int) -> None:
        channel = self._channels[index]
        problem = await self._forwarder.forward(self._ports[index], channel)
        self._finished.add(2 * index)
        while not channel.arrived.empty():  # a reader that waits for room must go on
            channel.arrived.get_nowait()
        if problem:
            await self.send(2 * index + 1, problem.encode())
