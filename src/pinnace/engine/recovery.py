"""Opening: find again what is on the disk and what still runs; finish what was interrupted."""

import asyncio
import dataclasses
import logging
import os
import pathlib
from typing import TypeVar

from pinnace.engine import interface, life, machine, monitor, records
from pinnace.kernel import mounts, paths

log = logging.getLogger(__name__)

T = TypeVar("T")


async def recover(here: machine.Machine) -> None:
    await asyncio.to_thread(_read_everything, here)
    for record in tuple(here.containers.values()):
        await _settle(here, record)
    await asyncio.to_thread(here.images.collect, here.layers_in_use())


def _read_everything(here: machine.Machine) -> None:
    here.make_folders()
    here.images.open()
    for path in (here.root / "sandboxes").glob("*.json"):
        sandbox = _read(records.SandboxRecord, path)
        if sandbox is not None:
            here.sandboxes[sandbox.id] = sandbox
    for path in (here.root / "image-mounts").glob("*.json"):
        shown = _read(records.ImageMount, path)
        if shown is not None:
            here.image_mounts[shown.target] = shown
    for folder in list((here.root / "containers").iterdir()):
        record = _read(records.ContainerRecord, folder / "record.json")
        if record is None:
            _discard_orphan(here, folder.name)
            continue
        here.containers[record.id] = record
        here.names[record.spec.name] = record.id


async def _settle(here: machine.Machine, record: records.ContainerRecord) -> None:
    descriptor = monitor.open_monitor(record.id, life.places(here, record))
    if descriptor is not None:
        os.close(descriptor)
    match record.status:
        case interface.ContainerStatus.RUNNING if descriptor is not None:
            life.watch(here, record)
        case interface.ContainerStatus.RUNNING:
            await life.record_death(here, record)
        case interface.ContainerStatus.EXITED:
            here.live(record.id).died.set()
            if life.needs_release(here, record):
                await life.release(here, record)
        case _ if life.needs_release(here, record):
            await _settle_started(here, record)


async def _settle_started(here: machine.Machine, record: records.ContainerRecord) -> None:
    """A start was interrupted: its process may run or wait to. Nobody was told that it started, so it is ended."""
    failed = here.store(
        dataclasses.replace(
            record, status=interface.ContainerStatus.EXITED, exit_code=128, finished_at=here.now_ns(),
            error="the engine ended while the container was being started",
        )
    )  # fmt: skip
    await life.release(here, failed)
    here.tell("die", failed)


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
