"""The cluster's DNS server: UDP and TCP on one address, answers from informers, everything else forwarded to the node's name servers.

Datagrams are read many at a time straight from the socket; an answer of our own is sent before the next one is read. At most MAX_FORWARDS questions
wait for others at once (of one client MAX_FORWARDS_PER_CLIENT), further ones fail at once. Streams have places (`streams.Places`), and each is
closed when its client has not sent a whole question within STREAM_IDLE_SECONDS.
"""

import asyncio
import collections
import contextlib
import functools
import random
import socket
from collections.abc import Callable, Sequence

from pinnace.dns import answers, figures, forward, records, streams, wire

PORT = 53
MAX_FORWARDS = 1000
MAX_FORWARDS_PER_CLIENT = 250
MAX_STREAMS = 256
MAX_STREAMS_PER_CLIENT = 32
STREAM_IDLE_SECONDS = 10.0
STREAM_BYTES = 65535
DATAGRAMS_AT_ONCE = 64
"""Before other tasks of the loop get their turn."""

upstreams_of = forward.upstreams_of
Later = Callable[[bytes], None]


class DnsServer:
    def __init__(
        self, domain: str, view: records.View, upstreams: Sequence[tuple[str, int]], rng: random.Random
    ) -> None:
        self._domain = domain
        self._answers = answers.Answers(domain, view, rng)
        self._upstreams = tuple(upstreams)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: collections.Counter[str] = collections.Counter()
        self._places: streams.Places[asyncio.StreamWriter] = streams.Places(MAX_STREAMS, MAX_STREAMS_PER_CLIENT)
        self._figures = figures.Figures()
        self._socket: socket.socket | None = None
        self._tcp: asyncio.Server | None = None

    def expose(self) -> bytes:
        """Prometheus text."""
        return self._figures.expose(self._domain)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError where the address is not there or taken."""
        self._tcp = await asyncio.start_server(self._serve_stream, host, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind((host, port))
        asyncio.get_running_loop().add_reader(self._socket, self._read_datagrams, self._socket)

    async def stop(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _read_datagrams(self, here: socket.socket) -> None:
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data, address = here.recvfrom(wire.MAX_BYTES)
            except OSError:  # nothing more there; or an answer of ours found nobody
                return
            answer = self.answer_datagram(data, address[0], functools.partial(_send, here, address))
            if answer:
                _send(here, address, answer)

    def answer_datagram(self, data: bytes, client: str, later: Later) -> bytes:
        """An answer of our own. b"": none is due, or `later` is called with it."""
        try:
            query = wire.parse(data)
        except wire.MalformedQuery as error:
            return error.answer
        try:
            answer = self._answers.answer(query, query.limit)
        except answers.Elsewhere as elsewhere:
            if len(self._tasks) < MAX_FORWARDS and self._waiting[client] < MAX_FORWARDS_PER_CLIENT:
                self._answer_later(data, query, elsewhere, client, later)
                return b""
            answer = wire.failure(query, wire.SERVER_FAILURE)
        self._figures.count("udp", query.kind, answer)
        return answer

    def _answer_later(
        self, data: bytes, query: wire.Query, elsewhere: answers.Elsewhere, client: str, later: Later
    ) -> None:
        async def ask_others() -> None:
            answer = await self._forward(data, query, elsewhere, query.limit, stream=False)
            self._figures.count("udp", query.kind, answer)
            later(answer)

        def forget(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._waiting[client] -= 1
            if not self._waiting[client]:
                del self._waiting[client]

        task = asyncio.get_running_loop().create_task(ask_others())
        self._tasks.add(task)
        self._waiting[client] += 1
        task.add_done_callback(forget)

    async def _forward(
        self, data: bytes, query: wire.Query, elsewhere: answers.Elsewhere, limit: int, *, stream: bool
    ) -> bytes:
        self._figures.count_forwarded()
        if elsewhere.alias:
            found = await forward.ask_alias(query, elsewhere.alias, elsewhere.first, self._upstreams)
            return found.encode(query, 0, limit)
        answer = await forward.ask(data, self._upstreams, stream=stream)
        return answer if answer is not None else wire.failure(query, wire.SERVER_FAILURE)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        has_place, going = self._places.enter(writer, peer[0] if peer else "")
        if going is not None:
            going.transport.abort()
        if not has_place:
            writer.transport.abort()
            return
        try:
            await self._converse(reader, writer)
        except (asyncio.IncompleteReadError, OSError, TimeoutError):
            pass
        finally:
            self._places.leave(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Question by question. Raises IncompleteReadError, OSError, TimeoutError."""
        while True:
            data = await asyncio.wait_for(_read_framed(reader), STREAM_IDLE_SECONDS)
            self._places.set_idle(writer, is_idle=False)
            answer = await self._answer_framed(data)
            if not answer:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            self._places.set_idle(writer, is_idle=True)
            await asyncio.wait_for(writer.drain(), STREAM_IDLE_SECONDS)

    async def _answer_framed(self, data: bytes) -> bytes:
        try:
            query = wire.parse(data)
        except wire.MalformedQuery as error:
            return error.answer
        try:
            answer = self._answers.answer(query, STREAM_BYTES)
        except answers.Elsewhere as elsewhere:
            answer = await self._forward(data, query, elsewhere, STREAM_BYTES, stream=True)
        self._figures.count("tcp", query.kind, answer)
        return answer


async def _read_framed(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


def _send(here: socket.socket, address: tuple[str, int], answer: bytes) -> None:
    with contextlib.suppress(OSError):  # the client is gone, or the queue is full: it will ask again
        here.sendto(answer, address)
