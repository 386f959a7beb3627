"""Whole components under virtual time, in one process.

`run(scenario)` gives `scenario` an event loop whose clock jumps to the next timer as soon as nothing is left to do: an hour
of retries takes milliseconds, in the same order every time. A scenario that would wait for ever fails at once.
"""

import asyncio
import datetime
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
RESOLUTION_SECONDS = 1e-6
# How long the loop really waits when nothing is due: another thread (a commit, say) may be about to answer.
PATIENCE_SECONDS = 5.0


class Stuck(Exception):
    """Nothing will ever happen again: no timer is due and nobody answers."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is not None:
            self.seconds += timeout
            return ready
        ready = super().select(PATIENCE_SECONDS)
        if not ready:
            raise Stuck(f"nothing is due after {self.seconds:.1f} virtual seconds")
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.seconds


class LoopClock:
    """A `clock.Clock` that follows the running loop's time, so that it is virtual inside `run`. Begins on 2026-01-01."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def now(self) -> datetime.datetime:
        return EPOCH + datetime.timedelta(seconds=self.monotonic())

    async def sleep(self, seconds: float) -> None:
        # Less than the loop's resolution would end before time has moved, and who waits for a moment would wait again, for ever.
        await asyncio.sleep(max(seconds, RESOLUTION_SECONDS) if seconds > 0 else seconds)


def run(scenario: Callable[[LoopClock], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(scenario(LoopClock()))


async def settle() -> None:
    """Returns once everything that can happen without time passing has happened."""
    await asyncio.sleep(1e-6)


async def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.05) -> None:
    """Let virtual time pass until `condition()` holds; AssertionError when it does not within `seconds`."""
    for _ in range(int(seconds / step) + 1):
        await settle()
        if condition():
            return
        await asyncio.sleep(step)
    raise AssertionError(f"still not so after {seconds} virtual seconds")
