"""What a handler is given: the same over a socket as by a direct call; and no bytes on a socket that break the server."""

import asyncio
import contextlib
import logging
import urllib.parse
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies

from pinnace.web import client, connection, messages, origin, server, wire

TEXT = strategies.text(strategies.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TOKEN = strategies.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=12).map(lambda name: f"x-{name}")
VALUE = strategies.text(strategies.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)


class Here:
    """A loop, a server whose handler keeps its last request, and a client, for as long as a test runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.seen: list[tuple[messages.Request, bytes]] = []
        self.server = server.HttpServer(self.handle)
        self.port = self.loop.run_until_complete(self.server.start("127.0.0.1", 0))
        self.client = self.loop.run_until_complete(self._client())

    async def _client(self) -> client.HttpClient:
        return client.HttpClient()

    async def handle(self, request: messages.Request) -> messages.Answer:
        data = await request.body.read(1 << 20)
        self.seen.append((request, data))
        return messages.Response(200, (("X-Seen", request.method),), data)

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.run_until_complete(self.server.stop(grace=1))
        self.loop.close()


@pytest.fixture(scope="module")
def here() -> Iterator[Here]:
    one = Here()
    yield one
    one.close()


@hypothesis.given(
    method=strategies.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    segments=strategies.lists(TEXT, max_size=4),
    query=strategies.lists(strategies.tuples(TEXT, TEXT), max_size=4),
    headers=strategies.dictionaries(TOKEN, VALUE, max_size=5),
    body=strategies.binary(max_size=2000),
    is_chunked=strategies.booleans(),
)
@hypothesis.settings(deadline=None, max_examples=150)
def test_a_handler_sees_the_same_request_over_a_socket_and_by_a_direct_call(
    here: Here,
    method: str,
    segments: list[str],
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    is_chunked: bool,
) -> None:
    path = "/" + "/".join(segments)
    request = messages.Request(method, path, urllib.parse.urlencode(query), headers, messages.BytesBody(body))

    async def chunks():  # type: ignore[no-untyped-def]
        for start in range(0, len(body), 700):
            yield body[start : start + 700]

    async def both() -> tuple[messages.Answer, client.ClientResponse, bytes]:
        direct = await here.handle(request)
        url = f"http://127.0.0.1:{here.port}{urllib.parse.quote(path)}" + (f"?{request.query}" if request.query else "")
        content = chunks() if is_chunked else body
        answer = await here.client.request(method, url, headers=list(headers.items()), body=content, timeout=10)
        return direct, answer, await answer.read(1 << 20)

    direct, answer, data = here.loop.run_until_complete(both())
    assert isinstance(direct, messages.Response)
    assert (answer.status, data) == (direct.status, direct.body)
    (mine, my_body), (theirs, their_body) = here.seen[-2:]
    assert (theirs.method, theirs.path, theirs.query, their_body) == (mine.method, mine.path, mine.query, my_body)
    assert theirs.query_values() == mine.query_values()
    assert {name: theirs.headers[name] for name in headers} == dict(mine.headers)
    here.seen.clear()


LINES = strategies.sampled_from(
    [b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST /a?b HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
     b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: x\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"hello", b"5\r\nhello\r\n",
     b"0\r\n\r\n", b"HTTP/1.1", b"\n", b"\r", b" ", b":", b"\0", b"GET http://a/b HTTP/1.0\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n"]
)  # fmt: skip


@hypothesis.given(
    pieces=strategies.lists(
        strategies.lists(strategies.one_of(LINES, strategies.binary(max_size=40)), max_size=8).map(b"".join), max_size=4
    )
)
@hypothesis.settings(deadline=None, max_examples=250, suppress_health_check=[hypothesis.HealthCheck.too_slow])
def test_no_bytes_break_the_server(here: Here, pieces: list[bytes], caplog_records: list[logging.LogRecord]) -> None:
    """Whatever comes: no error escapes, and the next client is served."""

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(5):
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        answer = await here.client.request("GET", f"http://127.0.0.1:{here.port}/", timeout=5)
        assert await answer.read(10) == b""

    here.loop.run_until_complete(send())
    assert not caplog_records, caplog_records[0].getMessage()
    here.seen.clear()


ANSWERS = strategies.sampled_from(
    [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 500\r\n",
     b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: Upgrade\r\nUpgrade: x\r\n",
     b"\r\n", b"hello",
     b"5\r\nhello\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"\n", b"\0", b"ffffffffffffffffff\r\n"]
)  # fmt: skip


@hypothesis.given(
    data=strategies.lists(strategies.one_of(ANSWERS, strategies.binary(max_size=40)), max_size=8).map(b"".join),
    method=strategies.sampled_from(["GET", "HEAD", "POST"]),
)
@hypothesis.settings(deadline=None, max_examples=200, suppress_health_check=[hypothesis.HealthCheck.too_slow])
def test_no_answer_breaks_the_client(here: Here, data: bytes, method: str) -> None:
    """Whatever a server says: an answer, or ConnectError."""

    async def ask() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(data)
                await writer.drain()
            writer.close()

        one = await asyncio.start_server(answer, "127.0.0.1", 0)
        http = client.HttpClient()
        with contextlib.suppress(client.ConnectError):
            url = f"http://127.0.0.1:{one.sockets[0].getsockname()[1]}/"
            response = await http.request(method, url, timeout=5)
            assert 100 < response.status <= 0xFFFF
            await response.read(1 << 20)
        await http.close()
        one.close()
        await one.wait_closed()

    here.loop.run_until_complete(ask())


@pytest.fixture(scope="module")
def caplog_records() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield records
    logging.getLogger().removeHandler(handler)


@hypothesis.given(strategies.binary(max_size=200))
def test_targets_are_paths_or_bad(target: bytes) -> None:
    try:
        path, query = wire.split_target(target)
    except wire.BadTarget:
        return
    assert path == "*" or path.startswith("/")
    assert query.isascii()


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a%2Fb%20c?x=%2F&y", "/a/b c", "x=%2F&y"),
        (b"/a?b?c", "/a", "b?c"),
        (b"/a#f?g", "/a", ""),
        (b"//x/y", "//x/y", ""),
        (b"http://h", "/", ""),
        (b"HTTPS://h:1/p?q", "/p", "q"),
        (b"http://h?q", "/", "q"),
        (b"*", "*", ""),
        (b"/%", "/%", ""),
        (b"/%zz", "/%zz", ""),
    ],
)
def test_targets(target: bytes, path: str, query: str) -> None:
    assert wire.split_target(target) == (path, query)


@hypothesis.given(
    strategies.lists(
        strategies.one_of(strategies.binary(max_size=50), strategies.integers(0, 600_000).map(bytes)), max_size=20
    )
)
@hypothesis.settings(max_examples=50)
def test_blocks_are_the_same_bytes_in_bounded_parts(pieces: list[bytes]) -> None:
    blocks = list(wire.blocks(pieces))
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) <= wire.SLICE_BYTES for block in blocks)
    assert len(blocks) <= 2 * sum(map(len, pieces)) // wire.BLOCK_BYTES + 2


@hypothesis.given(
    strategies.lists(strategies.tuples(strategies.text(max_size=10), strategies.text(max_size=10)), max_size=4)
)
def test_no_header_field_can_add_a_line(headers: list[tuple[str, str]]) -> None:
    try:
        head = wire.encode_head("HTTP/1.1 200 OK\r\n", headers)
    except wire.BadField:
        return
    assert head.count(b"\r\n") == len(headers) + 2
    assert head.count(b"\n") == len(headers) + 2


@hypothesis.given(strategies.text())
def test_urls_are_parsed_or_a_value_error(url: str) -> None:
    try:
        _, target = origin.parse_url(url)
    except ValueError:
        return
    assert target.isascii()
    assert " " not in target


def test_every_limit_has_a_default_that_ends() -> None:
    limits = connection.Limits()
    assert min(limits.head_seconds, limits.idle_seconds, limits.stall_seconds) > 0
