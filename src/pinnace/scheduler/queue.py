"""Which pod is next: by priority, then by how long it has waited. Pods that fitted nowhere wait for an event that may help.

Upstream's three places: active (to be tried now), backing off (to be tried soon, or when nothing is active), unschedulable (to be tried
when something happens that one of the plug-ins which refused it cares about, or after five minutes at the latest). No clock: `now` comes in.
"""

import dataclasses
import enum
import heapq
import itertools
from collections import Counter

from pinnace.kit import backoff
from pinnace.scheduler import pods

BACKOFF = backoff.Backoff(first=1.0, limit=10.0)
MAX_UNSCHEDULABLE_SECONDS = 300.0
EARLY = 64
"""So many pods that back off are tried before their time when there is nothing else to do, as upstream does whatever their number:
with thousands, each happening would make the loop busy with all of them."""

_RESOURCES = frozenset(("NodeResourcesFit", "NodePorts"))
_OTHER_PODS = frozenset(("InterPodAffinity", "PodTopologySpread"))
_VOLUMES = frozenset(("VolumeBinding", "VolumeZone", "VolumeRestrictions"))
_NODES = frozenset(("NodeUnschedulable", "TaintToleration", "NodeAffinity"))
_KNOWN = _RESOURCES | _OTHER_PODS | _VOLUMES | _NODES
_NOBODY = ("",)


class Happening(enum.Enum):
    """What may make a pod fit: the plug-ins that care about it."""

    NODE_CHANGED = _RESOURCES | _OTHER_PODS | _VOLUMES | _NODES
    POD_PLACED = _OTHER_PODS
    POD_GONE = _RESOURCES | _OTHER_PODS | frozenset(("VolumeRestrictions",))
    VOLUMES_CHANGED = _VOLUMES
    NAMESPACE_CHANGED = frozenset(("InterPodAffinity",))


@dataclasses.dataclass(slots=True, eq=False)
class _Waiting:
    pod: pods.Pod
    since: float
    attempts: int = 0
    refused_by: frozenset[str] = frozenset()
    tried_at: float = 0.0
    place: str = "active"
    has_failed: bool = False
    """Its last attempt met an error: nothing that happens helps, only time."""

    def ready_at(self) -> float:
        return self.tried_at + BACKOFF.delay(self.attempts - 1) if self.attempts else 0.0


class SchedulingQueue:
    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}
        """By uid, wherever they wait."""
        self._active: list[tuple[int, float, int, _Waiting]] = []
        self._backing_off: list[tuple[float, int, _Waiting]] = []
        self._unschedulable: dict[str, _Waiting] = {}
        self._refusals: Counter[str] = Counter()
        """How many of the unschedulable each plug-in has refused: most happenings concern none of them."""
        self._popped: dict[str, _Waiting] = {}
        self._sequence = itertools.count()
        self._active_count = 0

    def __len__(self) -> int:
        """Pods that can be tried now."""
        return self._active_count

    @property
    def unschedulable_count(self) -> int:
        return len(self._unschedulable)

    def put(self, pod: pods.Pod, now: float) -> None:
        """A pod that is new or has changed: a changed one that fitted nowhere is tried again."""
        entry = self._waiting.get(pod.uid)
        if entry is None:
            attempt = self._popped.pop(pod.uid, None)
            entry = self._waiting[pod.uid] = attempt or _Waiting(pod, now)
            entry.pod = pod
            self._activate(entry)
            return
        before, entry.pod = entry.pod, pod
        if entry.place == "unschedulable" and _asks_otherwise(before, pod):
            self._move(entry, now)
        elif entry.place == "active" and before.demand.priority != pod.demand.priority:
            self._active_count -= 1
            self._activate(self._replace(entry))

    def remove(self, uid: str) -> None:
        self._popped.pop(uid, None)
        entry = self._waiting.pop(uid, None)
        if entry is None:
            return
        if entry.place == "active":
            self._active_count -= 1
        self._leave_unschedulable(entry)
        entry.place = "gone"

    def get(self, uid: str) -> pods.Pod | None:
        entry = self._waiting.get(uid)
        return entry.pod if entry is not None else None

    def pop(self) -> pods.Pod | None:
        """The next pod to try; then either `done` or `put_unschedulable` must be called."""
        entry = self._next_active() or self._next_backing_off()
        if entry is None:
            return None
        entry.place = "popped"
        del self._waiting[entry.pod.uid]
        self._popped[entry.pod.uid] = entry
        return entry.pod

    def _next_active(self) -> _Waiting | None:
        while self._active:
            entry = heapq.heappop(self._active)[3]
            if entry.place == "active":
                self._active_count -= 1
                return entry
        return None

    def _next_backing_off(self) -> _Waiting | None:
        if len(self._backing_off) > EARLY:
            return None
        for each in sorted(self._backing_off):
            if each[2].place == "backoff" and not each[2].has_failed:
                self._backing_off.remove(each)
                heapq.heapify(self._backing_off)
                return each[2]
        return None

    def done(self, uid: str) -> None:
        """It has a node."""
        self._popped.pop(uid, None)

    def put_unschedulable(self, pod: pods.Pod, refused_by: frozenset[str], now: float) -> None:
        """It fitted nowhere."""
        entry = self._retry(pod, now)
        entry.has_failed = False
        entry.refused_by = refused_by
        entry.place = "unschedulable"
        self._unschedulable[pod.uid] = entry
        self._refusals.update(refused_by or _NOBODY)

    def put_failed(self, pod: pods.Pod, now: float) -> None:
        """It had a node, but binding failed: try again after a while, whatever happens."""
        entry = self._retry(pod, now)
        entry.has_failed = True
        self._back_off(entry)

    def note(self, happening: Happening, now: float) -> None:
        """Something happened: try those again that it may help."""
        if any(name in happening.value or name not in _KNOWN for name in self._refusals):
            for entry in [entry for entry in self._unschedulable.values() if _cares(entry, happening)]:
                self._move(entry, now)

    def flush(self, now: float) -> None:
        """What has become due by now."""
        while self._backing_off and self._backing_off[0][0] <= now:
            entry = heapq.heappop(self._backing_off)[2]
            if entry.place == "backoff":
                self._activate(entry)
        # They are in the order in which they were tried; thousands may wait, and this runs for every batch.
        while (
            oldest := self._oldest_unschedulable()
        ) is not None and now - oldest.tried_at >= MAX_UNSCHEDULABLE_SECONDS:
            self._move(oldest, now)

    def next_due(self) -> float | None:
        """When `flush` will have something to do; None: never."""
        moments = [self._backing_off[0][0]] if self._backing_off else []
        oldest = self._oldest_unschedulable()
        if oldest is not None:
            moments.append(oldest.tried_at + MAX_UNSCHEDULABLE_SECONDS)
        return min(moments, default=None)

    def _oldest_unschedulable(self) -> _Waiting | None:
        return next(iter(self._unschedulable.values()), None)

    def _retry(self, pod: pods.Pod, now: float) -> _Waiting:
        entry = self._popped.pop(pod.uid, None) or _Waiting(pod, now)
        entry.pod = pod
        entry.attempts += 1
        entry.tried_at = now
        self._waiting[pod.uid] = entry
        return entry

    def _leave_unschedulable(self, entry: _Waiting) -> None:
        if self._unschedulable.pop(entry.pod.uid, None) is not None:
            self._refusals.subtract(entry.refused_by or _NOBODY)
            self._refusals = +self._refusals

    def _move(self, entry: _Waiting, now: float) -> None:
        self._leave_unschedulable(entry)
        if entry.ready_at() > now:
            self._back_off(entry)
        else:
            self._activate(entry)

    def _back_off(self, entry: _Waiting) -> None:
        entry.place = "backoff"
        heapq.heappush(self._backing_off, (entry.ready_at(), next(self._sequence), entry))

    def _activate(self, entry: _Waiting) -> None:
        entry.place = "active"
        self._active_count += 1
        heapq.heappush(self._active, (-entry.pod.demand.priority, entry.since, next(self._sequence), entry))

    def _replace(self, entry: _Waiting) -> _Waiting:
        """Its place in the heap is wrong: leave a dead entry there."""
        fresh = dataclasses.replace(entry)
        entry.place = "gone"
        self._waiting[fresh.pod.uid] = fresh
        return fresh


def _cares(entry: _Waiting, happening: Happening) -> bool:
    """A plug-in that upstream does not know may care about everything; a pod that nobody refused met no node at all."""
    return not entry.refused_by or any(name in happening.value or name not in _KNOWN for name in entry.refused_by)


def _asks_otherwise(before: pods.Pod, after: pods.Pod) -> bool:
    if before.demand is after.demand:
        return False
    old, new = before.object, after.object
    return bool(old["spec"] != new["spec"] or old["metadata"].get("labels") != new["metadata"].get("labels"))
