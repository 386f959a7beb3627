"""The life of a container after create: start, the watch over its monitor, and what happens at its death."""

import asyncio
import dataclasses
import logging
import os
import pathlib

from pinnace.engine import create, images, interface, machine, monitor, records, runtime
from pinnace.kernel import mounts, paths, pidfd

log = logging.getLogger(__name__)

# The exit code of a container whose monitor did not tell one.
UNKNOWN_EXIT = 255


def places(here: machine.Machine, record: records.ContainerRecord) -> monitor.Places:
    return monitor.Places(here.bundle(record.id), here.runtime_root)


async def start(here: machine.Machine, container_id: str) -> interface.Container:
    record = here.find(container_id)
    here.prepare_moves()
    async with here.live(record.id).lock:
        record = here.find(record.id)
        if not record.status.can_start:
            raise interface.WrongStatus(f"container {record.spec.name} is {record.status.value}", record.status)
        try:
            record = await _launch(here, record)
        except interface.StartError as error:
            await _record_failure(here, record, error)
            raise
        except OSError as error:
            failure = interface.StartError(str(error))
            await _record_failure(here, record, failure)
            raise failure from error
        here.tell("start", record)
        watch(here, record)
    return record.container()


async def _launch(here: machine.Machine, record: records.ContainerRecord) -> records.ContainerRecord:
    if not mounts.is_mounted(here.root_mount(record.id)) or not (here.bundle(record.id) / "config.json").exists():
        try:
            image = images.find(here, record.image_id)
            await asyncio.to_thread(create.prepare, here, record, image)
        except (interface.NoSuchObject, OSError, ValueError) as error:
            raise interface.StartError(str(error)) from error
    pid = await monitor.create(record, places(here, record))
    await runtime.start(here.runtime_root, record.id)
    return here.advance(
        dataclasses.replace(record, status=interface.ContainerStatus.RUNNING, pid=pid, started_at=here.now_ns())
    )


async def _record_failure(here: machine.Machine, record: records.ContainerRecord, error: interface.StartError) -> None:
    failed = here.advance(
        dataclasses.replace(
            record, status=interface.ContainerStatus.EXITED, exit_code=error.exit_code, finished_at=here.now_ns(),
            error=str(error),
        )
    )  # fmt: skip
    here.tell("die", failed)
    await _maybe_release(here, failed)


def watch(here: machine.Machine, record: records.ContainerRecord) -> None:
    """Follow the running container until its death, in a task of its own."""
    live = here.live(record.id)
    if live.process < 0:
        live.process = _open_process(record)
    descriptor = monitor.open_monitor(record.id, places(here, record))
    live.watcher = here.supervisor.spawn(f"watch {record.id[:12]}", _watch(here, record, descriptor))


async def _watch(here: machine.Machine, record: records.ContainerRecord, descriptor: int | None) -> None:
    if descriptor is not None:
        try:
            await pidfd.wait_dead(descriptor)
        finally:
            os.close(descriptor)
    await record_death(here, here.containers.get(record.id, record))


async def record_death(here: machine.Machine, record: records.ContainerRecord) -> None:
    """The monitor has ended: keep what it left, tell, clean up."""
    outcome = monitor.read_exit(record.id, places(here, record))
    if outcome is None:
        await asyncio.to_thread(here.cgroups.kill_all, record.cgroup)
        code, moment, error = UNKNOWN_EXIT, here.now_ns(), "its monitor ended without leaving an exit code"
    else:
        (code, moment), error = outcome, record.error
    was_killed = here.cgroups.oom_kills(record.cgroup) > 0 or monitor.was_oom_reported(places(here, record))
    dead = here.advance(
        dataclasses.replace(
            record, status=interface.ContainerStatus.EXITED, pid=0, exit_code=code, finished_at=moment, error=error,
            oom_killed=was_killed and code != 0,
        )
    )  # fmt: skip
    if dead.oom_killed:
        here.tell("oom", dead)
    here.tell("die", dead)
    await _maybe_release(here, dead, has_ended=True)


async def _maybe_release(here: machine.Machine, record: records.ContainerRecord, *, has_ended: bool = False) -> None:
    """As `_release`. What cannot be given back now is when the container is removed or the engine opens again."""
    try:
        await _release(here, record, has_ended=has_ended)
    except (interface.EngineError, OSError) as error:
        log.warning("what container %s held is not given back yet: %s", record.spec.name, error)


async def _release(here: machine.Machine, record: records.ContainerRecord, *, has_ended: bool = False) -> None:
    """Give back what only a living container needs: the runtime's state, its cgroup, its root mount.

    `has_ended`: its monitor saw it end, so that no runtime can be at work on it and only files are left of the runtime's state;
    without hooks its `delete` would do no more than remove them.
    """
    live = here.live(record.id)
    if live.process >= 0:
        os.close(live.process)
        live.process = -1
    await asyncio.to_thread(_end_processes, here, record)
    if has_ended:
        await asyncio.to_thread(paths.remove_tree, here.runtime_root / record.id)
    else:
        await runtime.delete(here.runtime_root, record.id)
    await asyncio.to_thread(_remove_places, here, record)


def _end_processes(here: machine.Machine, record: records.ContainerRecord) -> None:
    if here.cgroups.processes(record.cgroup):
        here.cgroups.kill_all(record.cgroup)


def _remove_places(here: machine.Machine, record: records.ContainerRecord) -> None:
    here.cgroups.remove(record.cgroup)
    mounts.unmount(here.root_mount(record.id))


def needs_release(here: machine.Machine, record: records.ContainerRecord) -> bool:
    return (here.runtime_root / record.id).exists() or here.cgroups.exists(record.cgroup)


async def release(here: machine.Machine, record: records.ContainerRecord) -> None:
    await _release(here, record)


def _open_process(record: records.ContainerRecord) -> int:
    """A pidfd of the first process, -1 when that is gone. The number is believed only where its cgroup is the container's."""
    descriptor = pidfd.open_pidfd(record.pid)
    if descriptor is None:
        return -1
    try:
        is_ours = record.cgroup in pathlib.Path(f"/proc/{record.pid}/cgroup").read_text()
    except OSError:
        is_ours = False
    if not is_ours:
        os.close(descriptor)
        return -1
    return descriptor
