"""An event or a time, whichever comes first; nothing is left behind."""

import asyncio

from pinnace.kit import clock, waiting
from pinnace.testing import clock as virtual


def test_an_event_or_a_time() -> None:
    async def main() -> None:
        time, event = virtual.VirtualClock(), asyncio.Event()
        waits = asyncio.ensure_future(waiting.wait_event(event, time, 5))
        await virtual.settle()
        await time.advance(4.9)
        assert not waits.done()
        await time.advance(0.2)
        assert await waits is False
        waits = asyncio.ensure_future(waiting.wait_event(event, time, 5))
        await virtual.settle()
        event.set()
        assert await waits is True
        assert await waiting.wait_event(event, time, 0) is True
        waits.cancel()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_what_is_waited_for_goes_on_when_the_time_is_over_or_its_waiter_is_cancelled() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def work() -> None:
            await ended.wait()

        task = asyncio.ensure_future(work())
        assert not await waiting.wait_ended(task, clock.SystemClock(), 0)
        waiter = asyncio.ensure_future(waiting.wait_ended(task, clock.SystemClock(), 1000))
        await virtual.settle()
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert not task.done()
        ended.set()
        assert await waiting.wait_ended(task, clock.SystemClock(), 1000)

    asyncio.run(main())
