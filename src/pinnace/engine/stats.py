"""The verbs stats and reopen_log."""

import asyncio

from pinnace.engine import interface, life, machine, monitor
from pinnace.kernel import filesystem


async def stats(here: machine.Machine, container_id: str) -> interface.Stats:
    record = here.find(container_id)
    written = await asyncio.to_thread(filesystem.disk_usage, here.storage(record.id) / "upper")
    if not record.status.is_alive:
        return interface.Stats(filesystem_bytes=written)
    figures = here.cgroups.figures(record.cgroup)
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
