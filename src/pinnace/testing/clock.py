"""A clock that moves only when a test moves it.

`advance` wakes sleepers one after the other in the order in which they are due, and lets everything that a wake-up sets in motion
come to rest before the next. Work in threads, on sockets and on disks is not part of that: it takes real time.
"""

import asyncio
import datetime
import heapq
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
# A chain of this many callbacks, each scheduled by the one before, counts as coming to rest.
SETTLING_TURNS = 100


class VirtualClock:
    """`kit.clock.Clock`."""

    def __init__(self, epoch: datetime.datetime = EPOCH) -> None:
        self._epoch = epoch
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = itertools.count()

    def monotonic(self) -> float:
        return self._elapsed

    def now(self) -> datetime.datetime:
        return self._epoch + datetime.timedelta(seconds=self._elapsed)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._sequence), woken))
        await woken

    def step(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator would."""
        self._epoch += datetime.timedelta(seconds=seconds)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        await settle()
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            await self._wake_next()
        self._elapsed = end

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, letting time pass whenever everything is at rest. Raises RuntimeError when nobody sleeps either."""
        task = asyncio.create_task(work)
        try:
            await settle()
            while not task.done():
                if not self._sleepers:
                    raise RuntimeError("everything is at rest and nothing will ever happen: a deadlock")
                await self._wake_next()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _wake_next(self) -> None:
        due, _, woken = heapq.heappop(self._sleepers)
        if woken.done():
            return
        self._elapsed = max(self._elapsed, due)
        woken.set_result(None)
        await settle()


async def settle() -> None:
    """Until all that can happen without time passing has happened."""
    for _ in range(SETTLING_TURNS):
        await asyncio.sleep(0)
