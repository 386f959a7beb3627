"""A start that fails, is cancelled or ends with its agent at any of its steps never blocks the next one, and leaves nothing.

Every change that the engine makes to the machine on the way from a sandbox to a container that ran, and back to nothing, is a point
at which a fault strikes. Only the nightly run takes all of them.
"""

import asyncio
import contextlib
import os
import pathlib
import signal

import pytest

from pinnace.engine import engine, interface
from pinnace.kernel import cgroups, mounts, paths
from pinnace.kit import clock
from pinnace.testing import crash_points, images

pytestmark = [pytest.mark.privileged, pytest.mark.timeout(1200)]

STRIDE = int(os.environ.get("PINNACE_CRASH_STRIDE", "9"))
PATIENCE = 10.0
SCRIPT = "echo ran; exit 7"
FOLDERS = ("root/containers", "root/sandboxes", "run/containers", "run/sandboxes", "run/crun")


class World:
    def __init__(self, places, folder: pathlib.Path) -> None:
        self.places = places
        self.folder = folder
        self.share_pid = False

    def agent(self) -> engine.Engine:
        return engine.Engine(self.places.root, self.places.run, self.places.cgroup, clock.SystemClock())

    async def load(self) -> None:
        opened = self.agent()
        await opened.open()
        async for _ in opened.images.load(self.folder / "busybox.tar"):
            pass
        await opened.close()

    @property
    def sandbox(self) -> interface.SandboxSpec:
        return interface.SandboxSpec(id="pod", hostname="pod", share_pid=self.share_pid)

    @property
    def container(self) -> interface.ContainerSpec:
        log = self.folder / "log"
        return interface.ContainerSpec("one", "busybox:1", sandbox="pod", command=("sh", "-c", SCRIPT), log_path=log)

    async def there_and_back(self, opened: engine.Engine) -> None:
        await opened.create_sandbox(self.sandbox)
        made = await opened.create(self.container)
        await opened.start(made.id)
        await opened.wait(made.id)
        await opened.remove(made.id)
        await opened.remove_sandbox("pod")

    async def again(self, opened: engine.Engine) -> None:
        """As a node agent does it: what is there under the names it needs was never of use to anybody."""
        for present in await opened.list_sandboxes():
            if not present.is_ready:
                await opened.remove_sandbox(present.id)
        with contextlib.suppress(interface.NameInUse):
            await opened.create_sandbox(self.sandbox)
        try:
            made = await opened.create(self.container)
        except interface.NameInUse:
            await opened.remove("one", force=True)
            made = await opened.create(self.container)
        await opened.start(made.id)
        ended = await asyncio.wait_for(opened.wait(made.id), 30)
        assert (ended.exit_code, ended.error) == (7, "")
        assert (self.folder / "log").read_text().endswith("F ran\n")
        await opened.remove_sandbox("pod")

    def assert_nothing_left(self) -> None:
        base = self.places.root.parent
        left = {name: os.listdir(base / name) for name in FOLDERS if os.listdir(base / name)}
        assert left == {}
        assert self.places.mounts() == []
        assert self.places.processes() == []

    def clean(self) -> None:
        """After a failure, so that the next point is judged by itself."""
        groups = cgroups.Cgroups.discover()
        groups.kill_all(self.places.cgroup)
        for name in FOLDERS:
            mounts.unmount_tree(self.places.root.parent / name)
            for entry in (self.places.root.parent / name).iterdir():
                paths.remove_tree(entry)
        groups.remove(self.places.cgroup)

    async def _recover(self) -> None:
        opened = self.agent()
        await opened.open()
        await self.again(opened)
        await opened.close()

    def strike(self, fault: crash_points.Fault, at: int) -> str:
        """One life with the fault, and the next. Returns what was hit; "" when there are fewer points."""
        (self.folder / "log").unlink(missing_ok=True)
        self.share_pid = at % 2 == 0
        told = self.folder / "told"
        told.write_text("")

        async def life() -> None:
            points = crash_points.Points(fault, at)
            opened = self.agent()
            await opened.open()
            try:
                async with asyncio.timeout(PATIENCE):
                    await points.run(self.there_and_back(opened))
            except TimeoutError:
                raise AssertionError(f"{points.struck} made it wait for ever") from None
            except (interface.EngineError, OSError, asyncio.CancelledError):
                assert points.struck
            told.write_text(points.struck)
            if points.struck:
                async with asyncio.timeout(PATIENCE):
                    await self.again(opened)
            await opened.close()

        code, text = crash_points.in_child(lambda: asyncio.run(life()))
        if fault is crash_points.Fault.KILL and code == 128 + signal.SIGKILL:
            code, text = crash_points.in_child(lambda: asyncio.run(self._recover()))
            told.write_text(f"killed at {at}")
        assert code == 0, f"{fault.value} at {at}: {text}"
        return told.read_text()


@pytest.fixture
def world(places, tmp_path: pathlib.Path) -> World:
    images.busybox_archive(tmp_path / "busybox.tar", "busybox:1")
    found = World(places, tmp_path)
    asyncio.run(found.load())
    return found


@pytest.mark.parametrize("stride", [STRIDE, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("fault", list(crash_points.Fault), ids=lambda fault: fault.value)
def test_the_next_start_works_and_nothing_leaks(world: World, fault: crash_points.Fault, stride: int) -> None:
    failures, hits = [], 0
    for at in range(1, crash_points.MAXIMUM_POINTS, stride):
        try:
            hit = world.strike(fault, at)
            world.assert_nothing_left()
        except AssertionError as error:
            failures.append(f"{fault.value} at {at}: {error}")
            hit = "failed"
            world.clean()
        if len(failures) > 5:
            break
        if not hit:
            break
        hits += 1
    print(f"\n{fault.value}: {hits} points")
    assert failures == []
    assert hits * stride > 40


def test_the_check_sees_what_is_left(world: World) -> None:
    """A mount, a folder and a record that nobody takes away are found."""
    (world.places.root / "sandboxes" / ".pod.json.0123456789abcdef").write_text("")
    with pytest.raises(AssertionError, match="0123456789abcdef"):
        world.assert_nothing_left()
