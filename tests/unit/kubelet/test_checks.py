"""HTTP checks against real little servers, and what is said of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pinnace.kit import clock
from pinnace.kubelet.pod import checks
from pinnace.testing import fake_engine
from pinnace.web import client, tls


@contextlib.asynccontextmanager
async def answering(text: bytes, seen: list[bytes] | None = None) -> AsyncIterator[int]:
    """A server that gives this one answer; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(4096)
        if seen is not None:
            seen.append(first)
        writer.write(text)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", checks.Outcome(True)),
        (b"HTTP/1.0 200\nA: b\n\nok", checks.Outcome(True)),
        (b"HTTP/1.1 404 No\r\n\r\n", checks.Outcome(False, "HTTP probe failed with statuscode: 404")),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.9/\r\nContent-Length: 4\r\n\r\naway",
            checks.Outcome(True, "Probe terminated redirects, Response body: away", is_warning=True),
        ),
    ],
    ids=["good", "bare line feeds", "bad", "redirect to another host"],
)
def test_outcomes_of_an_http_probe(answer: bytes, expected: checks.Outcome) -> None:
    async def main() -> None:
        http = client.HttpClient()
        checker = checks.Checker(fake_engine.FakeEngine(fake_engine.FakeHost(clock.SystemClock())), http)
        async with answering(answer) as port:
            target = checks.Target({"name": "c"}, "id", "127.0.0.1")
            assert await checker.check({"httpGet": {"path": "/", "port": port}}, target, 5.0) == expected
        await http.close()

    asyncio.run(main())


def test_a_hook_that_names_https_reaches_a_server_without_tls_and_keeps_its_credentials() -> None:
    async def main() -> None:
        http = client.HttpClient(context=tls.client_context(verify=False))
        checker = checks.Checker(fake_engine.FakeEngine(fake_engine.FakeHost(clock.SystemClock())), http)
        seen: list[bytes] = []
        async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", seen) as port:
            target = checks.Target({"name": "c"}, "id", "127.0.0.1")
            secret = [{"name": "Authorization", "value": "Bearer x"}]
            action = {"path": "/done", "port": port, "scheme": "HTTPS", "httpHeaders": secret}
            assert await checker.get_http(action, target, 5.0) == ""
            assert seen[-1].startswith(b"GET /done HTTP/1.1")
            assert b"Bearer" not in seen[-1]
        assert "connection refused" in await checker.get_http(action, target, 5.0)
        await http.close()

    asyncio.run(main())
