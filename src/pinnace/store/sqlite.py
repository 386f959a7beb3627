"""The durable store: memory answers reads, a revision log in SQLite makes changes durable.

The loop collects changes; one thread owns the database and writes everything that was collected while the previous commit was on
its way as the next transaction. Compaction rides in the same transactions, a few rows at a time, so that it costs writers no
wait of its own.
"""

import asyncio
import dataclasses
import logging
import math
import pathlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from pinnace.kit import clock
from pinnace.store import base, database, interface, state

log = logging.getLogger(__name__)

MAX_BATCH = 1024
"""Changes in one transaction."""
DROPS_PER_COMMIT = 64
DROPS_PER_IDLE_COMMIT = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    history: state.HistoryLimits = dataclasses.field(default_factory=state.HistoryLimits)
    file: database.Settings = dataclasses.field(default_factory=database.Settings)
    past_seconds: float = 0.0
    """How much longer than memory the disk remembers the past, for `range_of_past`. Costs disk: every change of that time."""
    housekeeping_seconds: float = 30.0
    """How often an idle store looks for history that has become too old."""


DEFAULT = Settings()


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    changes: Sequence[base.Change] = ()
    drops: Sequence["_Drop"] = ()
    vacuum: bool = False

    @property
    def dropped(self) -> list[int]:
        """Rows to delete."""
        return [row for drop in self.drops for row in drop.rows]

    @property
    def compacted(self) -> int:
        """The revision up to which history is gone then; 0: as before."""
        return self.drops[-1].revision if self.drops else 0


@dataclasses.dataclass(slots=True)
class _Drop:
    """Rows that history no longer needs, up to the change at `revision`."""

    revision: int
    rows: tuple[int, ...]
    since: float
    """When memory let go of it (monotonic seconds)."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Question:
    """A look into the past, for the thread that owns the database."""

    prefix: str
    revision: int
    answer: asyncio.Future[list[interface.Record]]


class SqliteStore(base.BaseStore):
    def __init__(
        self,
        current: state.State,
        file: database.Database,
        stamp: interface.Stamp,
        time: clock.Clock,
        settings: Settings = DEFAULT,
    ) -> None:
        """On a running event loop; `open_store` is the usual way."""
        super().__init__(current, stamp, time, settings.history)
        self._settings = settings
        self._writer = _Writer(file, self._loop, self._on_done, self._on_refused, self._on_failure)
        self._is_writing = False
        self._is_scheduled = False
        self._wants_vacuum = False
        self._drops: deque[_Drop] = deque()
        self._compaction_waiters: list[tuple[int, asyncio.Future[None]]] = []
        current.mark_time(time.monotonic())
        # A disk that remembers more than memory may was read whole.
        self._maybe_trim()
        self._housekeeper = self._loop.create_task(self._keep_house(), name="store housekeeping")

    async def close(self) -> None:
        """Waits for the commit that is on its way; changes that have not begun to be written fail."""
        if self._failure is None:
            self._failure = interface.StoreFailed("the store is closed")
            self._hub.end(None)
        self._housekeeper.cancel()
        await self._writer.close()
        self._abandon(self._failure)
        self._fail_compactions(self._failure)

    async def range_of_past(self, prefix: str, revision: int) -> Sequence[interface.Record]:
        self._raise_if_failed()
        if revision >= self._state.oldest:
            return await super().range_of_past(prefix, revision)
        answer: asyncio.Future[list[interface.Record]] = self._loop.create_future()
        self._writer.ask(_Question(prefix, revision, answer))
        return await answer

    def _maybe_commit(self) -> None:
        # At the end of this turn of the loop: whatever else the turn queues shares the transaction.
        if not self._is_writing and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._start_next)

    def _start_next(self) -> None:
        self._is_scheduled = False
        if self._is_writing or self._failure is not None:
            return
        changes = self._take_changes()
        # At least twice as many rows go as come, so that compaction never falls behind.
        limit = max(DROPS_PER_COMMIT, 2 * len(changes)) if changes else DROPS_PER_IDLE_COMMIT
        drops = self._take_drops(limit)
        if not changes and not drops and not self._wants_vacuum:
            return
        self._is_writing = True
        self._writer.start(_Job(changes, drops, vacuum=not changes and not drops))

    def _take_changes(self) -> Sequence[base.Change]:
        """At most `MAX_BATCH`, or as many as the transaction has in which that would end."""
        end = MAX_BATCH
        while end < len(self._queue) and not self._queue[end - 1].is_last:
            end += 1
        changes, self._queue = self._queue[:end], self._queue[end:]
        return changes

    def _on_done(self, job: _Job, has_more_to_vacuum: bool) -> None:
        self._is_writing = False
        if job.vacuum or job.compacted:
            self._wants_vacuum = bool(job.compacted) or has_more_to_vacuum
        # First give the thread its next work, then do ours beside it.
        self._start_next()
        if job.changes:
            if self._trouble:
                log.warning("the disk has room again: changes are taken")
            self._publish(job.changes)
        if job.compacted:
            self._note_compacted(job.compacted)
        self._maybe_trim()

    def _on_refused(self, job: _Job, error: interface.NoSpace) -> None:
        """What was to be forgotten waits for the next commit; nothing is tried until somebody wants something written."""
        if not self._trouble:
            log.error("changes are refused until there is room again: %s", error)
        self._is_writing = False
        self._drops.extendleft(reversed(job.drops))
        self._refuse(job.changes, error)
        self._fail_compactions(error)

    def _on_failure(self, error: interface.StoreFailed) -> None:
        log.critical("the store stops: %s", error)
        self._fail(error)
        self._fail_compactions(error)

    def _fail_compactions(self, error: interface.StoreError) -> None:
        waiters, self._compaction_waiters = self._compaction_waiters, []
        for _, waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _maybe_trim(self) -> None:
        target = self._state.plan_trim(self._limits, self._clock.monotonic())
        if target > self._state.oldest:
            self._queue_drops(self._state.trim(target))

    def _queue_drops(self, events: Sequence[interface.Event]) -> None:
        now = self._clock.monotonic()
        for event in events:
            superseded = (event.previous.mod_revision,) if event.previous is not None else ()
            own = (event.revision,) if event.record is None else ()
            self._drops.append(_Drop(event.revision, superseded + own, now))
        self._maybe_commit()

    def _take_drops(self, limit: int) -> list[_Drop]:
        """For the next commit: about `limit` rows."""
        taken: list[_Drop] = []
        rows, latest = 0, self._clock.monotonic() - self._settings.past_seconds
        # A change that superseded nothing costs no row, but a look all the same.
        for _ in range(min(len(self._drops), 4 * limit)):
            if rows >= limit or self._drops[0].since > latest:
                break
            taken.append(self._drops.popleft())
            rows += len(taken[-1].rows)
        return taken

    async def _forget(self, dropped: Sequence[interface.Event]) -> None:
        self._queue_drops(dropped)
        for drop in self._drops:
            drop.since = -math.inf  # Now, however long the disk would have remembered.
        waiter = self._loop.create_future()
        self._compaction_waiters.append((dropped[-1].revision, waiter))
        await waiter

    def _note_compacted(self, revision: int) -> None:
        for target, waiter in self._compaction_waiters:
            if target <= revision and not waiter.done():
                waiter.set_result(None)
        self._compaction_waiters = [entry for entry in self._compaction_waiters if not entry[1].done()]

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(self._settings.housekeeping_seconds)
            self._state.mark_time(self._clock.monotonic())
            self._maybe_trim()
            if self._drops:
                self._maybe_commit()


async def open_store(
    path: pathlib.Path,
    stamp: interface.Stamp,
    time: clock.Clock,
    settings: Settings = DEFAULT,
    *,
    vfs: str | None = None,
) -> SqliteStore:
    """Open or create the database at `path` and read it. Raises StoreFailed: in use, damaged, or not to be opened."""

    def load() -> tuple[database.Database, state.State]:
        file = database.Database(path, settings.file, vfs=vfs)
        try:
            return file, file.load(stamp)
        except BaseException:
            file.close()
            raise

    file, current = await asyncio.to_thread(load)
    return SqliteStore(current, file, stamp, time, settings)


class _Writer:
    """The thread that owns the database. It is handed one job at a time and reports its end on the loop."""

    def __init__(
        self,
        file: database.Database,
        loop: asyncio.AbstractEventLoop,
        on_done: Callable[[_Job, bool], None],
        on_refused: Callable[[_Job, interface.NoSpace], None],
        on_failure: Callable[[interface.StoreFailed], None],
    ) -> None:
        self._database = file
        self._loop = loop
        self._on_done = on_done
        self._on_refused = on_refused
        self._on_failure = on_failure
        self._jobs: queue.SimpleQueue[_Job | _Question | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store writer", daemon=True)
        self._thread.start()

    def start(self, job: _Job) -> None:
        self._jobs.put(job)

    def ask(self, question: _Question) -> None:
        self._jobs.put(question)

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                if isinstance(job, _Question):
                    self._look_up(job)
                else:
                    self._handle(job)
            self._database.close()
        except interface.StoreFailed as error:
            self._loop.call_soon_threadsafe(self._on_failure, error)
        except BaseException as error:
            # Whatever ends this thread, nobody may wait for it for ever.
            died = interface.StoreFailed(f"the store's writer died: {error!r}")
            self._loop.call_soon_threadsafe(self._on_failure, died)
            raise

    def _look_up(self, question: _Question) -> None:
        try:
            found = self._database.read_past(question.prefix, question.revision)
        except interface.StoreError as error:
            self._loop.call_soon_threadsafe(_settle, question.answer, None, error)
            if isinstance(error, interface.StoreFailed):
                raise
        else:
            self._loop.call_soon_threadsafe(_settle, question.answer, found, None)

    def _handle(self, job: _Job) -> None:
        has_more = False
        try:
            if job.vacuum:
                has_more = self._database.vacuum()
            else:
                self._database.write([change.event for change in job.changes], job.dropped, job.compacted)
        except interface.NoSpace as error:
            self._loop.call_soon_threadsafe(self._on_refused, job, error)
            return
        # The answer first: nobody has to wait for the checkpoint but the next commit.
        self._loop.call_soon_threadsafe(self._on_done, job, has_more)
        self._database.maybe_checkpoint()


def _settle(
    answer: asyncio.Future[list[interface.Record]],
    found: list[interface.Record] | None,
    error: interface.StoreError | None,
) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(found or [])
