"""The verbs stats and reopen_log."""

import asyncio
import os
import pathlib

from pinnace.engine import interface, life, machine, monitor


async def stats(here: machine.Machine, container_id: str) -> interface.Stats:
    record = here.find(container_id)
    if not record.status.is_alive:
        raise interface.WrongStatus(f"container {record.spec.name} is not running", record.status)
    figures = here.cgroups.figures(record.cgroup)
    written = await asyncio.to_thread(disk_usage, here.storage(record.id) / "upper")
    return interface.Stats(
        cpu_nanoseconds=figures.cpu_nanoseconds,
        memory_usage_bytes=figures.memory_usage_bytes,
        memory_working_set_bytes=figures.memory_working_set_bytes,
        pids=figures.pids,
        filesystem_bytes=written,
    )


async def reopen_log(here: machine.Machine, container_id: str) -> None:
    record = here.find(container_id)
    if record.status.is_alive:
        await monitor.control(life.places(here, record), monitor.REOPEN)


def disk_usage(folder: pathlib.Path) -> int:
    """Bytes of disk below `folder`, hard links counted once. What vanishes meanwhile does not count. Blocking."""
    total = 0
    seen: set[tuple[int, int]] = set()
    pending = [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    if status.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue
    return total
