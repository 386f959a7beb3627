"""Supervised tasks: restarted, logged, never orphaned."""

import asyncio
import logging

import pytest

from pinnace.kit import tasks
from pinnace.testing import clock as virtual


def test_a_loop_that_fails_or_returns_is_started_again_after_a_growing_delay(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        time = virtual.VirtualClock()
        starts: list[float] = []

        async def loop() -> None:
            starts.append(round(time.monotonic(), 3))
            if len(starts) % 2:
                raise ValueError("no luck")

        async with tasks.Supervisor(time) as supervisor:
            supervisor.start("unlucky", loop)
            await time.advance(0.75)
        assert starts == [0, 0.1, 0.3, 0.7]

    asyncio.run(main())
    messages = [record.getMessage() for record in caplog.records]
    assert messages[:2] == ["unlucky failed", "unlucky returned; it should run for ever"]


def test_a_loop_that_ran_long_starts_its_backoff_anew() -> None:
    async def main() -> None:
        time = virtual.VirtualClock()
        starts: list[float] = []

        async def loop() -> None:
            starts.append(round(time.monotonic(), 3))
            if len(starts) == 3:
                await time.sleep(100)
            raise ValueError("no luck")

        logging.getLogger(tasks.__name__).disabled = True
        async with tasks.Supervisor(time) as supervisor:
            supervisor.start("mostly lucky", loop)
            await time.advance(101)
        logging.getLogger(tasks.__name__).disabled = False
        assert starts[:4] == [0, 0.1, 0.3, 100.4]

    asyncio.run(main())


def test_leaving_cancels_and_awaits_everything() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def work(name: str) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        async with tasks.Supervisor(virtual.VirtualClock()) as supervisor:
            supervisor.start("loop", lambda: work("loop"))
            supervisor.spawn("once", work("once"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert sorted(ended) == ["loop", "once"]

    asyncio.run(main())


def test_an_error_of_work_done_once_is_logged_with_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def work() -> None:
            raise ValueError("no luck")

        async with tasks.Supervisor(virtual.VirtualClock()) as supervisor:
            await supervisor.spawn("errand", work())

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == ["errand failed"]


def test_what_is_waited_out_ends_before_the_cancellation_is_raised() -> None:
    async def main() -> None:
        may_end, trace = asyncio.Event(), []

        async def work() -> None:
            await may_end.wait()
            trace.append("ended")

        async def caller() -> None:
            try:
                await tasks.wait_out(work())
            finally:
                trace.append("left")

        task = asyncio.create_task(caller())
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        assert trace == []
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert trace == ["ended", "left"]

    asyncio.run(main())


def test_what_is_waited_out_gives_its_result_or_its_error() -> None:
    async def works() -> int:
        return 3

    async def fails() -> None:
        raise ValueError("no")

    assert asyncio.run(tasks.wait_out(works())) == 3
    with pytest.raises(ValueError, match="no"):
        asyncio.run(tasks.wait_out(fails()))
