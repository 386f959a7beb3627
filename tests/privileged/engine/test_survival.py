"""Containers belong to their monitors: what happens to the engine is nothing to them, and the other way round."""

import asyncio
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from pinnace.engine import engine, interface, life, logs, monitor, runtime
from pinnace.kernel import cgroups, mounts, paths
from pinnace.kit import clock
from pinnace.testing import images

pytestmark = pytest.mark.privileged

# A process that starts containers and then waits to be killed.
AGENT = """
import asyncio, pathlib, sys
from pinnace.engine import engine, interface
from pinnace.kit import clock

async def main(root, run, cgroup, archive, logs):
    opened = engine.Engine(pathlib.Path(root), pathlib.Path(run), cgroup, clock.SystemClock())
    await opened.open()
    async for _ in opened.images.load(pathlib.Path(archive)):
        pass
    await opened.create_sandbox(interface.SandboxSpec(id="pod", hostname="pod", share_pid=True))
    scripts = {
        "counter": "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo done; exit 9",
        "stays": "trap 'exit 5' TERM; sleep 1000 & wait",
    }
    for name, script in scripts.items():
        spec = interface.ContainerSpec(
            name=name, image="busybox:1", sandbox="pod", command=("sh", "-c", script), log_path=pathlib.Path(logs) / name
        )
        container = await opened.create(spec)
        await opened.start(container.id)
    print("started", flush=True)
    # In the middle of something: a container that is being started when the end comes.
    for number in range(1000):
        container = await opened.create(interface.ContainerSpec(name=f"more-{number}", image="busybox:1", sandbox="pod", command=("sleep", "1000")))
        await opened.start(container.id)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.11, 0.2])
def test_kill_9_of_the_agent(places, tmp_path: pathlib.Path, delay: float) -> None:
    """At any moment: no container restarts or dies, no log line is lost or doubled, exit codes are right, nothing leaks."""
    images.busybox_archive(tmp_path / "busybox.tar", "busybox:1")
    (tmp_path / "logs").mkdir()
    arguments = [places.root, places.run, places.cgroup, tmp_path / "busybox.tar", tmp_path / "logs"]
    with subprocess.Popen([sys.executable, "-c", AGENT, *map(str, arguments)], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"started\n"
        # Not to wait for something, but to be at another point of the agent's work each time.
        signal.sigtimedwait([], delay)
        agent.send_signal(signal.SIGKILL)

    async def main() -> None:
        opened = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        stays = await opened.inspect("stays")
        assert stays.status is interface.ContainerStatus.RUNNING
        assert pathlib.Path(f"/proc/{stays.pid}").exists()
        ended = await asyncio.wait_for(opened.wait("counter"), 30)
        assert ended.exit_code == 9
        text = b"".join([data async for _, data in logs.read(tmp_path / "logs" / "counter", logs.Options())])
        assert text.decode().splitlines() == [f"line {number}" for number in range(1, 2001)] + ["done"]
        for container in await opened.list():
            if container.spec.name.startswith("more-"):
                assert container.status is not interface.ContainerStatus.RUNNING or os.path.exists(
                    f"/proc/{container.pid}"
                )
        assert (await opened.stop("stays", 30)).exit_code == 5
        await opened.remove_sandbox("pod")
        assert await opened.list() == ()
        await opened.close()

    asyncio.run(main())


def test_death_of_a_monitor_ends_its_container(in_world) -> None:
    """A container without a monitor has nobody to keep its log and its exit code: it is ended, with an error that says so."""

    async def test(world) -> None:
        container = await world.run("orphan", "echo ready; sleep 1000")
        await world.wait_log("orphan", "ready")
        bundle = world.folder.parent / "run/containers" / container.id
        os.kill(int((bundle / "conmon.pid").read_text()), signal.SIGKILL)
        ended = await asyncio.wait_for(world.engine.wait(container.id), 30)
        assert ended.exit_code == 255
        assert "monitor" in ended.error
        for _ in range(2):
            await world.engine.remove(container.id)
        assert not pathlib.Path(f"/proc/{container.pid}/root/bin").exists()

    in_world(test)


def test_rotation_loses_nothing(in_world) -> None:
    """A log file renamed and reopened while it is written and followed: every line comes once, in order."""

    async def test(world) -> None:
        script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done"
        container = await world.run("rotate", f"read x; {script}", stdin=True, stdin_once=True)
        path = world.folder / "rotate.log"

        async def follow() -> bytes:
            options = logs.Options(follow=True)
            return b"".join(
                [data async for _, data in logs.read(path, options, lambda: world.engine.wait(container.id))]
            )

        following = asyncio.create_task(follow())
        streams = await world.engine.attach(container.id, stdin=True)
        await streams.write(b"go\n")
        await streams.read()
        path.rename(path.with_name("rotate.log.1"))
        await world.engine.reopen_log(container.id)
        while await streams.read() is not None:
            pass
        await streams.close()
        expected = b"".join(b"%d\n" % number for number in range(1, 3001))
        assert await asyncio.wait_for(following, 30) == expected
        assert b"".join([data async for _, data in logs.read(path, logs.Options(include_rotated=True))]) == expected

    in_world(test)


def test_an_interrupted_create_is_cleaned_up(places, tmp_path: pathlib.Path) -> None:
    """Folders without a record, as a crash in the middle of create leaves them, vanish at the next open."""

    async def main() -> None:
        (places.root / "containers" / "abc" / "upper").mkdir(parents=True)
        (places.root / "containers" / "abc" / "record.json").write_text("{ cut short")
        opened = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        assert await opened.list() == ()
        assert not (places.root / "containers" / "abc").exists()
        await opened.close()

    asyncio.run(main())


def test_a_reboot_is_survived(in_world, places) -> None:
    """Without `run` (and without processes) running containers are exited and sandboxes are not ready; both can be removed."""

    async def test(world) -> None:
        await world.engine.create_sandbox(interface.SandboxSpec(id="pod", hostname="pod"))
        await world.run("before", "sleep 1000", sandbox="pod")
        await world.engine.create(world.spec("waiting", "echo late"))
        await world.engine.close()
        groups = cgroups.Cgroups.discover()
        groups.kill_all(places.cgroup)
        for path in (places.run / "containers").glob("*/conmon.pid"):
            try:
                descriptor = os.pidfd_open(int(path.read_text()))
            except ProcessLookupError:
                continue
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)
        groups.remove(places.cgroup)
        mounts.unmount_tree(places.run)
        paths.remove_tree(places.run)
        opened = world.engine = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        assert (await opened.inspect("before")).status is interface.ContainerStatus.EXITED
        assert [sandbox.is_ready for sandbox in await opened.list_sandboxes()] == [False]
        await asyncio.wait_for(opened.start("waiting"), 20)
        assert (await opened.wait("waiting")).exit_code == 0
        assert world.log("waiting") == "late\n"
        await opened.remove_sandbox("pod")
        await opened.remove("waiting")
        assert await opened.list() == ()

    in_world(test)


@pytest.mark.parametrize("script", ["echo ran; sleep 1000", "echo ran; exit 7"])
def test_a_container_that_was_started_but_not_recorded_is_adopted(in_world, places, script: str) -> None:
    """The agent's end came between the byte that lets the process go and the record of it: the program ran, and runs once only."""

    async def test(world) -> None:
        container = await world.engine.create(world.spec("early", script))
        record = world.engine._here.find(container.id)
        pid = await monitor.create(record, life.places(world.engine._here, record))
        await runtime.start(world.engine._here.runtime_root, record.id)
        await world.wait_log("early", "ran")
        await world.engine.close()
        opened = world.engine = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        if "exit" in script:
            assert (await asyncio.wait_for(opened.wait("early"), 20)).exit_code == 7
        else:
            found = await opened.inspect("early")
            assert (found.status, found.pid) == (interface.ContainerStatus.RUNNING, pid)
            assert (await opened.stop("early", 0)).exit_code == 137
        assert world.log("early") == "ran\n"
        await opened.remove("early")

    in_world(test)


def test_a_container_that_only_waited_to_start_is_as_if_never_started(in_world, places) -> None:
    """Nothing of the first try is left, and it can be started again."""

    async def test(world) -> None:
        container = await world.engine.create(world.spec("early", "echo ran; exit 7"))
        record = world.engine._here.find(container.id)
        pid = await monitor.create(record, life.places(world.engine._here, record))
        await world.engine.close()
        opened = world.engine = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        assert (await opened.inspect("early")).status is interface.ContainerStatus.CREATED
        assert not pathlib.Path(f"/proc/{pid}").exists()
        await opened.start("early")
        assert (await asyncio.wait_for(opened.wait("early"), 20)).exit_code == 7
        assert world.log("early") == "ran\n"
        await opened.remove("early")

    in_world(test)


def test_a_process_between_fifo_and_byte_is_taken_back(in_world, places) -> None:
    """The fifo is gone, yet the program was never begun: that shows in what the process runs."""

    async def test(world) -> None:
        container = await world.engine.create(world.spec("early", "echo ran; exit 7"))
        record = world.engine._here.find(container.id)
        pid = await monitor.create(record, life.places(world.engine._here, record))
        (world.engine._here.runtime_root / record.id / "exec.fifo").unlink()
        await world.engine.close()
        opened = world.engine = engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())
        await opened.open()
        assert (await opened.inspect("early")).status is interface.ContainerStatus.CREATED
        assert not pathlib.Path(f"/proc/{pid}").exists()
        await opened.remove("early")

    in_world(test)
