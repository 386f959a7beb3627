"""What was pulled is pushed and saved byte for byte, to registries of every temper."""

import asyncio
import base64
import gzip
import os
import pathlib

import pytest
from tests.unit.oci import registry_bench

from pinnace.kit import clock
from pinnace.oci import (
    configuration,
    content,
    images,
    push,
    references,
    registries,
    registry,
    registry_upload,
    save,
)
from pinnace.testing import images as archives

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")

BASE = archives.layer({"etc/base": archives.File(os.urandom(50_000))})
TOP = archives.layer({"etc/top": archives.File(b"top")})


def blob_of(layer: bytes) -> str:
    return archives.digest(gzip.compress(layer, 1, mtime=0))


@pytest.mark.parametrize("index", [False, True])
def test_pushes_what_it_pulled(tmp_path: pathlib.Path, index: bool) -> None:
    """Under another name: the same manifest, the same blobs, mounted where the registry has them from the other repository."""

    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        there.add("a/b:1", [BASE, TOP], index=index)
        await client.pull(f"{host}/a/b:1")
        client.store.tag(f"{host}/a/b:1", f"{host}/c/d:2")
        lost = there.blobs.pop(blob_of(TOP))
        record = client.store.find(f"{host}/c/d:2")
        steps = await client.push(f"{host}/c/d:2")
        assert record.manifest is not None
        assert steps[-1].item == f"{host}/c/d:2@{record.manifest.digest}"
        assert there.manifests["c/d/manifests/2"] == there.manifests[f"a/b/manifests/{record.manifest.digest}"]
        assert there.blobs[blob_of(TOP)] == lost
        assert blob_of(TOP) in there.pushed
        assert set(there.pushed) - {blob_of(TOP)} <= {f"mount:{blob}" for blob in there.blobs}

    registry_bench.run(tmp_path, test)


def test_what_the_registry_has_is_not_sent(tmp_path: pathlib.Path) -> None:
    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        there.add("a/b:1", [BASE])
        await client.pull(f"{host}/a/b:1")
        client.store.tag(f"{host}/a/b:1", f"{host}/a/b:2")
        await client.push(f"{host}/a/b:2")
        assert there.pushed == []
        assert "a/b/manifests/2" in there.manifests

    registry_bench.run(tmp_path, test)


def test_a_loaded_image_is_pushed_and_pulled_as_the_same(tmp_path: pathlib.Path) -> None:
    archives.docker_archive(tmp_path / "a.tar", "a:1", [BASE, TOP])

    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        async for _ in client.store.load(tmp_path / "a.tar"):
            pass
        client.store.tag("a:1", f"{host}/x:1")
        await client.push(f"{host}/x:1")
        identity = client.store.find("a:1").id
        for name in ("a:1", f"{host}/x:1"):
            client.store.remove(client.store.find(name), [str(references.parse(name))])
        client.store.collect(())
        assert list((client.folder / "blobs").iterdir()) == []
        await client.pull(f"{host}/x:1")
        assert client.store.find(f"{host}/x:1").id == identity

    registry_bench.run(tmp_path, test)


def test_tokens_are_asked_for_what_is_done(tmp_path: pathlib.Path) -> None:
    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        there.add("a/b:1", [TOP])
        await client.pull(f"{host}/a/b:1")
        client.store.tag(f"{host}/a/b:1", f"{host}/c/d:1")
        there.authorization = ("bearer", "Bearer T")
        with pytest.raises(push.PushError, match="gave no token: status 401: who are you"):
            await client.push(f"{host}/c/d:1", registries.Login("user", "wrong"))
        await client.push(f"{host}/c/d:1", registries.Login("user", "secret"))
        assert there.scopes[-1][0] == "repository:c/d:pull,push"

    registry_bench.run(tmp_path, test)


@pytest.mark.parametrize("cut", [None, 3000])
def test_chunks_go_on_behind_what_the_registry_has(tmp_path: pathlib.Path, cut: int | None) -> None:
    data = os.urandom(20_000)
    blob = configuration.Descriptor(archives.digest(data), len(data))

    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        client.store.content.write(data)
        there.cut_after = cut
        (*_, endpoint) = registries.Registries().endpoints(
            references.parse(f"{host}/a/b"), registries.Login(), reach_everywhere=True
        )
        reached: list[int] = []
        speaker = registry.RegistryClient(endpoint, client.carrier, clock.SystemClock(), "pull,push")
        assert await registry_upload.push_blob(
            speaker,
            blob,
            lambda offset: client.store.content.read(blob.digest, offset),
            reached.append,
            chunk=7000,
        )
        assert there.blobs[blob.digest] == data
        assert reached == ([7000, 14000, 20000] if cut is None else [3000, 10000, 17000, 20000])

    registry_bench.run(tmp_path, test)


def test_what_is_not_kept_is_not_pushed(tmp_path: pathlib.Path) -> None:
    """An image of an earlier version runs on; a push says what brings its content back, and a pull by the owner does."""

    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        name = f"{host}/a/b:1"
        there.add("a/b:1", [TOP])
        client.store.keep_layer_blobs = False
        await client.pull(name)
        assert not client.store.content.has(blob_of(TOP))
        with pytest.raises(push.PushError, match="discard-unpacked-layers"):
            await client.push(name)
        client.store.keep_layer_blobs = True
        await client.pull(name, by_owner=False)
        await client.pull(name)
        await client.push(name)

    registry_bench.run(
        tmp_path,
        test,
        lambda port: registries.parse_registries(f"configs: {{'127.0.0.1:{port}': {{}}}}".encode(), "x"),
    )


def test_saved_images_are_loaded_as_the_same_bytes(tmp_path: pathlib.Path) -> None:
    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        name = f"{host}/a/b:1"
        there.add("a/b:1", [BASE, TOP])
        await client.pull(name)
        (tmp_path / "saved.tar").write_bytes(b"".join([piece async for piece in save.save(client.store, [name])]))
        record = client.store.find(name)
        other = images.ImageStore(tmp_path / "other")
        other.open()
        async for _ in other.load(tmp_path / "saved.tar"):
            pass
        again = other.find(name)
        assert (again.id, again.manifest, again.blobs) == (record.id, record.manifest, record.blobs)
        for digest in (*again.content(), blob_of(BASE), blob_of(TOP)):
            assert other.content.path(digest).read_bytes() == client.store.content.path(digest).read_bytes()

    registry_bench.run(tmp_path, test)


def test_a_running_pull_keeps_its_blobs(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = content.ContentStore(tmp_path)
        store.open(drop_older_than_ns=0)
        kept, other = store.write(b"kept"), store.write(b"other")
        with store.keep([kept]):
            assert store.collect(()) == [other]
        assert store.collect(()) == [kept]

    asyncio.run(main())


@pytest.mark.parametrize("same_boot", [True, False])
def test_a_blob_that_may_not_be_on_the_disk_is_dropped_after_a_reboot(tmp_path: pathlib.Path, same_boot: bool) -> None:
    store = content.ContentStore(tmp_path)
    store.open(drop_older_than_ns=0)
    digest = store.write(b"data")
    mark = store.path(digest).with_name(store.path(digest).name + content.UNSYNCED)
    mark.write_text(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip() if same_boot else "another")
    store.open(drop_older_than_ns=0)
    assert store.has(digest) is same_boot
    assert not mark.exists()


def test_credentials_of_a_basic_registry(tmp_path: pathlib.Path) -> None:
    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        there.add("a/b:1", [TOP])
        await client.pull(f"{host}/a/b:1")
        there.authorization = ("basic", "Basic " + base64.b64encode(b"user:secret").decode())
        with pytest.raises(push.PushError, match="push access denied for a/b"):
            await client.push(f"{host}/a/b:1", registries.Login("user", "wrong"))
        await client.push(f"{host}/a/b:1", registries.Login("user", "secret"))

    registry_bench.run(tmp_path, test)
