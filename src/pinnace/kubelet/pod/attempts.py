"""The tasks of one pod: at most one per key, each owned, each failure remembered so that its next try waits."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pinnace.kit import clock, tasks
from pinnace.kubelet.pod import backoffs, steps


@dataclasses.dataclass(frozen=True, slots=True)
class Later:
    """It failed for a reason that a delay which grows without end does not fit."""

    at_most: float
    """Seconds until the next try."""
    at_least: float = 0.0


class Attempts:
    def __init__(self, owner: str, supervisor: tasks.Supervisor, time: clock.Clock, on_end: Callable[[], None]) -> None:
        """`on_end` is called after the end of each task."""
        self.retry_at: dict[steps.StepKey, float] = {}
        """Key -> when it may be tried again after a failure."""
        self._owner = owner
        self._supervisor = supervisor
        self._clock = time
        self._on_end = on_end
        self._tasks: dict[steps.StepKey, asyncio.Task[None]] = {}
        self._failures: dict[steps.StepKey, int] = {}

    def __contains__(self, key: steps.StepKey) -> bool:
        return key in self._tasks

    @property
    def keys(self) -> frozenset[steps.StepKey]:
        return frozenset(self._tasks)

    def has(self, kind: steps.Kind) -> bool:
        return any(key.kind is kind for key in self._tasks)

    def launch(self, key: steps.StepKey, work: Coroutine[Any, Any, None]) -> None:
        """Own `work` under `key`; another one of that key is given up first."""
        old = self._tasks.pop(key, None)
        if old is not None:
            old.cancel()
        task = self._supervisor.spawn(f"{key} of {self._owner}", work)
        self._tasks[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]
            self._on_end()

        task.add_done_callback(ended)

    def attempt(self, key: steps.StepKey, work: Callable[[], Awaitable[bool | Later]]) -> None:
        """Launch `work`, which returns whether it succeeded; a failure, also an unknown one, delays the next try."""
        self.launch(key, self._attempt(key, work))

    async def _attempt(self, key: steps.StepKey, work: Callable[[], Awaitable[bool | Later]]) -> None:
        outcome: bool | Later = False
        try:
            outcome = await work()
        finally:
            if outcome is True:
                self._failures.pop(key, None)
                self.retry_at.pop(key, None)
            else:
                failures = self._failures.get(key, 0)
                self._failures[key] = failures + 1
                delay = backoffs.RETRY.delay(failures)
                if isinstance(outcome, Later):
                    delay = min(max(delay, outcome.at_least), outcome.at_most)
                self.retry_at[key] = self._clock.monotonic() + delay

    def allow_retry(self, *kinds: steps.Kind) -> None:
        """What failed may be tried again at once: its reason may be gone."""
        for key in [key for key in self.retry_at if key.kind in kinds]:
            del self.retry_at[key]

    def cancel_needless(self) -> None:
        """The pod is to stop."""
        for key, task in list(self._tasks.items()):
            if key.kind.is_needless_while_stopping:
                task.cancel()
