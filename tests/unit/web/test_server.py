"""The HTTP server over real sockets on loopback, spoken to byte by byte."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from pinnace.web import connection, messages, server

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Awaitable[None]], None]


@contextlib.asynccontextmanager
async def serving(
    handler: messages.Handler, limits: connection.Limits | None = None, **settings: int
) -> AsyncIterator[tuple[server.HttpServer, int]]:
    one = server.HttpServer(handler, settings=server.Settings(limits=limits or connection.Limits(), **settings))  # type: ignore[arg-type]
    port = await one.start("127.0.0.1", 0)
    try:
        yield one, port
    finally:
        await one.stop(grace=0.2)


class Wire:
    """A client that sends and sees bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        data = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
        first, *lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
        return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if "content-length" in headers:
            return status, headers, await self.reader.readexactly(int(headers["content-length"]))
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readline() == b"\r\n"
        return status, headers, body

    async def is_closed(self) -> bool:
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 5) == b""
        return True


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(Exception):
            await writer.wait_closed()


async def echo(request: messages.Request) -> messages.Answer:
    body = await request.body.read(1 << 20)
    text = f"{request.method} {request.path} {request.query} ".encode() + body
    return messages.Response(200, (("Content-Type", "text/plain"),), text)


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.005)


@LOOPS
def test_keeps_the_connection_and_answers_pipelined_requests_in_order(run: Run) -> None:
    async def handler(request: messages.Request) -> messages.Answer:
        # the first takes longest
        await asyncio.sleep({"/1": 0.05, "/2": 0.01}.get(request.path, 0))
        return messages.Response(200, (), request.path.encode())

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(1, 41)))
            for n in range(1, 41):
                status, headers, body = await wire.answer()
                assert (status, body) == (200, b"/%d" % n)
                assert "connection" not in headers
                assert headers["date"].endswith("GMT")

    run(main())


@LOOPS
def test_request_is_read_with_its_decoded_path_headers_and_body(run: Run) -> None:
    seen: list[messages.Request] = []

    async def handler(request: messages.Request) -> messages.Answer:
        seen.append(request)
        return messages.Response(200, (), await request.body.read(100))

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            wire.send(
                b"POST /a%20b/%C3%A9%2Fx?q=%20y&w=1 HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nx-one: 2  \r\nContent-Length: 5\r\n\r\nhe"
            )
            await asyncio.sleep(0.01)
            wire.send(b"llo")
            assert (await wire.answer())[2] == b"hello"
            wire.send(
                b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nT: r\r\n\r\n"
            )
            assert (await wire.answer())[2] == b"abcde"
            wire.send(b"GET http://host:1/abs?x HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.answer()

    run(main())
    assert [(r.method, r.path, r.query) for r in seen] == [
        ("POST", "/a b/é/x", "q=%20y&w=1"),
        ("PUT", "/c", ""),
        ("GET", "/abs", "x"),
    ]
    assert seen[0].headers["x-one"] == "1, 2"
    assert "t" not in seen[1].headers
    assert seen[0].peer.address.startswith("127.0.0.1:")


@LOOPS
def test_continue_is_sent_when_the_handler_wants_the_body(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as (_, port), connected(port) as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert (await wire.head())[0] == 100
            wire.send(b"ok")
            assert (await wire.answer())[2] == b"POST /  ok"

    run(main())


@LOOPS
def test_a_body_beyond_the_handlers_limit_is_413_and_ends_the_connection(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as (_, port):
            for head in (b"Content-Length: 9000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 9_000_000):
                async with connected(port) as wire:
                    wire.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"x" * 2_000_000)
                    status, headers, _ = await wire.answer()
                    assert (status, headers["connection"]) == (413, "close")
                    assert await wire.is_closed()

    run(main())


@LOOPS
def test_a_small_unread_body_is_skipped_and_the_connection_goes_on(run: Run) -> None:
    async def handler(request: messages.Request) -> messages.Answer:
        return messages.Response(204)

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            wire.send(b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            status, headers = await wire.head()
            assert status == 204
            assert "content-length" not in headers
            wire.send(b"x" * 1000 + b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await wire.head())[0] == 204

    run(main())


@LOOPS
def test_body_chunks_push_back_on_the_client(run: Run) -> None:
    """A handler that takes nothing stops the socket: what the server holds stays bounded; then every byte arrives."""
    go = asyncio.Event
    total = 64 << 20

    async def main() -> None:
        released = go()
        sizes: list[int] = []

        async def handler(request: messages.Request) -> messages.Answer:
            await released.wait()
            sizes.extend([len(piece) async for piece in request.body.chunks()])
            return messages.Response(200, (), b"%d" % sum(sizes))

        async def feed(wire: Wire) -> None:
            for _ in range(total // (1 << 20)):
                wire.send(bytes(1 << 20))
                await wire.writer.drain()

        async with serving(handler) as (_, port), connected(port) as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % total)
            feeder = asyncio.create_task(feed(wire))
            done, _pending = await asyncio.wait([feeder], timeout=0.3)
            assert not done, "the server swallowed 64 MiB that nobody read"
            released.set()
            assert (await wire.answer())[2] == b"%d" % total
            await feeder

    run(main())


@LOOPS
def test_streams_pieces_and_bytes_arrive_whole(run: Run) -> None:
    big = bytes(range(256)) * 4096

    async def parts() -> AsyncIterator[messages.Chunk]:
        yield b"one"
        yield b""
        yield [b"two", b"", b"three"]
        yield big

    async def handler(request: messages.Request) -> messages.Answer:
        bodies = {"/bytes": big, "/pieces": [b"a", big, b"b", *([b"c"] * 1000)], "/stream": parts()}
        return messages.Response(200, (), bodies[request.path])  # type: ignore[arg-type]

    expected = {"/bytes": big, "/pieces": b"a" + big + b"b" + b"c" * 1000, "/stream": b"onetwothree" + big}

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            for path, body in expected.items():
                wire.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                assert (await wire.answer())[2] == body
            for path in ("/bytes", "/pieces", "/stream"):
                wire.send(b"HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                assert (await wire.head())[0] == 200
            wire.send(b"GET /bytes HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await wire.answer())[2] == big

    run(main())


@LOOPS
def test_http_1_0_streams_end_with_the_connection(run: Run) -> None:
    async def parts() -> AsyncIterator[messages.Chunk]:
        yield b"one"
        yield [b"two"]

    async def handler(request: messages.Request) -> messages.Answer:
        return messages.Response(200, (), parts() if request.path == "/s" else b"x")

    async def main() -> None:
        async with serving(handler) as (_, port):
            async with connected(port) as wire:
                wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                _status, headers, body = await wire.answer()
                assert (headers["connection"], body) == ("keep-alive", b"x")
                wire.send(b"GET /s HTTP/1.0\r\n\r\n")
                _status, headers = await wire.head()
                assert "transfer-encoding" not in headers
                assert await wire.reader.read() == b"onetwo"

    run(main())


@LOOPS
def test_an_error_of_a_handler_is_500_and_the_connection_lives(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: messages.Request) -> messages.Answer:
        if request.path == "/bad":
            raise RuntimeError("secret detail")
        if request.path == "/split":
            return messages.Response(200, (("X", "a\r\nSet-Cookie: b"),), b"")
        return messages.Response(200, (), b"fine")

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            for path in (b"/bad", b"/split"):
                wire.send(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path)
                status, headers, body = await wire.answer()
                assert status == 500
                assert b"secret" not in body
                assert "set-cookie" not in headers
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await wire.answer())[2] == b"fine"

    run(main())
    assert "'GET' '/bad' failed" in caplog.text
    assert "secret detail" in caplog.text


@LOOPS
def test_an_error_within_a_stream_cuts_the_connection_short_of_the_end(run: Run) -> None:
    async def parts() -> AsyncIterator[messages.Chunk]:
        yield b"one"
        raise RuntimeError("lost the source")

    async def handler(request: messages.Request) -> messages.Answer:
        return messages.Response(200, (), parts())

    async def main() -> None:
        async with serving(handler) as (_, port), connected(port) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await wire.head()
            rest = b""
            with contextlib.suppress(ConnectionError):
                rest = await wire.reader.read()
            assert not rest.endswith(b"0\r\n\r\n")

    run(main())


REFUSED = {
    b"NONSENSE\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,  # no Host
    b"GET nonsense HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: x\r\nExpect: miracle\r\nContent-Length: 1\r\n\r\na": 417,
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n": 431,
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": 431,
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000: 431,
}


@LOOPS
@pytest.mark.parametrize("data", REFUSED, ids=lambda d: d[:40])
def test_malformed_requests_are_refused_and_closed(run: Run, data: bytes) -> None:
    async def main() -> None:
        async with serving(echo) as (one, port), connected(port) as wire:
            wire.send(data)
            status, headers, _ = await wire.answer()
            assert (status, headers["connection"]) == (REFUSED[data], "close")
            assert await wire.is_closed()
            await wait_until(lambda: one.connection_count == 0)

    run(main())


@LOOPS
def test_an_answer_precedes_the_refusal_of_what_follows_it(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as (_, port), connected(port) as wire:
            wire.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n")
            assert (await wire.answer())[2] == b"GET /1  "
            assert (await wire.answer())[0] == 400
            assert await wire.is_closed()

    run(main())


@LOOPS
def test_a_stream_is_closed_when_its_client_goes_away(run: Run) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[messages.Chunk]:
            try:
                yield b"first"
                await asyncio.Event().wait()
            finally:
                closed.set()

        async def handler(request: messages.Request) -> messages.Answer:
            return messages.Response(200, (), endless())

        async with serving(handler) as (one, port):
            async with connected(port) as wire:
                wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await wire.head()
            await asyncio.wait_for(closed.wait(), 5)
            await wait_until(lambda: one.connection_count == 0)

    run(main())


@LOOPS
def test_a_client_that_ends_its_writes_still_gets_its_answers(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as (_, port), connected(port) as wire:
            wire.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\n\r\n")
            wire.writer.write_eof()
            assert (await wire.answer())[2] == b"GET /1  "
            assert (await wire.answer())[2] == b"POST /2  "
            assert await wire.is_closed()

    run(main())


@LOOPS
def test_only_reading_handlers_are_cancelled_when_the_client_goes_away(run: Run) -> None:
    async def main() -> None:
        ends: dict[str, str] = {}
        started, go = asyncio.Semaphore(0), asyncio.Event()

        async def handler(request: messages.Request) -> messages.Answer:
            started.release()
            try:
                await go.wait()
                ends[request.method] = "finished"
            except asyncio.CancelledError:
                ends[request.method] = "cancelled"
                raise
            return messages.Response()

        async with serving(handler) as (one, port):
            for method in (b"GET", b"DELETE"):
                async with connected(port) as wire:
                    wire.send(method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
                    await started.acquire()
            await wait_until(lambda: "GET" in ends)
            go.set()
            await wait_until(lambda: one.connection_count == 0)
        assert ends == {"GET": "cancelled", "DELETE": "finished"}

    run(main())


@LOOPS
def test_a_client_that_does_not_read_is_cut_and_never_buffered_without_bound(run: Run) -> None:
    async def main() -> None:
        produced = 0
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[messages.Chunk]:
            nonlocal produced
            try:
                while True:
                    produced += 65536
                    yield bytes(65536)
            finally:
                closed.set()

        async def handler(request: messages.Request) -> messages.Answer:
            return messages.Response(200, (), endless())

        async with serving(handler, connection.Limits(stall_seconds=0.3)) as (one, port), connected(port) as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(closed.wait(), 5)
            assert produced < 32 << 20
            await wait_until(lambda: one.connection_count == 0)

    run(main())


@LOOPS
def test_slow_headers_stalled_bodies_and_idle_connections_are_closed(run: Run) -> None:
    limits = connection.Limits(head_seconds=0.2, idle_seconds=0.2, stall_seconds=0.2)

    async def main() -> None:
        async with serving(echo, limits) as (_, port):
            for data, status in (
                (b"GET / HTTP/1.1\r\nHo", 408),
                (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 400),
                (b"", 0),
            ):
                async with connected(port) as wire:
                    wire.send(data)
                    if status:
                        assert (await wire.answer())[0] == status
                    assert await wire.is_closed()

    run(main())


@LOOPS
def test_too_many_connections_are_turned_away(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, max_connections=1) as (_, port), connected(port) as first:
            first.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await first.answer()
            async with connected(port) as second:
                assert (await second.answer())[0] == 503
                assert await second.is_closed()

    run(main())


@LOOPS
def test_stop_lets_running_requests_finish_and_closes_idle_connections(run: Run) -> None:
    async def main() -> None:
        started, go = asyncio.Event(), asyncio.Event()

        async def handler(request: messages.Request) -> messages.Answer:
            if request.path == "/slow":
                started.set()
                await go.wait()
            return messages.Response(200, (), b"done")

        one = server.HttpServer(handler)
        port = await one.start("127.0.0.1", 0)
        async with connected(port) as idle, connected(port) as busy:
            idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await idle.answer()
            busy.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await started.wait()
            stopping = asyncio.create_task(one.stop(grace=5))
            assert await idle.is_closed()
            go.set()
            _status, headers, body = await busy.answer()
            assert (headers["connection"], body) == ("close", b"done")
            await stopping
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)

    run(main())


@LOOPS
def test_stop_cuts_what_outlives_the_grace(run: Run) -> None:
    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()

        async def handler(request: messages.Request) -> messages.Answer:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return messages.Response()

        one = server.HttpServer(handler)
        port = await one.start("127.0.0.1", 0)
        async with connected(port) as wire:
            wire.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
            await started.wait()
            await one.stop(grace=0.05)
            assert ended.is_set()
            assert one.connection_count == 0

    run(main())


@LOOPS
def test_stop_cuts_upgraded_connections_too(run: Run) -> None:
    async def main() -> None:
        async def wait(raw: messages.Duplex) -> None:
            await raw.read()

        async def handler(request: messages.Request) -> messages.Answer:
            return messages.Upgrade((("Upgrade", "x"),), wait)

        one = server.HttpServer(handler)
        port = await one.start("127.0.0.1", 0)
        async with connected(port) as wire:
            wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            await wire.head()
            await one.stop(grace=0.05)
            assert one.connection_count == 0
            assert await wire.is_closed()

    run(main())


@LOOPS
def test_an_upgrade_hands_over_the_connection_with_what_came_early(run: Run) -> None:
    async def main() -> None:
        async def shout(raw: messages.Duplex) -> None:
            while data := await raw.read():
                await raw.write(data.upper())
            await raw.write(b"end")

        async def handler(request: messages.Request) -> messages.Answer:
            if request.headers["upgrade"] != "shout":
                return messages.Response(400, (), b"no")
            return messages.Upgrade((("Upgrade", "shout"),), shout)

        async with serving(handler) as (one, port):
            async with connected(port) as wire:
                wire.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nearly")
                status, headers = await wire.head()
                assert (status, headers["connection"], headers["upgrade"]) == (101, "Upgrade", "shout")
                assert await wire.reader.readexactly(5) == b"EARLY"
                wire.send(b"later")
                assert await wire.reader.readexactly(5) == b"LATER"
                wire.writer.write_eof()
                assert await wire.reader.read() == b"end"
            await wait_until(lambda: one.connection_count == 0)
            async with connected(port) as wire:
                wire.send(b"GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
                wire.send(b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
                for _ in range(2):
                    assert (await wire.answer())[2] == b"no"

    run(main())
