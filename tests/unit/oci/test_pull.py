"""Pulling over HTTP from a registry on loopback: every way to log in, indexes, broken connections, lies, mirrors.

Unpacking sets owners, so these tests need root; without it they are skipped.
"""

import asyncio
import base64
import gzip
import os
import pathlib

import pytest
from tests.unit.oci import registry_bench

from pinnace.oci import configuration, images, pull, registries
from pinnace.testing import images as archives

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")

BASE = archives.layer({"etc/base": archives.File(os.urandom(50_000))})
TOP = archives.layer({"etc/top": archives.File(b"top"), "etc/.wh.gone": archives.File()})


@pytest.mark.parametrize("index", [False, True])
def test_pulls_and_unpacks(tmp_path: pathlib.Path, index: bool) -> None:
    """By tag, also through an index; the image is found by name, digest and id; its layers are on disk, its blobs kept."""

    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
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

    registry_bench.run(tmp_path, test)


def test_layers_are_shared(tmp_path: pathlib.Path) -> None:
    """Two images at once with one layer in common fetch it once."""

    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        registry.add("a/b:1", [BASE])
        registry.add("a/b:2", [BASE, TOP])
        await asyncio.gather(client.pull(f"{host}/a/b:1"), client.pull(f"{host}/a/b:2"))
        base = archives.digest(gzip.compress(BASE, 1, mtime=0))
        assert sum(base in path for path in registry.requests) == 1

    registry_bench.run(tmp_path, test)


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_logs_in(tmp_path: pathlib.Path, scheme: str) -> None:
    """With what the caller brings; a wrong password is a permanent error."""

    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        registry.add("a/b:1", [TOP])
        basic = "Basic " + base64.b64encode(b"user:secret").decode()
        registry.authorization = (scheme, basic if scheme == "basic" else "Bearer T")
        with pytest.raises(pull.PullError) as caught:
            await client.pull(f"{host}/a/b:1", registries.Login("user", "wrong"))
        assert caught.value.is_permanent
        await client.pull(f"{host}/a/b:1", registries.Login("user", "secret"))

    registry_bench.run(tmp_path, test)


def test_resumes_where_the_connection_broke(tmp_path: pathlib.Path) -> None:
    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        registry.add("a/b:1", [BASE])
        registry.cut_after = 20_000
        await client.pull(f"{host}/a/b:1")
        assert len(registry.ranges) == 1
        assert int(registry.ranges[0].removeprefix("bytes=").rstrip("-")) > 0

    registry_bench.run(tmp_path, test)


def test_tries_again_when_the_registry_is_busy(tmp_path: pathlib.Path) -> None:
    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        registry.add("a/b:1", [TOP])
        registry.failures = 2
        await client.pull(f"{host}/a/b:1")

    registry_bench.run(tmp_path, test)


def test_missing_images_are_permanent_errors(tmp_path: pathlib.Path) -> None:
    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        with pytest.raises(pull.PullError, match="not found: manifest unknown") as caught:
            await client.pull(f"{host}/a/b:nosuch")
        assert caught.value.is_permanent
        with pytest.raises(pull.PullError, match="invalid reference format"):
            await client.pull("A/../b")

    registry_bench.run(tmp_path, test)


@pytest.mark.parametrize("lie", ["layer", "configuration", "diff_id", "size"])
def test_lies_are_found(tmp_path: pathlib.Path, lie: str) -> None:
    """Content that is not what its digest says never becomes an image, nor a layer."""

    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
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

    registry_bench.run(tmp_path, test)


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

    async def test(registry: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        registry.add("mirror/nginx:1", [TOP])
        steps = await client.pull("nginx:1")
        assert steps[-1].item == "docker.io/library/nginx:1"
        assert client.store.find("nginx:1")

    registry_bench.run(tmp_path, test, settings)


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
