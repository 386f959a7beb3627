"""A queue of keys, each handled by one worker at a time.

Guarantees: a key that is added while it waits is there once; a key that is added while it is being handled is
handled again afterwards; failures of one key delay that key alone.
"""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from pinnace.kit import backoff, clock, waiting

K = TypeVar("K", bound=Hashable)

DEFAULT_BACKOFF = backoff.Backoff(first=0.005, limit=60.0)


class WorkQueue(Generic[K]):
    def __init__(self, time: clock.Clock, retry: backoff.Backoff = DEFAULT_BACKOFF) -> None:
        self._clock = time
        self._retry = retry
        self._ready: deque[K] = deque()
        self._dirty: set[K] = set()
        self._active: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._sequence = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def is_idle(self) -> bool:
        """Nothing waits, nothing is being handled, nothing is due later."""
        return not (self._ready or self._active or self._due)

    def add(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._active:
            self._ready.append(key)
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Add `key` once `seconds` have passed; of several such calls the earliest holds."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._sequence), key))
        self._changed.set()

    def retry(self, key: K) -> float:
        """Handling failed: add `key` again after its own back-off. Returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = self._retry.delay(failures)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Handling succeeded: the next failure counts as the first."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key; the caller must call `done(key)` afterwards, whatever happened."""
        while True:
            self._collect_due()
            if self._ready:
                key = self._ready.popleft()
                self._dirty.discard(key)
                self._active.add(key)
                return key
            self._changed.clear()
            await self._wait_changed_or_due()

    def done(self, key: K) -> None:
        self._active.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._changed.set()

    def _collect_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    async def _wait_changed_or_due(self) -> None:
        due = self._heap[0][0] - self._clock.monotonic() if self._heap else None
        await waiting.wait_event(self._changed, self._clock, due)
