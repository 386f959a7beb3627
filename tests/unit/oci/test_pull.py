"""Pulling over HTTP from a registry on loopback: every way to log in, indexes, broken connections, lies, mirrors.

Unpacking sets owners, so these tests need root; without it they are skipped.
"""

import asyncio
import base64
import gzip
import json
import os
import pathlib
import urllib.parse
from collections.abc import Awaitable, Callable

import pytest

from pinnace.engine import carrier
from pinnace.kit import clock
from pinnace.oci import configuration, images, pull, push, registries
from pinnace.testing import images as archives
from pinnace.web import messages, server

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")

OTHER_ARCHITECTURE = "s390x" if configuration.local_architecture() != "s390x" else "amd64"


class Registry:
    """The distribution API, as far as pulls use it, with faults on request."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.cut_after: int | None = None
        """Break the connection once after so many bytes of a layer."""
        self.failures = 0
        """So many answers of 503 first."""
        self.authorization: tuple[str, str] | None = None
        """(scheme, what a client must send)."""
        self.port = 0

    def add(self, name: str, layers: list[bytes], *, index: bool = False) -> str:
        config = archives.configuration(layers, Cmd=["x"])
        compressed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        for blob in (config, *compressed):
            self.blobs[archives.digest(blob)] = blob
        manifest = archives.manifest_of(config, compressed)
        self._manifest(name, configuration.MANIFEST_TYPES[0], manifest)
        if index:
            entries = [
                {
                    "digest": "sha256:" + "0" * 64,
                    "size": 1,
                    "platform": {"os": "linux", "architecture": OTHER_ARCHITECTURE},
                },
                {
                    "digest": archives.digest(manifest),
                    "size": len(manifest),
                    "platform": {"os": "linux", "architecture": configuration.local_architecture()},
                },
            ]
            document = {"schemaVersion": 2, "mediaType": configuration.INDEX_TYPES[0], "manifests": entries}
            self._manifest(name, configuration.INDEX_TYPES[0], json.dumps(document).encode())
        return archives.digest(config)

    def _manifest(self, name: str, kind: str, data: bytes) -> None:
        repository, _, tag = name.partition(":")
        for version in (tag, archives.digest(data)):
            self.manifests[f"{repository}/manifests/{version}"] = (kind, data)

    async def handle(self, request: messages.Request) -> messages.Answer:
        self.requests.append(request.path)
        if request.path == "/token":
            return self._token(request)
        if self.failures:
            self.failures -= 1
            return messages.Response(503)
        if self.authorization and request.headers.get("authorization") != self.authorization[1]:
            return messages.Response(401, [("WWW-Authenticate", self._challenge())])
        path = request.path.removeprefix("/v2/")
        if path in self.manifests:
            kind, data = self.manifests[path]
            return messages.Response(200, [("Content-Type", kind)], data)
        digest = path.partition("/blobs/")[2]
        if digest in self.blobs:
            return self._blob(request, self.blobs[digest])
        return messages.Response(404, body=b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')

    def _blob(self, request: messages.Request, data: bytes) -> messages.Answer:
        status, offset = 200, 0
        if wanted := request.headers.get("range"):
            self.ranges.append(wanted)
            offset = int(wanted.removeprefix("bytes=").rstrip("-"))
            status = 206
        cut, self.cut_after = (self.cut_after, None) if len(data) > 10_000 else (None, self.cut_after)

        async def body():
            for position in range(offset, len(data), 1000):
                if cut is not None and position >= cut:
                    raise ConnectionError("cut on purpose")
                yield data[position : position + 1000]

        return messages.Response(status, [("X-Length", str(len(data)))], body())

    def _challenge(self) -> str:
        assert self.authorization
        if self.authorization[0] == "basic":
            return 'Basic realm="here"'
        return f'Bearer realm="http://127.0.0.1:{self.port}/token",service="test",scope="repository:a/b:pull"'

    def _token(self, request: messages.Request) -> messages.Answer:
        query = dict(urllib.parse.parse_qsl(request.query))
        assert query == {"service": "test", "scope": "repository:a/b:pull"}
        basic = "Basic " + base64.b64encode(b"user:secret").decode()
        if request.headers.get("authorization") != basic:
            return messages.Response(401, body=b'{"errors": [{"message": "who are you"}]}')
        return messages.Response(200, body=b'{"token": "T", "expires_in": 300}')


class Client:
    def __init__(self, folder: pathlib.Path, settings: registries.Registries) -> None:
        self.store = images.ImageStore(folder)
        self.store.open()
        self.folder = folder
        self.carrier = carrier.Carrier()
        self.puller = pull.Puller(self.store, lambda: settings, self.carrier, clock.SystemClock())
        self.pusher = push.Pusher(self.store, lambda: settings, self.carrier, clock.SystemClock())

    async def pull(
        self, name: str, login: registries.Login | None = None, *, by_owner: bool = True
    ) -> list[images.Step]:
        return [step async for step in self.puller.pull(name, login or registries.Login(), by_owner=by_owner)]

    async def push(self, name: str, login: registries.Login | None = None) -> list[images.Step]:
        return [step async for step in self.pusher.push(name, login or registries.Login())]


def run(
    tmp_path: pathlib.Path,
    test: Callable[[Registry, Client, str], Awaitable[None]],
    make_settings: Callable[[int], registries.Registries] = lambda _: registries.Registries(),
) -> None:
    async def main() -> None:
        registry = Registry()
        http = server.HttpServer(registry.handle)
        registry.port = await http.start("127.0.0.1", 0)
        client = Client(tmp_path / "store", make_settings(registry.port))
        try:
            await test(registry, client, f"127.0.0.1:{registry.port}")
        finally:
            await client.carrier.close()
            await http.stop(0)

    asyncio.run(main())


BASE = archives.layer({"etc/base": archives.File(os.urandom(50_000))})
TOP = archives.layer({"etc/top": archives.File(b"top"), "etc/.wh.gone": archives.File()})


@pytest.mark.parametrize("index", [False, True])
def test_pulls_and_unpacks(tmp_path: pathlib.Path, index: bool) -> None:
    """By tag, also through an index; the image is found by name, digest and id; its layers are on disk, its blobs kept."""

    async def test(registry: Registry, client: Client, host: str) -> None:
        identity = registry.add("a/b:1", [BASE, TOP], index=index)
        steps = await client.pull(f"{host}/a/b:1")
        assert (steps[-1].status, steps[-1].item) == ("Pull complete", f"{host}/a/b:1")
        record = client.store.find(f"{host}/a/b:1")
        assert record.id == identity
        assert client.store.find(record.digests[0]).id == identity
        top = client.store.layers.directory(record.parsed.diff_ids[1])
        assert (top / "etc/top").read_bytes() == b"top"
        for blob in registry.blobs:
            assert client.store.content.path(blob).read_bytes() == registry.blobs[blob]
        registry.requests.clear()
        await client.pull(f"{host}/a/b:1")
        layers = record.parsed.diff_ids
        assert len(layers) == 2
        assert sum("/blobs/" in path for path in registry.requests) == 1, "only the configuration is asked for again"
        await client.pull(record.digests[0])

    run(tmp_path, test)


def test_layers_are_shared(tmp_path: pathlib.Path) -> None:
    """Two images at once with one layer in common fetch it once."""

    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("a/b:1", [BASE])
        registry.add("a/b:2", [BASE, TOP])
        await asyncio.gather(client.pull(f"{host}/a/b:1"), client.pull(f"{host}/a/b:2"))
        base = archives.digest(gzip.compress(BASE, 1, mtime=0))
        assert sum(base in path for path in registry.requests) == 1

    run(tmp_path, test)


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_logs_in(tmp_path: pathlib.Path, scheme: str) -> None:
    """With what the caller brings; a wrong password is a permanent error."""

    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("a/b:1", [TOP])
        basic = "Basic " + base64.b64encode(b"user:secret").decode()
        registry.authorization = (scheme, basic if scheme == "basic" else "Bearer T")
        with pytest.raises(pull.PullError) as caught:
            await client.pull(f"{host}/a/b:1", registries.Login("user", "wrong"))
        assert caught.value.is_permanent
        await client.pull(f"{host}/a/b:1", registries.Login("user", "secret"))

    run(tmp_path, test)


def test_resumes_where_the_connection_broke(tmp_path: pathlib.Path) -> None:
    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("a/b:1", [BASE])
        registry.cut_after = 20_000
        await client.pull(f"{host}/a/b:1")
        assert len(registry.ranges) == 1
        assert int(registry.ranges[0].removeprefix("bytes=").rstrip("-")) > 0

    run(tmp_path, test)


def test_tries_again_when_the_registry_is_busy(tmp_path: pathlib.Path) -> None:
    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("a/b:1", [TOP])
        registry.failures = 2
        await client.pull(f"{host}/a/b:1")

    run(tmp_path, test)


def test_missing_images_are_permanent_errors(tmp_path: pathlib.Path) -> None:
    async def test(registry: Registry, client: Client, host: str) -> None:
        with pytest.raises(pull.PullError, match="not found: manifest unknown") as caught:
            await client.pull(f"{host}/a/b:nosuch")
        assert caught.value.is_permanent
        with pytest.raises(pull.PullError, match="invalid reference format"):
            await client.pull("A/../b")

    run(tmp_path, test)


@pytest.mark.parametrize("lie", ["layer", "configuration", "diff_id", "size"])
def test_lies_are_found(tmp_path: pathlib.Path, lie: str) -> None:
    """Content that is not what its digest says never becomes an image, nor a layer."""

    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("a/b:1", [TOP])
        compressed = archives.digest(gzip.compress(TOP, 1, mtime=0))
        if lie == "layer":
            registry.blobs[compressed] = bytes(len(registry.blobs[compressed]))
        elif lie == "size":
            registry.blobs[compressed] += b"more"
        elif lie == "configuration":
            config = archives.digest(archives.configuration([TOP], Cmd=["x"]))
            registry.blobs[config] = b"{}"
        else:
            config = archives.configuration([BASE])
            registry.blobs[archives.digest(config)] = config
            manifest = archives.manifest_of(config, [gzip.compress(TOP, 1, mtime=0)])
            registry.manifests["a/b/manifests/1"] = (configuration.MANIFEST_TYPES[0], manifest)
        with pytest.raises(pull.PullError):
            await client.pull(f"{host}/a/b:1")
        client.store.collect(())
        assert client.store.list() == ()
        assert list((client.folder / "layers").iterdir()) == []

    run(tmp_path, test)


def test_mirrors_are_asked_first(tmp_path: pathlib.Path) -> None:
    """`registries.yaml`: docker.io through a mirror, with the repository rewritten; the image keeps its own name."""

    def settings(port: int) -> registries.Registries:
        text = f"""
mirrors:
  docker.io:
    endpoint: ["http://127.0.0.1:{port}"]
    rewrite: {{"^library/(.*)": "mirror/$1"}}
"""
        return registries.parse_registries(text.encode(), "registries.yaml")

    async def test(registry: Registry, client: Client, host: str) -> None:
        registry.add("mirror/nginx:1", [TOP])
        steps = await client.pull("nginx:1")
        assert steps[-1].item == "docker.io/library/nginx:1"
        assert client.store.find("nginx:1")

    run(tmp_path, test, settings)


def test_who_is_stopped_while_listening_to_a_pull_leaves_nothing_behind() -> None:
    async def main() -> None:
        work = asyncio.create_task(asyncio.sleep(60))
        steps: asyncio.Queue[images.Step] = asyncio.Queue()

        async def listen() -> list[images.Step]:
            return [step async for step in images.told(work, steps)]

        listener = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        listener.cancel()
        work.cancel()
        await asyncio.gather(listener, work, return_exceptions=True)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
