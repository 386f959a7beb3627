"""The HTTP client against our own server and against scripted ones, over TCP, TLS, UNIX sockets and proxies."""

import asyncio
import contextlib
import datetime
import ipaddress
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pinnace.web import client, connection, duplex, messages, origin, server, tls

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Awaitable[None]], None]
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    """A server of bytes; its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    one = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{one.sockets[0].getsockname()[1]}"
    finally:
        one.close()


@contextlib.asynccontextmanager
async def opened(**options: object) -> AsyncIterator[client.HttpClient]:
    one = client.HttpClient(**options)  # type: ignore[arg-type]
    try:
        yield one
    finally:
        await one.close()


@contextlib.asynccontextmanager
async def serving(handler: messages.Handler, **options: object) -> AsyncIterator[str]:
    one = server.HttpServer(handler)
    port = await one.start("127.0.0.1", 0, **options)  # type: ignore[arg-type]
    try:
        yield f"{'https' if options else 'http'}://127.0.0.1:{port}"
    finally:
        await one.stop(grace=0.2)


async def peers_address(request: messages.Request) -> messages.Answer:
    return messages.Response(200, (("X-Echo", request.headers.get("x-echo", "")),), request.peer.address.encode())


async def echo(request: messages.Request) -> messages.Answer:
    if request.path == "/stream":
        return messages.Response(200, (), request.body.chunks())
    return messages.Response(200, (), await request.body.read(64 << 20))


@LOOPS
def test_connections_are_kept_and_shared_only_after_their_answer_was_read(run: Run) -> None:
    async def main() -> None:
        async with serving(peers_address) as url, opened() as http:
            first = await (await http.request("GET", url)).read(100)
            head = await http.request("HEAD", url)
            assert await head.read(100) == b""
            unread = await http.request("GET", url)
            other = await (await http.request("POST", url, body=b"x")).read(100)
            assert await unread.read(100) == first
            assert other != first

    run(main())


@LOOPS
def test_a_burst_shares_few_connections(run: Run) -> None:
    """Requests wait for connections that become free rather than make one each, and all are answered."""

    async def main() -> None:
        settings = client.Settings(max_connecting=2)
        async with serving(peers_address) as url, opened(settings=settings) as http:

            async def one() -> bytes:
                return await (await http.request("GET", url)).read(100)

            addresses = await asyncio.gather(*(one() for _ in range(60)))
            assert len(set(addresses)) <= 10
            # Connections that are in use for long hold nobody up.
            unread = [await http.request("GET", url) for _ in range(5)]
            assert len({await each.read(100) for each in unread}) == 5

    run(main())


@LOOPS
def test_bodies_of_every_kind_go_both_ways(run: Run) -> None:
    data = bytes(range(256)) * 40_000

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    async def main() -> None:
        async with serving(echo) as url, opened() as http:
            for path in ("/", "/stream"):
                for headers in ((), (("Content-Length", str(len(data))),)):
                    answer = await http.request("POST", url + path, body=parts(), headers=headers)
                    assert b"".join([piece async for piece in answer.chunks()]) == data
                answer = await http.request("POST", url + path, body=data)
                assert await answer.read(len(data)) == data
            answer = await http.request("POST", url, body=data)
            with pytest.raises(messages.BodyTooLarge):
                await answer.read(1000)

    run(main())


@LOOPS
def test_leaving_an_iteration_early_closes_the_connection(run: Run) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[messages.Chunk]:
            try:
                while True:
                    yield b"tick"
                    await asyncio.sleep(0.001)
            finally:
                closed.set()

        async def handler(request: messages.Request) -> messages.Answer:
            return messages.Response(200, (), endless())

        async def consume(http: client.HttpClient, url: str, seen: asyncio.Event) -> None:
            answer = await http.request("GET", url)
            async for _ in answer.chunks():
                seen.set()

        async with serving(handler) as url, opened() as http:
            seen = asyncio.Event()
            task = asyncio.create_task(consume(http, url, seen))
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(closed.wait(), 5)

    run(main())


@LOOPS
def test_a_stale_connection_is_retried_for_idempotent_requests_alone(run: Run) -> None:
    """The server answers once per connection and cuts it when the next request arrives."""

    async def main() -> None:
        connections = 0

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % connections)
            await reader.readuntil(b"\r\n\r\n")

        async with scripted(script) as url, opened() as http:
            assert await (await http.request("GET", url)).read(9) == b"1"
            assert await (await http.request("GET", url)).read(9) == b"2"
            with pytest.raises(client.ConnectError, match=r"127\.0\.0\.1:\d+: the server closed"):
                await http.request("POST", url)
            assert connections == 2

    run(main())


@LOOPS
def test_errors_name_the_address_and_the_reason(run: Run) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")

    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()

    async def endless_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000)
        await reader.read()

    async def main() -> None:
        async with opened() as http:
            with pytest.raises(client.ConnectError, match=r"http://127\.0\.0\.1:1: .*([Rr]efused|Connect call failed)"):
                await http.request("GET", "http://127.0.0.1:1/")
            with pytest.raises(client.ConnectError, match=r"unix:///nowhere/x\.sock: No such file"):
                await http.request("GET", "unix:///nowhere/x.sock:/")
            async with scripted(silent) as url:
                with pytest.raises(client.TimedOut, match=r"no answer within 0\.05 s"):
                    await http.request("GET", url, timeout=0.05)
            async with scripted(nonsense) as url:
                with pytest.raises(client.ConnectError, match="not an HTTP answer"):
                    await http.request("GET", url)
            async with scripted(short) as url:
                answer = await http.request("GET", url)
                with pytest.raises(client.ConnectError, match="closed before the answer's end"):
                    await answer.read(100)
            async with scripted(endless_head) as url:
                with pytest.raises(client.ConnectError, match="larger than"):
                    await http.request("GET", url)

    run(main())


@LOOPS
def test_an_answer_without_length_ends_with_its_connection(run: Run) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.0 200 OK\r\nA: 1\r\na: 2\r\n\r\nall of it")
        await writer.drain()

    async def main() -> None:
        async with scripted(script) as url, opened() as http:
            answer = await http.request("GET", url)
            assert answer.headers == {"a": "1, 2"}
            assert await answer.read(100) == b"all of it"

    run(main())


@LOOPS
def test_header_lines_may_end_with_a_bare_line_feed_and_a_status_may_have_no_reason(run: Run) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 302\nLocation: /x\n\nmoved")
        await writer.drain()

    async def main() -> None:
        async with scripted(script) as url, opened() as http:
            answer = await http.request("GET", url)
            assert (answer.status, answer.headers, await answer.read(100)) == (302, {"location": "/x"}, b"moved")

    run(main())


@LOOPS
def test_redirects_are_followed_on_request_and_keep_credentials_at_home(run: Run) -> None:
    async def main() -> None:
        async def away(request: messages.Request) -> messages.Answer:
            return messages.Response(200, (), request.headers.get("authorization", "none").encode())

        async with serving(away) as other:

            async def home(request: messages.Request) -> messages.Answer:
                target = {"/a": "/b?x", "/b": f"{other}/c"}[request.path]
                return messages.Response(307, (("Location", target),), b"moved")

            async with serving(home) as url, opened() as http:
                headers = [("Authorization", "secret")]
                assert (await http.request("GET", f"{url}/a", headers=headers)).status == 307
                answer = await http.request("GET", f"{url}/a", headers=headers, redirects=2)
                assert await answer.read(100) == b"none"

    run(main())


@LOOPS
def test_unix_sockets(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def handler(request: messages.Request) -> messages.Answer:
            return messages.Response(200, (), f"{request.path}?{request.query} {request.peer}".encode())

        abandoned = server.HttpServer(handler)
        await abandoned.start_unix(tmp_path / "x.sock")
        await abandoned.stop(grace=0)
        one = server.HttpServer(handler)
        await one.start_unix(tmp_path / "x.sock")
        async with opened() as http:
            answer = await http.request("GET", f"unix://{tmp_path}/x.sock:/a/b?c=d")
            assert await answer.read(1000) == f"/a/b?c=d {messages.Peer()}".encode()
        await one.stop(grace=1)

    run(main())


@LOOPS
def test_upgrade_and_its_refusal(run: Run) -> None:
    async def main() -> None:
        async def shout(raw: messages.Duplex) -> None:
            while data := await raw.read():
                await raw.write(data.upper())

        async def handler(request: messages.Request) -> messages.Answer:
            if request.path == "/no":
                return messages.Response(403, (), b"because")
            return messages.Upgrade((("Upgrade", "shout"), ("X", "y")), shout)

        async with serving(handler) as url, opened() as http:
            status, _, raw, body = await http.upgrade("POST", f"{url}/no", headers=[("Upgrade", "shout")])
            assert (status, raw, body) == (403, None, b"because")
            status, headers, raw, _ = await http.upgrade("POST", url, headers=[("Upgrade", "shout")])
            assert (status, headers["x"]) == (101, "y")
            assert raw is not None
            await raw.write(b"hello")
            assert await raw.read() == b"HELLO"
            await raw.end()
            assert await raw.read() == b""
            await raw.close()
            with pytest.raises(messages.Disconnected):
                await raw.write(b"more")

    run(main())


@LOOPS
def test_an_upgrade_can_be_relayed_with_its_half_closes(run: Run) -> None:
    """What the API server does between kubectl and a kubelet."""

    async def main() -> None:
        async def shout(raw: messages.Duplex) -> None:
            while data := await raw.read():
                await raw.write(data.upper())
            await raw.write(b"<end>")

        async def inner(request: messages.Request) -> messages.Answer:
            return messages.Upgrade((("Upgrade", "shout"),), shout)

        async with serving(inner) as inner_url, opened() as to_inner:

            async def outer(request: messages.Request) -> messages.Answer:
                _, headers, there, _ = await to_inner.upgrade("GET", inner_url, headers=[("Upgrade", "shout")])
                assert there is not None
                return messages.Upgrade((("Upgrade", headers["upgrade"]),), lambda here: duplex.relay(here, there))

            async with serving(outer) as url, opened() as http:
                _, _, raw, _ = await http.upgrade("GET", url, headers=[("Upgrade", "shout")])
                assert raw is not None
                await raw.write(b"hello")
                assert await raw.read() == b"HELLO"
                await raw.end()
                assert await raw.read() == b"<end>"
                assert await raw.read() == b""
                await raw.close()

    run(main())


# ---------------------------------------------------------------- TLS


def _certificate(directory: Path, name: str, issuer: str | None, subject: list[x509.NameAttribute[str]]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject_name = x509.Name(subject)
    issuer_name, issuer_key = subject_name, key
    if issuer is not None:
        issuer_name = x509.load_pem_x509_certificate((directory / f"{issuer}.crt").read_bytes()).subject
        loaded = serialization.load_pem_private_key((directory / f"{issuer}.key").read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        issuer_key = loaded
    now = datetime.datetime.now(datetime.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(subject_name)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(addresses, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    (directory / f"{name}.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{name}.key").write_bytes(private)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    oid = x509.NameOID
    for authority in ("ca", "foreign"):
        _certificate(directory, authority, None, [x509.NameAttribute(oid.COMMON_NAME, authority)])
    _certificate(directory, "server", "ca", [x509.NameAttribute(oid.COMMON_NAME, "server")])
    names = [
        (oid.ORGANIZATION_NAME, "system:nodes"),
        (oid.ORGANIZATION_NAME, "ops"),
        (oid.COMMON_NAME, "system:node:é"),
    ]
    for name, authority in (("client", "ca"), ("stranger", "foreign")):
        _certificate(directory, name, authority, [x509.NameAttribute(kind, value) for kind, value in names])
    two_faced = [x509.NameAttribute(oid.COMMON_NAME, value) for value in ("system:node:n", "admin")]
    _certificate(directory, "two-faced", "ca", two_faced)
    return directory


@LOOPS
def test_tls_shows_the_clients_verified_names_and_refuses_strangers(run: Run, pki: Path) -> None:
    context = tls.server_context(pki / "server.crt", pki / "server.key", client_authority=pki / "ca.crt")

    async def handler(request: messages.Request) -> messages.Answer:
        peer = request.peer
        shown = "ambiguous" if peer.is_ambiguous else repr((peer.common_name, peer.organizations))
        return messages.Response(200, (), shown.encode())

    async def ask(url: str, **options: object) -> bytes:
        async with opened(context=tls.client_context(**options)) as http:  # type: ignore[arg-type]
            return await (await http.request("GET", url, timeout=5)).read(1000)

    async def main() -> None:
        async with serving(handler, ssl_context=context) as url:
            assert await ask(url, authority=pki / "ca.crt") == b"('', ())"
            known = {"certificate": pki / "client.crt", "key": pki / "client.key"}
            names = await ask(url, authority_data=(pki / "ca.crt").read_text(), **known)
            assert names.decode() == "('system:node:é', ('system:nodes', 'ops'))"
            assert (await ask(url, verify=False)) == b"('', ())"
            two_faced = {"certificate": pki / "two-faced.crt", "key": pki / "two-faced.key"}
            assert (await ask(url, verify=False, **two_faced)) == b"ambiguous"
            with pytest.raises(client.ConnectError, match="certificate is not trusted"):
                await ask(url, authority=pki / "foreign.crt")
            with pytest.raises(client.ConnectError):
                await ask(url, authority=pki / "ca.crt", certificate=pki / "stranger.crt", key=pki / "stranger.key")

    run(main())


@LOOPS
def test_tls_carries_large_bodies_streams_and_upgrades(run: Run, pki: Path) -> None:
    context = tls.server_context(pki / "server.crt", pki / "server.key")
    data = bytes(range(256)) * 20_000

    async def back(raw: messages.Duplex) -> None:
        while piece := await raw.read():
            await raw.write(piece)

    async def handler(request: messages.Request) -> messages.Answer:
        if "upgrade" in request.headers:
            return messages.Upgrade((("Upgrade", "x"),), back)
        return await echo(request)

    async def main() -> None:
        async with (
            serving(handler, ssl_context=context) as url,
            opened(context=tls.client_context(authority=pki / "ca.crt")) as http,
        ):
            for path in ("/", "/stream"):
                assert await (await http.request("POST", url + path, body=data)).read(len(data)) == data
            _, _, raw, _ = await http.upgrade("GET", url, headers=[("Upgrade", "x")])
            assert raw is not None
            writer = asyncio.create_task(raw.write(data))
            received = b""
            while len(received) < len(data):
                received += await raw.read()
            assert received == data
            await writer
            await raw.close()

    run(main())


@LOOPS
def test_proxies_from_the_environment(run: Run, pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https goes through CONNECT, http in absolute form; credentials reach the proxy alone."""
    context = tls.server_context(pki / "server.crt", pki / "server.key")
    seen: list[str] = []

    async def handler(request: messages.Request) -> messages.Answer:
        return messages.Response(200, (), request.headers.get("proxy-authorization", "clean").encode())

    async def main() -> None:
        async with serving(handler, ssl_context=context) as url:
            port = int(url.rpartition(":")[2])

            async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                seen.append(head)
                if not head.startswith("CONNECT"):
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
                    await writer.drain()
                    return
                up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

                async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                    while data := await source.read(65536):
                        sink.write(data)
                    sink.close()

                await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

            async with scripted(proxy) as proxy_url:
                monkeypatch.setenv("HTTPS_PROXY", proxy_url.replace("//", "//me:pass%21@"))
                monkeypatch.setenv("http_proxy", proxy_url)
                monkeypatch.delenv("NO_PROXY", raising=False)
                settings = client.Settings(use_environment=True)
                trust = tls.client_context(authority=pki / "ca.crt")
                trust.check_hostname = False
                async with opened(context=trust, settings=settings) as http:
                    answer = await http.request("GET", "https://registry.example/v2/", timeout=5)
                    assert await answer.read(100) == b"clean"
                    answer = await http.request("GET", "http://registry.example/v2/?a", timeout=5)
                    assert await answer.read(100) == b"proxy"

    run(main())
    assert seen[0].startswith("CONNECT registry.example:443 HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcyE=" in seen[0]
    assert seen[1].startswith("GET http://registry.example/v2/?a HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("url", "no_proxy", "exempt"),
    [
        ("http://localhost/", "", True),
        ("http://127.0.0.1/", "", True),
        ("http://a.example/", "*", True),
        ("http://a.example/", "example", True),
        ("http://a.example/", ".example", True),
        ("http://a.example/", "*.example", True),
        ("http://aexample/", "example", False),
        ("http://a.example:81/", "a.example:80", False),
        ("http://a.example:80/", " b , a.example:80", True),
        ("http://10.1.2.3/", "10.0.0.0/8", True),
        ("http://11.1.2.3/", "10.0.0.0/8,nonsense/33", False),
        ("http://[fd00::1]/", "fd00::/8", True),
        ("http://[fd00::1]/", "fd00::1", True),
    ],
)
def test_no_proxy(url: str, no_proxy: str, exempt: bool) -> None:
    assert origin.is_exempt(origin.parse_url(url)[0], no_proxy) is exempt


def test_urls_become_origins_and_targets() -> None:
    assert origin.parse_url("https://Host.Example") == (origin.Origin("https", "host.example", 443), "/")
    assert origin.parse_url("http://[::1]:80/a b?é=%20#f") == (origin.Origin("http", "::1", 80), "/a%20b?%C3%A9=%20")
    assert origin.Origin("http", "::1", 81).authority == "[::1]:81"
    for bad in ("ftp://x/", "nothing", "http://", "http://x:99999/"):
        with pytest.raises(ValueError):
            origin.parse_url(bad)


def test_the_client_imports_nothing_heavy() -> None:
    """What starts quickly must not pay for TLS stores, proxies or asyncio extensions it may never use."""

    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys, pinnace.web.client; print(sorted(set(sys.modules) & {'cryptography','uvloop','urllib.request','numpy','wsproto'}))",
            stdout=asyncio.subprocess.PIPE,
        )
        return (await process.communicate())[0]

    assert asyncio.run(main()).strip() == b"[]"


def test_limits_are_generous_enough_for_kubernetes_clients() -> None:
    """Clients keep idle connections for 90 s (Go): the server must not close first."""
    assert connection.Limits().idle_seconds > 90
