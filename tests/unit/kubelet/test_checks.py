"""HTTP checks against real little servers, and what is said of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pinnace.kit import clock
from pinnace.kubelet.pod import checks, http_request
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
        (
            b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nhere",
            checks.Outcome(True, "Probe terminated redirects, Response body: here", is_warning=True),
        ),
        (
            b"HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n",
            checks.Outcome(True, "Probe terminated redirects, Response body: ", is_warning=True),
        ),
    ],
    ids=["good", "bare line feeds", "bad", "redirect to another host", "redirect to nowhere", "other 3xx"],
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


def test_endless_redirects_and_broken_answers_fail_a_probe() -> None:
    async def main() -> None:
        http = client.HttpClient(context=tls.client_context(verify=False))
        checker = checks.Checker(fake_engine.FakeEngine(fake_engine.FakeHost(clock.SystemClock())), http)
        target = checks.Target({"name": "c"}, "id", "127.0.0.1")

        async def outcome(
            answer: bytes, seen: list[bytes] | None = None, **action: object
        ) -> tuple[checks.Outcome, int]:
            async with answering(answer, seen) as port:
                return await checker.check({"httpGet": {"path": "/a", "port": port, **action}}, target, 5.0), port

        seen: list[bytes] = []
        endless, _ = await outcome(b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n", seen)
        assert endless == checks.Outcome(False, 'Get "/loop": stopped after 10 redirects')
        assert len(seen) == 10
        silent, port = await outcome(b"")
        assert silent == checks.Outcome(False, f'Get "http://127.0.0.1:{port}/a": EOF')
        gone = await checker.check({"httpGet": {"path": "/a", "port": port}}, target, 5.0)
        refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        assert gone == checks.Outcome(False, f'Get "http://127.0.0.1:{port}/a": {refused}')
        plain, port = await outcome(b"HTTP/1.1 200 OK\r\n\r\n", scheme="HTTPS")
        told = "http: server gave HTTP response to HTTPS client"
        assert plain == checks.Outcome(False, f'Get "https://127.0.0.1:{port}/a": {told}')
        strange, _ = await outcome(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\nContent-Length: 0\r\n\r\n"
        )
        assert strange.passed is False
        assert "failed to parse Location header" in strange.message
        await http.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("healthz", "/healthz"),
        ("/a b", "/a%20b"),
        ("/a%20b?x=1&y=%2F", "/a%20b?x=1&y=%2F"),
        ("/ü?q=ü x", "/%C3%BC?q=%C3%BC%20x"),
        ("/a(b)", "/a(b)"),
        ("/a(b) c", "/a%28b%29%20c"),
        ("/a#part", "/a"),
        ("/100%?x", "/100%25%3Fx"),
        ("/ HTTP/1.1\r\nX-Injected: 1\r\n\r\n", "/%20HTTP/1.1%0D%0AX-Injected:%201%0D%0A%0D%0A"),
        ("//192.0.2.1/secret", "/secret"),
        ("http://192.0.2.1:1/secret", "/secret"),
        ("http://[broken/x", "/http://%5Bbroken/x"),
    ],
)
def test_a_path_leads_to_the_pod_whatever_is_in_it(path: str, expected: str) -> None:
    assert http_request.url("http", "10.42.0.5", 80, path) == f"http://10.42.0.5:80{expected}"


def test_addresses_of_the_scheme_s_own_port_are_told_with_it() -> None:
    error = ConnectionRefusedError(111, "Connection refused")
    assert http_request.get_failed("http://10.42.0.5/x", error).endswith(
        "dial tcp 10.42.0.5:80: connect: connection refused"
    )
    assert http_request.url("http", "fd00::1", 80, "/") == "http://[fd00::1]:80/"
