"""Waiting for an event or until a time: what every loop does that has something due."""

import asyncio

from pinnace.kit import clock


async def wait_event(event: asyncio.Event, time: clock.Clock, seconds: float | None) -> bool:
    """Until the event is set, at most `seconds` (None: for ever). Returns whether it is. Nothing is left behind when cancelled."""
    if event.is_set() or seconds is None:
        return await event.wait()
    happened = asyncio.ensure_future(event.wait())
    due = asyncio.ensure_future(time.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait({happened, due}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happened.cancel()
        due.cancel()
    return event.is_set()


async def wait_ended(work: "asyncio.Task[None]", time: clock.Clock, seconds: float) -> bool:
    """Until `work` is over, at most `seconds`. Returns whether it is; it goes on otherwise."""
    if work.done():
        return True
    due = asyncio.ensure_future(time.sleep(max(0.0, seconds)))
    try:
        await asyncio.wait((work, due), return_when=asyncio.FIRST_COMPLETED)
    finally:
        due.cancel()
    return work.done()
