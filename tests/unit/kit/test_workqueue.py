"""One worker at a time for each key, no key lost, failures of one key delay that key alone."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st

from pinnace.kit import backoff, workqueue
from pinnace.testing import clock as virtual

Scenario = Callable[["workqueue.WorkQueue[str]", virtual.VirtualClock], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def main() -> None:
        time = virtual.VirtualClock()
        await scenario(workqueue.WorkQueue(time, backoff.Backoff(first=1, limit=100)), time)

    asyncio.run(main())


def test_a_key_that_waits_is_there_once() -> None:
    async def scenario(queue: "workqueue.WorkQueue[str]", _: virtual.VirtualClock) -> None:
        for key in ("a", "b", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    run(scenario)


def test_a_key_that_is_added_while_it_is_handled_is_handled_again_afterwards() -> None:
    async def scenario(queue: "workqueue.WorkQueue[str]", _: virtual.VirtualClock) -> None:
        queue.add("a")
        await queue.get()
        queue.add("a")
        assert len(queue) == 0, "no second worker may have it now"
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert queue.is_idle

    run(scenario)


def test_a_key_comes_when_it_is_due_and_the_earliest_holds() -> None:
    async def scenario(queue: "workqueue.WorkQueue[str]", time: virtual.VirtualClock) -> None:
        getter = asyncio.create_task(queue.get())
        queue.add_after("a", 5)
        queue.add_after("a", 2)
        queue.add_after("a", 9)
        await time.advance(1.9)
        assert not getter.done()
        await time.advance(0.2)
        assert await getter == "a"
        queue.done("a")
        await time.advance(20)
        assert queue.is_idle, "the later calls were the same request"

    run(scenario)


def test_failures_delay_only_their_own_key_and_success_forgets_them() -> None:
    async def scenario(queue: "workqueue.WorkQueue[str]", time: virtual.VirtualClock) -> None:
        assert [queue.retry("a") for _ in range(3)] == [1, 2, 4]
        assert queue.retry("b") == 1
        queue.forget("a")
        assert queue.retry("a") == 1
        queue.add("c")
        assert await queue.get() == "c"

    run(scenario)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), max_size=30), st.integers(1, 4))
def test_no_key_is_lost_and_none_is_handled_twice_at_once(adds: list[tuple[str, float]], workers: int) -> None:
    async def scenario(queue: "workqueue.WorkQueue[str]", time: virtual.VirtualClock) -> None:
        active: set[str] = set()
        handled_at: dict[str, float] = {}
        added_at: dict[str, float] = {}

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in active
                active.add(key)
                handled_at[key] = time.monotonic()
                await time.sleep(0.5)
                active.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for key, pause in adds:
            queue.add(key)
            added_at[key] = time.monotonic()
            await time.advance(pause)
        await time.advance(60)
        assert queue.is_idle
        for key, moment in added_at.items():
            assert handled_at[key] >= moment, "the last addition was followed by a handling"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(scenario)
