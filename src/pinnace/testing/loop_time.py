"""An event loop whose time a test holds in its hand: there is one time, the loop's, and whole clusters follow it.

    loop_time.run(scenario)                 # time jumps to the next timer as soon as nothing is left to do

An hour of retries takes milliseconds, in the same order every time. While time jumps, it does so only when nothing can run, no socket has
anything to say and no thread of the loop's executor is at work: their work takes no time at all. A scenario that would wait for ever
fails at once (`Stuck`).

A loop may also let time flow as it does for everybody (clients in other processes need that) and jump in between: `with loop.jumping():`.
"""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import datetime
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
RESOLUTION_SECONDS = 1e-6
LONG_WORK_SECONDS = 0.05
PATIENCE_SECONDS = 5.0
"""How long a loop that jumps really waits when nothing is due: a thread that is not its own may be about to answer."""


class Stuck(Exception):
    """Nothing will ever happen again: no timer is due and nobody answers."""


def _nothing() -> None:
    """Wakes the loop."""


def _no_pause() -> float:
    return 0.0


class _Selector(selectors.DefaultSelector):
    """Where the loop waits, and therefore where time passes."""

    def __init__(self, *, jumps: bool) -> None:
        super().__init__()
        self.is_jumping = jumps
        self.busy_threads = 0
        """Work that began while time flowed."""
        self.work: collections.deque[_Work] = collections.deque()
        """What began while time jumped, in its order."""
        self.pause: Callable[[], float] = _no_pause
        self._began = time.monotonic()
        self._seconds = 0.0
        """While jumping: the time. Else: the time when it began to flow, at `_began`."""

    def now(self) -> float:
        return self._seconds if self.is_jumping else self._seconds + time.monotonic() - self._began

    def set_jumping(self, jumps: bool) -> None:
        self._seconds = self.now()
        self._began = time.monotonic()
        self.is_jumping = jumps

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self.is_jumping:
            return super().select(timeout)
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.work:
            return self._wait_oldest()
        if self.busy_threads:
            return super().select(PATIENCE_SECONDS)
        pause = self.pause()
        if pause:
            ready = super().select(pause)
        if ready:
            return ready
        if timeout is not None:
            self._seconds += timeout
            return ready
        ready = super().select(PATIENCE_SECONDS)
        if not ready:
            raise Stuck(f"nothing is due after {self._seconds:.1f} virtual seconds")
        return ready

    def _wait_oldest(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Answers come in the order of the questions, so that threads are no dice; but one that works for long holds nobody up."""
        done = self.work[0] if self.work[0].thread.done() else None
        if done is None:
            ready = super().select(LONG_WORK_SECONDS)
            if ready:
                return ready
            done = next((each for each in self.work if each.thread.done()), None)
        if done is not None:
            self.work.remove(done)
            done.answer()
        return []


@dataclasses.dataclass(slots=True, eq=False)
class _Work:
    """Of a thread of the executor."""

    thread: concurrent.futures.Future[Any]
    future: asyncio.Future[Any]

    def answer(self) -> None:
        if self.future.done():
            return
        error = self.thread.exception()
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(self.thread.result())


class Loop(asyncio.SelectorEventLoop):
    """`jumps`: whether it begins by jumping. It begins at 0 seconds."""

    def __init__(self, *, jumps: bool = False) -> None:
        self._times = _Selector(jumps=jumps)
        super().__init__(self._times)
        self._threads = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="asyncio")
        self.set_default_executor(self._threads)

    def time(self) -> float:
        return self._times.now()

    @property
    def is_jumping(self) -> bool:
        return self._times.is_jumping

    @contextlib.contextmanager
    def jumping(self, jumps: bool = True) -> Iterator[None]:
        """Inside, time jumps (or flows)."""
        before = self._times.is_jumping
        self._set_jumping(jumps)
        try:
            yield
        finally:
            self._set_jumping(before)

    def _set_jumping(self, jumps: bool) -> None:
        self._times.set_jumping(jumps)
        while not jumps and self._times.work:
            work = self._times.work.popleft()
            work.thread.add_done_callback(lambda _, work=work: self._tell(work.answer))  # type: ignore[misc]

    def set_pause(self, pause: Callable[[], float]) -> None:
        """Before each jump `pause()` real seconds are granted to others (clients at sockets) to say something."""
        self._times.pause = pause

    def run_in_executor(  # type: ignore[override]
        self, executor: concurrent.futures.Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As always; time does not jump before the answer is here, nor, when nobody waits for it any more, before the thread is free."""
        thread = (executor or self._threads).submit(func, *args)
        return self._in_order(thread) if self._times.is_jumping else self._counted(thread)

    def _in_order(self, thread: concurrent.futures.Future[Any]) -> asyncio.Future[Any]:
        work = _Work(thread, self.create_future())
        work.future.add_done_callback(lambda ended: ended.cancelled() and thread.cancel())
        self._times.work.append(work)
        thread.add_done_callback(lambda _: self._tell(_nothing))
        return work.future

    def _counted(self, thread: concurrent.futures.Future[Any]) -> asyncio.Future[Any]:
        self._times.busy_threads += 1
        future = asyncio.wrap_future(thread, loop=self)

        def on_done(ended: asyncio.Future[Any]) -> None:
            if ended.cancelled():
                thread.add_done_callback(lambda _: self._tell(self._thread_ended))
            else:
                self._thread_ended()

        future.add_done_callback(on_done)
        return future

    def _tell(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # closed: nobody waits for time any more
            self.call_soon_threadsafe(what)

    def _thread_ended(self) -> None:
        self._times.busy_threads -= 1


class LoopClock:
    """A `clock.Clock` that follows its loop's time; the wall clock is derived from that and begins at `epoch`."""

    def __init__(self, epoch: datetime.datetime = EPOCH, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop`: the running one unless given."""
        self._loop = loop or asyncio.get_running_loop()
        self._epoch = epoch

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime.datetime:
        return self._epoch + datetime.timedelta(seconds=self.monotonic())

    def step(self, seconds: float) -> None:
        """Move the wall clock alone, as an administrator would."""
        self._epoch += datetime.timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        # Less than the loop's resolution would end before time has moved, and who waits for a moment would wait again, for ever.
        await asyncio.sleep(max(seconds, RESOLUTION_SECONDS) if seconds > 0 else seconds)


def run(scenario: Callable[[LoopClock], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=lambda: Loop(jumps=True)) as runner:
        return runner.run(scenario(LoopClock(loop=runner.get_loop())))


async def settle() -> None:
    """Returns once everything that can happen without time passing has happened."""
    await asyncio.sleep(RESOLUTION_SECONDS)


async def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.05) -> None:
    """Let virtual time pass until `condition()` holds; AssertionError when it does not within `seconds`."""
    for _ in range(int(seconds / step) + 1):
        await settle()
        if condition():
            return
        await asyncio.sleep(step)
    raise AssertionError(f"still not so after {seconds} virtual seconds")
