"""SPDY streams on a connection: one reader, one stream object per stream, bounded buffers.

    async with Session(raw) as session:
        while (stream := await session.accept()) is not None: ...

Leaving the block takes leave of the peer and closes the connection.

A stream whose reader lags stops the whole connection: SPDY as Kubernetes speaks it has no window per stream.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Mapping

from pinnace.web import duplex, messages, spdy

log = logging.getLogger(__name__)

HELD_BYTES = 256 * 1024
"""Unread bytes of one stream beyond which the connection is not read."""
MAX_STREAMS = 1000
"""Open at once on one connection; more are refused."""

GOODBYE_SECONDS = 2.0


class Stream:
    """One stream; a `messages.Duplex`."""

    def __init__(self, session: "Session", number: int, headers: Mapping[str, str]) -> None:
        self.id = number
        self.headers = headers
        """Of the SYN_STREAM, names in lower case."""
        self._session = session
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._is_ended = False
        self._is_write_ended = False
        self._is_reset = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """What has arrived; b"" at the stream's end, after a reset, or when the connection is lost."""
        while not self._pieces:
            if self._is_ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        self._session.on_read()
        return piece

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), spdy.MAX_DATA_BYTES):
            if self._is_write_ended or self._is_reset:
                raise messages.Disconnected("the stream is closed")
            await self._session.send(spdy.Data(self.id, data[start : start + spdy.MAX_DATA_BYTES]))

    async def end(self) -> None:
        if not (self._is_write_ended or self._is_reset):
            self._is_write_ended = True
            await self._session.send(spdy.Data(self.id, b"", is_fin=True))
            self._session.forget_if_done(self)

    async def close(self) -> None:
        """End what we write and drop what still comes."""
        with contextlib.suppress(messages.Disconnected):
            await self.end()
        self.on_end(is_reset=True)
        self._session.forget_if_done(self)

    async def reset(self, status: int = spdy.RST_CANCEL) -> None:
        if not self._is_reset:
            self.on_end(is_reset=True)
            await self._session.send(spdy.Reset(self.id, status))
            self._session.forget_if_done(self)

    # ------------------------------------------------------------ the session's side

    @property
    def is_full(self) -> bool:
        return self._size > HELD_BYTES

    @property
    def is_done(self) -> bool:
        return self._is_reset or (self._is_ended and self._is_write_ended)

    def on_data(self, data: bytes) -> None:
        if data and not self._is_ended:
            self._pieces.append(data)
            self._size += len(data)
            self._changed.set()

    def on_end(self, *, is_reset: bool) -> None:
        self._is_ended = True
        self._is_reset = self._is_reset or is_reset
        if self._is_reset:
            self._size = 0
            self._session.on_read()
        self._changed.set()


class Session:
    def __init__(self, raw: messages.Duplex, *, is_client: bool = False) -> None:
        self._raw = raw
        self._decoder = spdy.Decoder()
        self._encoder = spdy.Encoder()
        self._streams: dict[int, Stream] = {}
        self._accepted: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._parity = 1 if is_client else 0
        self._next = 1 if is_client else 2
        self._last_received = 0
        self._has_room = asyncio.Event()
        self._replies: dict[int, asyncio.Future[None]] = {}
        self._is_closed = False
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Session":
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        # A peer that does not read must not keep us.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self._send_quietly(spdy.GoAway(self._last_received))
        try:
            await duplex.settle(*([self._reader] if self._reader else []))
        finally:
            await self._raw.close()

    async def wait_ended(self, timeout: float | None = None) -> None:
        """Returns when the peer has closed the connection, at the latest after `timeout` seconds."""
        assert self._reader is not None
        await asyncio.wait({self._reader}, timeout=timeout)

    async def accept(self) -> Stream | None:
        """The next stream that the peer opens: `reply` to it or `reset` it. None once the connection has ended."""
        stream = await self._accepted.get()
        if stream is None:
            self._accepted.put_nowait(None)
        return stream

    async def reply(self, stream: Stream, headers: Mapping[str, str] | None = None) -> None:
        """Accept a stream. Raises Disconnected."""
        await self.send(spdy.SynReply(stream.id, headers or {}))

    async def open(self, headers: Mapping[str, str]) -> Stream:
        """Open a stream and wait for the peer's reply. Raises Disconnected when it is refused."""
        number, self._next = self._next, self._next + 2
        stream = self._streams[number] = Stream(self, number, headers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        try:
            await self.send(spdy.SynStream(number, headers))
            await reply
        finally:
            del self._replies[number]
        return stream

    async def send(self, frame: spdy.Frame) -> None:
        """Raises Disconnected. Frames leave in the order of the calls: encoding and handing over happen in one step."""
        if self._is_closed:
            raise messages.Disconnected("the connection is closed")
        await self._raw.write(self._encoder.encode(frame))

    # ------------------------------------------------------------ for the streams

    def on_read(self) -> None:
        self._has_room.set()

    def forget_if_done(self, stream: Stream) -> None:
        if stream.is_done:
            self._streams.pop(stream.id, None)

    # ------------------------------------------------------------

    async def _read(self) -> None:
        """Until the connection ends, or the peer breaks the protocol. Then every stream reads its end."""
        try:
            while data := await self._raw.read():
                for frame in self._decoder.feed(data):
                    await self._handle(frame)
        except spdy.ProtocolError as error:
            log.info("a SPDY connection is closed: %s", error)
            await self._send_quietly(spdy.GoAway(self._last_received, 1))
        except messages.Disconnected:
            pass
        finally:
            self._is_closed = True
            for stream in list(self._streams.values()):
                stream.on_end(is_reset=False)
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(messages.Disconnected("the connection is closed"))
            self._accepted.put_nowait(None)

    async def _handle(self, frame: spdy.Frame) -> None:
        match frame:
            case spdy.SynStream():
                await self._handle_new(frame)
            case spdy.SynReply(number, _, is_fin):
                reply = self._replies.get(number)
                if reply is not None and not reply.done():
                    reply.set_result(None)
                if is_fin:
                    self._end(number, is_reset=False)
            case spdy.Data(number, data, is_fin):
                await self._handle_data(number, data, is_fin)
            case spdy.StreamHeaders(number, _, is_fin):
                if is_fin:
                    self._end(number, is_reset=False)
            case spdy.Reset(number):
                reply = self._replies.get(number)
                if reply is not None and not reply.done():
                    reply.set_exception(messages.Disconnected("the peer refused the stream"))
                self._end(number, is_reset=True)
            case spdy.Ping(number):
                if number % 2 != self._parity:
                    await self.send(frame)
            case _:
                pass  # GOAWAY: open streams go on; SETTINGS and WINDOW_UPDATE: no windows

    async def _handle_new(self, frame: spdy.SynStream) -> None:
        if frame.stream % 2 == self._parity or frame.stream <= self._last_received:
            await self.send(spdy.Reset(frame.stream, spdy.RST_PROTOCOL_ERROR))
            return
        self._last_received = frame.stream
        if max(len(self._streams), self._accepted.qsize()) >= MAX_STREAMS:
            await self.send(spdy.Reset(frame.stream, spdy.RST_REFUSED_STREAM))
            return
        stream = self._streams[frame.stream] = Stream(self, frame.stream, frame.headers)
        if frame.is_fin:
            stream.on_end(is_reset=False)
        self._accepted.put_nowait(stream)

    async def _handle_data(self, number: int, data: bytes, is_fin: bool) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return  # closed by us while it was on its way
        stream.on_data(data)
        if is_fin:
            self._end(number, is_reset=False)
        while stream.is_full:
            self._has_room.clear()
            await self._has_room.wait()

    def _end(self, number: int, *, is_reset: bool) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            stream.on_end(is_reset=is_reset)
            self.forget_if_done(stream)

    async def _send_quietly(self, frame: spdy.Frame) -> None:
        with contextlib.suppress(messages.Disconnected):
            await self.send(frame)
