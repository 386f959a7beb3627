"""A store that forgets everything when its process ends: for tests and throw-away clusters."""

from collections.abc import Sequence

from pinnace.kit import clock
from pinnace.store import base, interface, state


class MemoryStore(base.BaseStore):
    """Changes become visible at the next turn of the loop, so that its users meet the same interleavings as with a disk."""

    def __init__(self, stamp: interface.Stamp, time: clock.Clock, limits: state.HistoryLimits | None = None) -> None:
        """On a running event loop."""
        super().__init__(state.State(), stamp, time, limits or state.HistoryLimits())

    async def close(self) -> None:
        self._failure = interface.StoreFailed("the store is closed")
        self._hub.end(None)
        self._abandon(self._failure)

    def _maybe_commit(self) -> None:
        if len(self._queue) == 1:
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        changes, self._queue = self._queue, []
        self._publish(changes)
        target = self._state.plan_trim(self._limits, self._clock.monotonic())
        if target > self._state.oldest:
            self._state.trim(target)

    async def _forget(self, dropped: Sequence[interface.Event]) -> None:
        pass
