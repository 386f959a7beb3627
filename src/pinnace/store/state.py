"""What a store knows, in memory: current records, recent history, and any snapshot between the two. Pure; no clock, no I/O.

Every store keeps one `State` and applies committed changes to it in the order of their revisions. Always true: the
history holds exactly the changes after `oldest` up to `revision`; not every number need have one.
"""

import bisect
import dataclasses
import operator
from collections import deque
from collections.abc import Iterable, Sequence

from pinnace.store import interface, keys

FIRST_REVISION = 1
"""An empty store is at 1, as etcd is: clients read a resource version of 0 as "any"."""
KEPT_SNAPSHOTS = 8


RECENT_EVENTS = 1000
"""Changes that watchers are likely to read together: for so long is kept what readers computed of them."""


@dataclasses.dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How much history is kept; whichever is reached first drops the oldest changes."""

    seconds: float = 300.0
    """A client that was away for longer lists again. As long as upstream's kube-apiserver leaves between compactions of etcd."""
    events: int = 100_000
    """At some 100 bytes each beside the values; bounds the time of a restart."""
    bytes: int = 64 << 20
    """Of values that only history still holds. A small number makes slow clients list again under load; a large one costs memory."""


class State:
    def __init__(self, oldest: int = FIRST_REVISION, records: Iterable[interface.Record] = ()) -> None:
        self.records = {record.key: record for record in records}
        self._keys = keys.SortedKeys(self.records)
        self._oldest = oldest
        self._revision = oldest
        self._history: list[interface.Event] = []
        self._history_bytes = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._snapshots: dict[int, _Snapshot] = {}

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def oldest(self) -> int:
        return self._oldest

    @property
    def history_bytes(self) -> int:
        """Of values that are kept for history alone."""
        return self._history_bytes

    def apply(self, event: interface.Event) -> None:
        """`event.revision` must be greater than those before it."""
        if event.revision <= self._revision:
            raise ValueError(f"change {event.revision} cannot follow revision {self._revision}")
        self._revision = event.revision
        if event.record is None:
            del self.records[event.key]
            self._keys.remove(event.key)
        else:
            if event.previous is None:
                self._keys.add(event.key)
            self.records[event.key] = event.record
        self._history.append(event)
        self._history_bytes += _weight(event)
        if len(self._history) > RECENT_EVENTS:
            self._forget_derived(self._history[-RECENT_EVENTS - 1])

    def _forget_derived(self, event: interface.Event) -> None:
        """Whoever comes so late computes it again: it is several times as large as what it is computed from."""
        event.derived = None
        for record in (event.record, event.previous):
            if record is not None and self.records.get(event.key) is not record:
                record.derived = None

    def mark_time(self, now: float) -> None:
        """Remember that everything up to the present revision is `now` (monotonic seconds) old; one mark a second is enough."""
        if not self._marks or now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, self.revision))

    def history_after(self, revision: int, limit: int) -> Sequence[interface.Event]:
        """The changes after `revision`, at most `limit`. Raises Compacted, FutureRevision."""
        self.check_revision(revision)
        at = self._place_after(revision)
        return self._history[at : at + limit]

    def _place_after(self, revision: int) -> int:
        """In the history, of the first change after `revision`."""
        if revision >= self._revision:
            return len(self._history)
        return bisect.bisect_right(self._history, revision, key=_REVISION)

    def check_revision(self, revision: int) -> None:
        if revision < self._oldest:
            raise interface.Compacted(revision, self._oldest)
        if revision > self.revision:
            raise interface.FutureRevision(revision, self.revision)

    def count(self, prefix: str) -> int:
        return self._keys.rank(keys.prefix_end(prefix)) - self._keys.rank(prefix)

    def get(self, key: str, revision: int) -> interface.Record | None:
        """As of `revision` (0: now). Raises Compacted, FutureRevision."""
        current = self.records.get(key)
        if not revision or revision == self._revision:
            return current
        self.check_revision(revision)
        for event in self._history[self._place_after(revision) :]:
            if event.key == key:
                return event.previous
        return current

    def range(self, prefix: str, after: str, limit: int, revision: int) -> interface.Page:
        """As `interface.Store.range`."""
        # The least string greater than `after` is `after` and a NUL.
        first, end = (max(prefix, after + "\0") if after else prefix), keys.prefix_end(prefix)
        if end is not None and first >= end:
            first = end
        if revision and revision != self.revision:
            return self._range_of_snapshot(first, end, limit, revision)
        found = self._keys.between(first, end, limit)
        remaining = 0
        if limit and len(found) == limit:
            remaining = self._keys.rank(end) - self._keys.rank(first) - limit
        return interface.Page(list(map(self.records.__getitem__, found)), self.revision, remaining)

    def _range_of_snapshot(self, first: str, end: str | None, limit: int, revision: int) -> interface.Page:
        then = self._snapshot(revision).changed
        here = {key: record for key, record in then.items() if key >= first and (end is None or key < end)}
        gone = [key for key, record in here.items() if record is not None and key not in self.records]
        absent = sum(1 for key, record in here.items() if record is None and key in self.records)
        total = self._keys.rank(end) - self._keys.rank(first) - absent + len(gone)
        # Of the keys of today at most `absent` are not of that time.
        today = self._keys.between(first, end, limit + absent if limit else 0)
        found: list[interface.Record] = []
        for key in sorted([*today, *gone]) if gone else today:
            record = here[key] if key in here else self.records[key]
            if record is not None:
                found.append(record)
        if limit:
            found = found[:limit]
        return interface.Page(found, revision, total - len(found))

    def _snapshot(self, revision: int) -> "_Snapshot":
        """Pages of one list follow each other: what was undone for the first need not be undone again for the next."""
        self.check_revision(revision)
        snapshot = self._snapshots.pop(revision, None) or _Snapshot(revision, {})
        for event in self._history[self._place_after(snapshot.seen) :]:
            snapshot.changed.setdefault(event.key, event.previous)
        snapshot.seen = self.revision
        self._snapshots[revision] = snapshot
        if len(self._snapshots) > KEPT_SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]
        return snapshot

    def plan_trim(self, limits: HistoryLimits, now: float) -> int:
        """The revision up to which history should be forgotten by now; `oldest`: nothing is to be done."""
        target = self._oldest
        # A tenth more than must be, here and below, so that the next change does not start the same again.
        if len(self._history) > limits.events:
            target = self._history[-(limits.events * 9 // 10) - 1].revision
        for moment, revision in self._marks:
            if now - moment < limits.seconds:
                break
            target = max(target, revision)
        excess = self._history_bytes - limits.bytes
        if excess > 0:
            excess += limits.bytes // 10
            for event in self._history:
                if excess <= 0:
                    break
                excess -= _weight(event)
                target = max(target, event.revision)
        return target

    def trim(self, revision: int) -> list[interface.Event]:
        """Forget the changes up to `revision` and return them."""
        self.check_revision(revision)
        dropped = self._history[: self._place_after(revision)]
        del self._history[: len(dropped)]
        self._history_bytes -= sum(map(_weight, dropped))
        self._oldest = revision
        while self._marks and self._marks[0][1] <= revision:
            self._marks.popleft()
        for old in [old for old in self._snapshots if old < revision]:
            del self._snapshots[old]
        return dropped


@dataclasses.dataclass(slots=True)
class _Snapshot:
    """The state as of some revision: `changed` holds, for the keys that changed since, what they were."""

    seen: int
    """Changes up to here are in `changed`."""
    changed: dict[str, interface.Record | None]


_REVISION = operator.attrgetter("revision")


def _weight(event: interface.Event) -> int:
    """Bytes that live on only because the change is remembered."""
    return (len(event.previous.value) if event.previous else 0) + len(event.last_value)
