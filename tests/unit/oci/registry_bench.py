"""A distribution registry on loopback for the tests of pulls and pushes, with faults on request, and a client of it."""

import asyncio
import base64
import gzip
import json
import pathlib
import urllib.parse
from collections.abc import Awaitable, Callable

from pinnace.engine import carrier
from pinnace.kit import clock
from pinnace.oci import configuration, images, pull, push, registries
from pinnace.testing import images as archives
from pinnace.web import messages, server

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
        self.uploads: dict[str, bytearray] = {}
        self.pushed: list[str] = []
        """Blobs that came, mounted ones as `mount:<digest>`."""
        self.scopes: list[list[str]] = []

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
        if request.method in ("POST", "PATCH", "PUT") or "/uploads/" in path:
            return await self._upload(request, path)
        if path in self.manifests:
            kind, data = self.manifests[path]
            return messages.Response(200, [("Content-Type", kind)], data)
        digest = path.partition("/blobs/")[2]
        if digest in self.blobs:
            return self._blob(request, self.blobs[digest])
        return messages.Response(404, body=b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')

    async def _upload(self, request: messages.Request, path: str) -> messages.Answer:
        query = dict(urllib.parse.parse_qsl(request.query))
        data = await request.body.read(1 << 30)
        if "/manifests/" in path:
            self._manifest(path.replace("/manifests/", ":"), request.headers.get("content-type", ""), data)
            return messages.Response(201, [("Docker-Content-Digest", archives.digest(data))])
        if "mount" in query and query["mount"] in self.blobs:
            self.pushed.append("mount:" + query["mount"])
            return messages.Response(201)
        if request.method == "POST":
            self.uploads[str(len(self.uploads))] = bytearray()
            return messages.Response(202, [("Location", f"/v2/{path}{len(self.uploads) - 1}?state=x")])
        name = path.rpartition("/")[2]
        if request.method == "GET":
            have = len(self.uploads[name])
            return messages.Response(204, [("Range", f"0-{have - 1}")] if have else [])
        if request.method == "PATCH":
            start = int(request.headers.get("content-range", "").partition("-")[0])
            assert start == len(self.uploads[name])
            if self.cut_after is not None:
                # Half of it arrived before the trouble.
                self.uploads[name] += data[: self.cut_after]
                self.cut_after = None
                return messages.Response(503)
            self.uploads[name] += data
            return messages.Response(
                202, [("Location", f"/v2/{path}?state=y"), ("Range", f"0-{len(self.uploads[name]) - 1}")]
            )
        self.uploads[name] += data
        whole = bytes(self.uploads.pop(name))
        if archives.digest(whole) != query["digest"]:
            return messages.Response(400, body=b'{"errors": [{"code": "DIGEST_INVALID"}]}')
        self.blobs[query["digest"]] = whole
        self.pushed.append(query["digest"])
        return messages.Response(201)

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
        self.scopes.append([value for key, value in urllib.parse.parse_qsl(request.query) if key == "scope"])
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
