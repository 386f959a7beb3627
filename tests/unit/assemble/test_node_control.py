"""Both ends of the node's socket for images, over the fake engine."""

import asyncio
import json
import pathlib
from collections.abc import Awaitable, Callable

import pytest

from pinnace.assemble import node_control, places, registry_files
from pinnace.oci import registries
from pinnace.testing import clock, fake_engine
from pinnace.web import server


def run(
    tmp_path: pathlib.Path, test: Callable[[fake_engine.FakeHost, node_control.NodeControl], Awaitable[None]]
) -> None:
    async def main() -> None:
        host = fake_engine.FakeHost(clock.VirtualClock())
        engine = fake_engine.FakeEngine(host)
        where = places.Places(tmp_path, tmp_path)
        listener = server.HttpServer(node_control.handler(engine.images))
        await listener.start_unix(node_control.socket_of(where))
        try:
            async with node_control.NodeControl(where) as control:
                await test(host, control)
        finally:
            await listener.stop(0)

    asyncio.run(main())


def test_images_come_are_named_and_go(tmp_path: pathlib.Path) -> None:
    async def test(host: fake_engine.FakeHost, control: node_control.NodeControl) -> None:
        host.add_image("a/b:1", remote=True)
        assert await control.pull("a/b:1", lambda _step: None) == ["docker.io/a/b:1"]
        await control.tag("a/b:1", "c/d:2")
        assert (await control.image("c/d:2"))["configuration"]["os"] == "linux"
        (pushed,) = await control.push("c/d:2", lambda _step: None)
        assert pushed.startswith("docker.io/c/d:2@sha256:")
        pieces: list[bytes] = []
        await control.save(["c/d:2"], pieces.append)
        assert "docker.io/c/d:2" in json.loads(b"".join(pieces))
        assert (await control.prune(everything=False))["deleted"] == []
        assert "docker.io/c/d:2" in (await control.prune(everything=True))["deleted"]
        assert await control.images() == []

    run(tmp_path, test)


@pytest.mark.parametrize("verb", ["pull", "push", "save", "image", "tag"])
def test_refusals_are_told_and_nothing_is_written(tmp_path: pathlib.Path, verb: str) -> None:
    async def test(_host: fake_engine.FakeHost, control: node_control.NodeControl) -> None:
        written: list[bytes] = []
        calls = {
            "pull": lambda: control.pull("no/such:1", lambda _step: None),
            "push": lambda: control.push("no/such:1", lambda _step: None),
            "save": lambda: control.save(["no/such:1"], written.append),
            "image": lambda: control.image("no/such:1"),
            "tag": lambda: control.tag("no/such:1", "x:1"),
        }
        with pytest.raises(node_control.ControlError, match=r"no such image|not found"):
            await calls[verb]()
        assert written == []

    run(tmp_path, test)


def test_registry_settings_are_read_again_when_they_change(tmp_path: pathlib.Path) -> None:
    own, machine = tmp_path / "own.yaml", tmp_path / "machine.yaml"
    present = registry_files.RegistrySettings(own, machine)
    assert present() == registries.Registries()
    machine.write_text("mirrors: {docker.io: {endpoint: ['https://machine']}}")
    assert present().mirrors["docker.io"].endpoints == ("https://machine",)
    assert present() is present()
    own.write_text("mirrors: {docker.io: {endpoint: ['https://own']}}")
    assert present().mirrors["docker.io"].endpoints == ("https://own",)
    own.write_text("mirrors: [")
    with pytest.raises(registries.SettingsError, match=r"own\.yaml"):
        present()
    own.unlink()
    assert present().mirrors["docker.io"].endpoints == ("https://machine",)
