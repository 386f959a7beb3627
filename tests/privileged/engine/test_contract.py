"""The engine on this machine passes the contract, and leaves nothing behind."""

import asyncio

import pytest

from pinnace.engine import engine
from pinnace.kernel import mounts
from pinnace.kit import clock
from pinnace.testing import engine_contract, images

pytestmark = pytest.mark.privileged


@pytest.mark.parametrize("check", engine_contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check, places, tmp_path) -> None:
    async def main() -> None:
        images.busybox_archive(tmp_path / "busybox.tar", "busybox:1", Cmd=["sleep", "1000000"])
        images.docker_archive(tmp_path / "small.tar", "archived:1", [images.layer({"a": images.File(b"1")})])
        (tmp_path / "logs").mkdir()

        async def opened() -> engine.Engine:
            result = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
            await result.open()
            return result

        async def reopen() -> engine.Engine:
            await harness.engine.close()
            return await opened()

        first = await opened()
        async for _ in first.images.load(tmp_path / "busybox.tar"):
            pass
        harness = engine_contract.Harness(
            first, "busybox:1", tmp_path / "small.tar", tmp_path / "logs", reopen, mounts.unmount
        )
        try:
            await check(harness)
        finally:
            for sandbox in await harness.engine.list_sandboxes():
                await harness.engine.remove_sandbox(sandbox.id)
            for container in await harness.engine.list():
                await harness.engine.remove(container.id, force=True)
            await harness.engine.close()

    asyncio.run(main())
