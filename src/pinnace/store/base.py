"""What all stores share: optimistic checks, order of revisions, visibility, answers. A store adds only how a change becomes durable.

On the event loop alone. A change is checked against the visible state, gets its revision and its stamp, and waits until `_commit` has
made it durable; a second change of a key whose first is still on its way waits for the first and is then checked against what that
left, so a batch on its way to the disk never fails for a reason of the caller's.
"""

import abc
import asyncio
import dataclasses
from collections.abc import Sequence

from pinnace.kit import clock
from pinnace.store import interface, state, watch


@dataclasses.dataclass(slots=True, eq=False)
class Change:
    """A change on its way to the disk."""

    event: interface.Event
    answer: asyncio.Future[interface.Event]
    waiters: list[asyncio.Future[None]] = dataclasses.field(default_factory=list)
    """Changes of the same key that wait for this one."""
    is_last: bool = True
    """Of its transaction: between two changes of one no batch ends."""


class BaseStore(abc.ABC):
    """`interface.Store`, but for the way to the disk."""

    def __init__(
        self, current: state.State, stamp: interface.Stamp, time: clock.Clock, limits: state.HistoryLimits
    ) -> None:
        self._state = current
        self._stamp = stamp
        self._clock = time
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._hub = watch.Hub(current)
        self._next_revision = current.revision + 1
        self._pending: dict[str, Change] = {}
        self._queue: list[Change] = []
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._trouble = ""
        self._failure: interface.StoreFailed | None = None
        self._failed: asyncio.Future[interface.StoreFailed] = self._loop.create_future()

    @property
    def revision(self) -> int:
        return self._state.revision

    @property
    def oldest_revision(self) -> int:
        return self._state.oldest

    @property
    def trouble(self) -> str:
        return self._trouble

    async def create(self, key: str, value: bytes) -> interface.Record:
        await self._wait_settled(key)
        current = self._state.records.get(key)
        if current is not None:
            raise interface.KeyExists(key, current)
        revision = self._next_revision
        record = interface.Record(key, self._stamp(value, revision), revision, revision)
        await self._enqueue(interface.Event(revision, key, record, None))
        return record

    async def update(self, key: str, value: bytes, expected_revision: int) -> interface.Record:
        await self._wait_settled(key)
        current = self._expect(key, expected_revision)
        revision = self._next_revision
        record = interface.Record(key, self._stamp(value, revision), current.create_revision, revision)
        await self._enqueue(interface.Event(revision, key, record, current))
        return record

    async def delete(self, key: str, expected_revision: int | None = None) -> interface.Event:
        await self._wait_settled(key)
        current = self._expect(key, expected_revision)
        return await self._enqueue(self._deletion(current))

    async def transact(self, writes: Sequence[interface.Write]) -> Sequence[interface.Event]:
        await self._wait_all_settled([write.key for write in writes])
        present = [self._expected(write) for write in writes]
        # Checked as a whole; from here on nothing waits before all are queued.
        answer: asyncio.Future[interface.Event] = self._loop.create_future()
        events: list[interface.Event] = []
        for write, current in zip(writes, present, strict=True):
            event = self._event(write, current)
            self._enqueue(event, answer, is_last=len(events) == len(writes) - 1)
            events.append(event)
        if events:
            await answer
        return events

    def _expected(self, write: interface.Write) -> interface.Record | None:
        if write.expected_revision:
            return self._expect(write.key, write.expected_revision)
        current = self._state.records.get(write.key)
        if current is not None:
            raise interface.KeyExists(write.key, current)
        return None

    def _event(self, write: interface.Write, current: interface.Record | None) -> interface.Event:
        """At the next revision."""
        if write.value is None:
            if current is None:
                raise interface.KeyMissing(write.key)
            return self._deletion(current)
        revision = self._next_revision
        created = current.create_revision if current is not None else revision
        record = interface.Record(write.key, self._stamp(write.value, revision), created, revision)
        return interface.Event(revision, write.key, record, current)

    def _deletion(self, current: interface.Record) -> interface.Event:
        revision = self._next_revision
        return interface.Event(revision, current.key, None, current, self._stamp(current.value, revision))

    def get(self, key: str, *, at: int = 0) -> interface.Record | None:
        self._raise_if_failed()
        return self._state.get(key, at) if at else self._state.records.get(key)

    async def wait_revision(self, revision: int) -> None:
        self._raise_if_failed()
        if revision <= self._state.revision:
            return
        reached: asyncio.Future[None] = self._loop.create_future()
        entry = (revision, reached)
        self._awaited.append(entry)
        try:
            await reached
        finally:
            if entry in self._awaited:
                self._awaited.remove(entry)

    async def wait_current(self) -> int:
        """One process writes and shows at once what it answers."""
        self._raise_if_failed()
        return self._state.revision

    async def range_of_past(self, prefix: str, revision: int) -> Sequence[interface.Record]:
        return self.range(prefix, revision=revision).records

    def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> interface.Page:
        self._raise_if_failed()
        return self._state.range(prefix, after, limit, revision)

    def count(self, prefix: str) -> int:
        self._raise_if_failed()
        return self._state.count(prefix)

    def watch(self, prefix: str, after_revision: int, *, max_bytes: int = 8 << 20) -> interface.Watch:
        self._raise_if_failed()
        return self._hub.open(prefix, after_revision, max_bytes)

    async def compact(self, revision: int) -> None:
        self._raise_if_failed()
        if revision > self._state.revision:
            raise interface.FutureRevision(revision, self._state.revision)
        if revision > self._state.oldest:
            await self._forget(self._state.trim(revision))

    async def wait_failed(self) -> interface.StoreFailed:
        return await asyncio.shield(self._failed)

    @abc.abstractmethod
    async def close(self) -> None: ...

    @abc.abstractmethod
    def _maybe_commit(self) -> None:
        """Called when something was queued. Later, `_publish` must be called with what was taken off the queue, in order."""

    @abc.abstractmethod
    async def _forget(self, dropped: Sequence[interface.Event]) -> None:
        """These changes have left the history in memory."""

    async def _wait_settled(self, key: str) -> None:
        """Until no change of `key` is on its way; then nothing may await before the next one is queued."""
        while (change := self._pending.get(key)) is not None:
            settled = self._loop.create_future()
            change.waiters.append(settled)
            await settled
        self._raise_if_failed()

    async def _wait_all_settled(self, keys: Sequence[str]) -> None:
        """The same for several: one that has settled may have been changed again while another was waited for."""
        while any(key in self._pending for key in keys):
            for key in keys:
                await self._wait_settled(key)
        self._raise_if_failed()

    def _expect(self, key: str, revision: int | None) -> interface.Record:
        current = self._state.records.get(key)
        if current is None:
            raise interface.KeyMissing(key)
        if revision is not None and revision != current.mod_revision:
            raise interface.RevisionMismatch(key, revision, current)
        return current

    def _enqueue(
        self, event: interface.Event, answer: asyncio.Future[interface.Event] | None = None, *, is_last: bool = True
    ) -> asyncio.Future[interface.Event]:
        self._next_revision += 1
        change = Change(event, answer or self._loop.create_future(), is_last=is_last)
        self._pending[event.key] = change
        self._queue.append(change)
        self._maybe_commit()
        return change.answer

    def _publish(self, changes: Sequence[Change]) -> None:
        """These are durable: show them to readers, then to watchers, then answer."""
        self._trouble = ""
        for change in changes:
            self._state.apply(change.event)
            del self._pending[change.event.key]
        self._state.mark_time(self._clock.monotonic())
        self._hub.publish([change.event for change in changes])
        for change in changes:
            if not change.answer.done():
                change.answer.set_result(change.event)
            _wake(change.waiters)
        self._tell_reached()

    def _tell_reached(self) -> None:
        if not self._awaited:
            return
        reached = [future for revision, future in self._awaited if revision <= self._state.revision]
        self._awaited = [entry for entry in self._awaited if entry[0] > self._state.revision]
        _wake(reached)

    def _refuse(self, changes: Sequence[Change], error: interface.NoSpace) -> None:
        """These could not be made durable. Whatever was queued behind them carries later revisions and goes with them; theirs were
        never seen and are given out again."""
        refused, self._queue = [*changes, *self._queue], []
        self._next_revision = self._state.revision + 1
        self._trouble = str(error)
        for change in refused:
            del self._pending[change.event.key]
        for change in refused:
            if not change.answer.done():
                change.answer.set_exception(error)
            _wake(change.waiters)

    def _fail(self, error: interface.StoreFailed) -> None:
        """Nothing is served any more: what is on its way, what comes later and all watches end with `error`."""
        if self._failure is not None:
            return
        self._failure = error
        self._failed.set_result(error)
        self._hub.end(error)
        self._abandon(error)

    def _abandon(self, error: interface.StoreFailed) -> None:
        for _, future in self._awaited:
            if not future.done():
                future.set_exception(error)
        self._awaited.clear()
        pending, self._pending = self._pending, {}
        self._queue.clear()
        for change in pending.values():
            if not change.answer.done():
                change.answer.set_exception(error)
            _wake(change.waiters)

    def _raise_if_failed(self) -> None:
        if self._failure is not None:
            raise self._failure


def _wake(waiters: Sequence[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
