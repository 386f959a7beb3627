"""One timer for all that is open for long (watches): a second's precision, one wake-up however many there are."""

import asyncio
from collections.abc import Callable

from pinnace.kit import clock

TICK_SECONDS = 1.0


class Ticker:
    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._due: dict[object, tuple[float, Callable[[], None]]] = {}
        self._some = asyncio.Event()

    def set(self, owner: object, deadline: float, ring: Callable[[], None]) -> None:
        """Call `ring` once, at the first tick after `deadline` (monotonic). One deadline for each owner: a later call replaces it."""
        self._due[owner] = (deadline, ring)
        self._some.set()

    def drop(self, owner: object) -> None:
        self._due.pop(owner, None)

    async def run(self) -> None:
        while True:
            await self.tick()

    async def tick(self) -> None:
        """Wait until something is due, and ring it."""
        if not self._due:
            self._some.clear()
            await self._some.wait()
        await self._clock.sleep(TICK_SECONDS)
        now = self._clock.monotonic()
        for owner, (deadline, ring) in list(self._due.items()):
            if deadline <= now:
                del self._due[owner]
                ring()
