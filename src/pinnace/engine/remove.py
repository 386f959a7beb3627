"""The verb remove."""

import asyncio

from pinnace.engine import create, interface, life, machine, stop


async def remove(here: machine.Machine, container_id: str, *, force: bool) -> None:
    try:
        found = here.find(container_id).id
    except interface.NoSuchObject:
        return
    live = here.live(found)
    # One that is being started is waited for: what it is after that counts.
    async with live.lock:
        record = here.containers.get(found)
        if record is None:
            return
        if record.status.is_alive:
            if not force:
                raise interface.WrongStatus(f"container {record.spec.name} is running: stop it first", record.status)
            await stop.stop(here, record.id, 0)
        if live.watcher is not None:
            await asyncio.wait({live.watcher})
        record = here.containers[record.id]
        if life.needs_release(here, record):
            await life.release(here, record)
        await asyncio.to_thread(create.discard, here, record)
        here.tell("remove", record)
        here.forget(record)
