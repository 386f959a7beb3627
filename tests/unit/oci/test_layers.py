"""Layers survive what they should, and only that."""

import asyncio
import json
import os
import pathlib

import pytest

from pinnace.oci import images
from pinnace.testing import images as archives

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")


def load(tmp_path: pathlib.Path) -> images.ImageStore:
    archives.docker_archive(tmp_path / "a.tar", "a:1", [archives.layer({"f": archives.File(b"x")})])
    store = images.ImageStore(tmp_path / "store")
    store.open()

    async def main() -> None:
        async for _ in store.load(tmp_path / "a.tar"):
            pass

    asyncio.run(main())
    return store


@pytest.mark.parametrize(
    ("synced", "same_boot", "kept"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_a_layer_that_may_not_be_on_the_disk_is_dropped_after_a_reboot(
    tmp_path: pathlib.Path, synced: bool, same_boot: bool, kept: bool
) -> None:
    load(tmp_path)
    (folder,) = (tmp_path / "store" / "layers").iterdir()
    (folder / "synced").unlink(missing_ok=True)
    if synced:
        (folder / "synced").touch()
    if not same_boot:
        document = json.loads((folder / "layer.json").read_bytes())
        (folder / "layer.json").write_text(json.dumps(document | {"boot": "another"}))
    again = images.ImageStore(tmp_path / "store")
    again.open()
    assert bool(again.list()) is kept
    assert folder.exists() is kept


def test_unused_layers_go_with_their_last_image(tmp_path: pathlib.Path) -> None:
    store = load(tmp_path)
    record, names = store.untag("a:1")
    assert store.collect(()) == []
    assert store.remove(record, names)
    assert list(store.collect(record.parsed.diff_ids)) == []
    assert list(store.collect(())) == list(record.parsed.diff_ids)
    assert list((tmp_path / "store" / "layers").iterdir()) == []


def test_half_unpacked_layers_are_thrown_away(tmp_path: pathlib.Path) -> None:
    store = load(tmp_path)
    (store.layers.temporary / "half" / "diff").mkdir(parents=True)
    store.open()
    assert list(store.layers.temporary.iterdir()) == []
    assert len(store.list()) == 1
