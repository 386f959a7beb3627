"""An open engine with a busybox image, given as a function because each test runs its own event loop."""

import asyncio
import contextlib
import dataclasses
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pinnace.engine import engine, interface, logs
from pinnace.kit import clock
from pinnace.testing import images


@dataclasses.dataclass
class World:
    engine: engine.Engine
    folder: pathlib.Path

    async def run(self, name: str, script: str, **changes: object) -> interface.Container:
        container = await self.engine.create(self.spec(name, script, **changes))
        return await self.engine.start(container.id)

    def spec(self, name: str, script: str, **changes: object) -> interface.ContainerSpec:
        values: dict[str, object] = {
            "command": ("sh", "-c", script),
            "log_path": self.folder / f"{name}.log",
            **changes,
        }
        return interface.ContainerSpec(name=name, image="busybox:1", **values)  # type: ignore[arg-type]

    async def output_of(self, name: str, script: str, **changes: object) -> str:
        """What a container that ran to its end wrote."""
        container = await self.run(name, script, **changes)
        await asyncio.wait_for(self.engine.wait(container.id), 30)
        return self.log(name)

    def log(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_bytes()
        return "".join(logs.parse(line).text.decode() + "\n" for line in text.splitlines())

    async def wait_log(self, name: str, text: str) -> None:
        container = await self.engine.inspect(name)
        seen = b""
        async with asyncio.timeout(30):
            options = logs.Options(follow=True)
            async for _, data in logs.read(container.log_path, options, lambda: self.engine.wait(container.id)):
                seen += data
                if text.encode() in seen:
                    return
        raise AssertionError(f"{text!r} was never written: {seen!r}")

    async def exec(self, name: str, *command: str, **options: object) -> tuple[int, str]:
        streams = await self.engine.exec(name, command, **options)  # type: ignore[arg-type]
        output = b""
        async with asyncio.timeout(30):
            while (piece := await streams.read()) is not None:
                output += piece[1]
            code = await streams.wait()
        await streams.close()
        return code, output.decode()


@pytest.fixture
def in_world(places, tmp_path: pathlib.Path) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    images.busybox_archive(tmp_path / "busybox.tar", "busybox:1")
    (tmp_path / "logs").mkdir()

    @contextlib.asynccontextmanager
    async def world() -> AsyncIterator[World]:
        opened = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        async for _ in opened.images.load(tmp_path / "busybox.tar"):
            pass
        here = World(opened, tmp_path / "logs")
        try:
            yield here
        finally:
            for sandbox in await here.engine.list_sandboxes():
                await here.engine.remove_sandbox(sandbox.id)
            for container in await here.engine.list():
                await here.engine.remove(container.id, force=True)
            await here.engine.close()

    def run(test: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with world() as here:
                await test(here)

        asyncio.run(main())

    return run
