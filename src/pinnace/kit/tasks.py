"""Tasks that always have an owner.

A `Supervisor` owns the long-running loops of a component. A loop that returns or raises is started again after a
back-off and its error is logged with its name: no orphan task, no error that nobody sees. The one broad `except` of the
project lives here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pinnace.kit import backoff, clock

log = logging.getLogger(__name__)

T = TypeVar("T")

RESTART = backoff.Backoff(first=0.1, limit=10.0)
# A loop that ran this long is healthy again: its next failure counts as the first.
HEALTHY_AFTER_SECONDS = 30.0


async def wait_out(work: Awaitable[T]) -> T:
    """Await `work` to its end, whoever cancels the caller: what cannot be stopped halfway (a thread) is not left alone. The
    cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # seen: the cancellation matters more
    raise cancelled


class Supervisor:
    """Use as `async with Supervisor(clock) as supervisor: supervisor.start("name", loop)`; leaving cancels and awaits all."""

    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._tasks: dict[asyncio.Task[None], None] = {}
        """In the order in which they were started, and are stopped."""
        self._failing: set[str] = set()

    def is_failing(self, name: str) -> bool:
        """Whether the loop of that name has failed and waits to be started again."""
        return name in self._failing

    async def __aenter__(self) -> "Supervisor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self, name: str, loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `loop()` for ever: restarted with back-off when it raises or returns. The caller may cancel the task."""
        return self._own(self._keep_running(name, loop), name)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` once; an error is logged. The task may be cancelled by the caller."""
        task = self._own(self._run_once(name, work), name)
        # A task that is cancelled before its first step never gets to await it.
        task.add_done_callback(lambda _: work.close())
        return task

    async def stop(self) -> None:
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))
        return task

    async def _run_once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("%s failed", name)

    async def _keep_running(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            started = self._clock.monotonic()
            self._failing.discard(name)
            try:
                await loop()
                log.error("%s returned; it should run for ever", name)
            except Exception:
                log.exception("%s failed", name)
            if self._clock.monotonic() - started > HEALTHY_AFTER_SECONDS:
                failures = 0
            self._failing.add(name)
            await self._clock.sleep(RESTART.delay(failures))
            failures += 1
