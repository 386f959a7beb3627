"""The verb remove."""

import asyncio

from pinnace.engine import create, interface, life, machine, stop


async def remove(here: machine.Machine, container_id: str, *, force: bool) -> None:
    try:
        record = here.find(container_id)
    except interface.NoSuchObject:
        return
    if record.status.is_alive:
        if not force:
            raise interface.WrongStatus(f"container {record.spec.name} is running: stop it first", record.status)
        await stop.stop(here, record.id, 0)
    live = here.live(record.id)
    async with live.lock:
        if record.id not in here.containers:
            return
        if live.watcher is not None:
            await asyncio.wait({live.watcher})
        record = here.containers[record.id]
        if life.needs_release(here, record):
            await life.release(here, record)
        await asyncio.to_thread(create.discard, here, record)
        here.tell("remove", record)
        here.forget(record)
