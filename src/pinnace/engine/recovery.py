"""Opening: find again what is on the disk and what still runs; finish what was interrupted."""

import asyncio
import dataclasses
import functools
import logging
import os
import pathlib
import signal
from typing import TypeVar

from pinnace.engine import interface, life, machine, monitor, records, runtime
from pinnace.kernel import mounts, paths, pidfd
from pinnace.kit import files

log = logging.getLogger(__name__)

T = TypeVar("T")

MONITOR_SECONDS = 2.0
"""How long a monitor takes at most to see that its container is gone."""
KEEP_DOWNLOADS_NS = 24 * 3600 * 1_000_000_000
"""Interrupted downloads are resumed for a day."""


async def recover(here: machine.Machine) -> None:
    await asyncio.to_thread(_read_everything, here)
    for record in tuple(here.containers.values()):
        try:
            await _settle(here, record)
        except (interface.EngineError, OSError) as error:
            # One container's trouble is not the others'.
            log.warning("container %s is left as it was found: %s", record.spec.name, error)
    await asyncio.to_thread(
        functools.partial(here.images.collect, here.layers_in_use(), blobs_older_than_ns=_stale_before(here))
    )


def _stale_before(here: machine.Machine) -> int:
    return here.now_ns() - KEEP_DOWNLOADS_NS


def _read_everything(here: machine.Machine) -> None:
    here.make_folders()
    here.images.open(drop_older_than_ns=_stale_before(here))
    for folder in (here.root / "sandboxes", here.root / "image-mounts"):
        files.remove_temporaries(folder)
    for path in (here.root / "sandboxes").glob("*.json"):
        sandbox = _read(records.SandboxRecord, path)
        if sandbox is not None:
            here.sandboxes[sandbox.id] = sandbox
    for path in (here.root / "image-mounts").glob("*.json"):
        shown = _read(records.ImageMount, path)
        if shown is not None:
            here.image_mounts[shown.target] = shown
    for name in _containers_with_traces(here):
        record = _read(records.ContainerRecord, here.storage(name) / "record.json")
        if record is None:
            _discard_orphan(here, name)
            continue
        here.containers[record.id] = record
        here.names[record.spec.name] = record.id


def _containers_with_traces(here: machine.Machine) -> set[str]:
    folders = (here.root / "containers", here.run / "containers", here.runtime_root)
    return {entry.name for folder in folders for entry in folder.iterdir()}


async def _settle(here: machine.Machine, record: records.ContainerRecord) -> None:
    descriptor = monitor.open_monitor(record.id, life.places(here, record))
    try:
        match record.status:
            case interface.ContainerStatus.RUNNING if descriptor is not None:
                life.watch(here, record)
            case interface.ContainerStatus.RUNNING:
                await life.record_death(here, record)
            case interface.ContainerStatus.EXITED:
                here.live(record.id).died.set()
                if life.needs_release(here, record):
                    await life.release(here, record)
            case _ if descriptor is not None or life.needs_release(here, record):
                await _settle_started(here, record, descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


async def _settle_started(here: machine.Machine, record: records.ContainerRecord, descriptor: int | None) -> None:
    """A start was interrupted. What runs its program (or did) is adopted; what only waited to is taken back, as if never tried."""
    places = life.places(here, record)
    pid = _started_process(here, record, places)
    if pid is None:
        await _take_back(here, record, descriptor)
        return
    moment = (places.bundle / "pid").stat().st_mtime_ns
    running = here.advance(
        dataclasses.replace(record, status=interface.ContainerStatus.RUNNING, pid=pid, started_at=moment)
    )
    here.tell("start", running)
    if descriptor is not None:
        life.watch(here, running)
    else:
        await life.record_death(here, running)


def _started_process(here: machine.Machine, record: records.ContainerRecord, places: monitor.Places) -> int | None:
    """The container's process if it was let go on to its program, alive or dead by now."""
    if not (here.runtime_root / record.id / "status").exists() or runtime.waits(here.runtime_root, record.id):
        return None
    try:
        pid = int((places.bundle / "pid").read_text())
    except (OSError, ValueError):
        return None
    is_dead = monitor.read_exit(record.id, places) is not None
    # The agent's end may have come between the fifo's removal and the byte that lets the process go.
    return pid if is_dead or not runtime.is_runtime(pid, record.id) else None


async def _take_back(here: machine.Machine, record: records.ContainerRecord, descriptor: int | None) -> None:
    await life.release(here, record)
    if descriptor is not None:
        try:
            async with asyncio.timeout(MONITOR_SECONDS):
                await pidfd.wait_dead(descriptor)
        except TimeoutError:
            # Still busy with a runtime that makes the container: what that made in the meantime goes too.
            pidfd.send_signal(descriptor, signal.SIGKILL)
            await life.release(here, record)
    # The next start mounts and writes everything anew.
    await asyncio.to_thread(paths.remove_tree, here.bundle(record.id))


def _read(kind: type[T], path: pathlib.Path) -> T | None:
    try:
        return records.decode(kind, path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read, what it describes is removed: %s", path, error)
        return None


def _discard_orphan(here: machine.Machine, container_id: str) -> None:
    """A folder without a readable record: its creation was interrupted, or the disk lost it."""
    for parent in (f"{here.cgroup_parent}/containers", *(s.cgroup for s in here.sandboxes.values())):
        group = f"{parent}/{container_id}"
        if here.cgroups.exists(group):
            here.cgroups.kill_all(group)
            here.cgroups.remove(group)
    mounts.unmount_tree(here.bundle(container_id))
    paths.remove_tree(here.bundle(container_id))
    paths.remove_tree(here.runtime_root / container_id)
    paths.remove_tree(here.storage(container_id))
