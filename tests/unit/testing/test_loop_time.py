"""The loop whose time a test holds: it jumps only when nothing can happen without time passing."""

import asyncio
import socket
import threading
import time

import pytest

from pinnace.testing import loop_time


def test_an_hour_takes_no_time_and_every_timer_is_met_on_the_way() -> None:
    async def scenario(clock: loop_time.LoopClock) -> list[float]:
        seen: list[float] = []
        loop = asyncio.get_running_loop()
        for due in (1800, 1, 59.5):
            loop.call_later(due, lambda: seen.append(round(clock.monotonic(), 3)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        assert (clock.now() - loop_time.EPOCH).total_seconds() == pytest.approx(3600)
        return seen

    assert loop_time.run(scenario) == [1, 59.5, 1800]


def test_time_stands_still_while_a_thread_works() -> None:
    async def scenario(clock: loop_time.LoopClock) -> None:
        release = threading.Event()
        done: list[float] = []

        async def work() -> None:
            await asyncio.to_thread(release.wait, 30)
            done.append(clock.monotonic())

        working = asyncio.create_task(work())
        late = asyncio.create_task(asyncio.sleep(1000))
        # Real time, not the loop's: the thread is let go by another one.
        threading.Timer(0.02, release.set).start()
        await working
        assert done == [0.0]
        late.cancel()

    loop_time.run(scenario)


def test_time_stands_still_for_a_thread_that_nobody_waits_for_any_more() -> None:
    async def scenario(clock: loop_time.LoopClock) -> None:
        begun, release, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            release.wait(30)
            ended.set()

        task = asyncio.create_task(asyncio.to_thread(work))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        threading.Timer(0.02, release.set).start()
        await asyncio.sleep(1000)
        assert ended.is_set()

    loop_time.run(scenario)


def test_what_sockets_say_comes_before_the_next_timer() -> None:
    async def scenario(clock: loop_time.LoopClock) -> None:
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        loop = asyncio.get_running_loop()
        with here, there:
            loop.call_later(5, lambda: None)
            await loop.sock_sendall(here, b"x")
            assert await loop.sock_recv(there, 1) == b"x"
            assert clock.monotonic() == 0.0

    loop_time.run(scenario)


def test_what_waits_for_ever_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_time, "PATIENCE_SECONDS", 0.01)

    async def scenario(clock: loop_time.LoopClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(loop_time.Stuck, match="nothing is due"):
        loop_time.run(scenario)


def test_time_flows_jumps_and_flows_on_without_a_step_back() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, loop_time.Loop)
        before, real = loop.time(), time.monotonic()
        with loop.jumping():
            await asyncio.sleep(600)
        jumped = loop.time() - before
        assert 600 <= jumped < 600 + (time.monotonic() - real) + 1
        await asyncio.sleep(0.001)
        assert loop.time() - before > jumped
        assert not loop.is_jumping

    with asyncio.Runner(loop_factory=loop_time.Loop) as runner:
        runner.run(scenario())


def test_the_wall_clock_follows_the_loop_and_can_be_set() -> None:
    async def scenario(clock: loop_time.LoopClock) -> None:
        await clock.sleep(90)
        assert (clock.now() - loop_time.EPOCH).total_seconds() == 90
        clock.step(-3600)
        assert (clock.now() - loop_time.EPOCH).total_seconds() == 90 - 3600
        assert clock.monotonic() == 90

    loop_time.run(scenario)
