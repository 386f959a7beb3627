"""Did a cluster keep its word while its processes were killed? Notes of concurrent writers and watchers, and a pure checker of them.

Each writer owns its names, so the last acknowledged change of a name, or an attempt after it whose answer never came, is what must be there
in the end (G1, G3). Revisions of acknowledged changes are unique and follow real time (G2). Every watcher sees one and the same sequence (G4).
`tests/unit/client/test_api_history.py` shows that each rule finds a planted fault.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

GONE = -1
"""The value of a name that is deleted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """One attempt. Without an answer it may or may not have happened."""

    name: str
    value: int
    begun: int
    """Positions in the order of all beginnings and ends."""
    ended: int
    acknowledged: bool
    revision: int
    """0: not told (no answer, or a delete, whose answer carries none)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """One event of a watch."""

    type: str
    name: str
    revision: int
    value: int
    """GONE when it was deleted."""


@dataclasses.dataclass(slots=True)
class Segment:
    """What a watcher saw without a gap (over however many connections), after revision `start`, up to `end`."""

    start: int
    end: int = 0
    events: list[Seen] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class History:
    order: "itertools.count[int]" = dataclasses.field(default_factory=itertools.count)
    writes: list[Write] = dataclasses.field(default_factory=list)
    segments: list[Segment] = dataclasses.field(default_factory=list)
    final: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Name -> value, as listed in the end."""
    final_revision: int = 0
    listed_twice: frozenset[str] = frozenset()


def find_violations(history: History) -> list[str]:
    """Everything that breaks a promise, in words; empty when all held."""
    return [*_lost(history), *_revisions(history), *_watches(history)]


def _lost(history: History) -> Iterable[str]:
    for name, attempts in _by_name(history.writes).items():
        acknowledged = [index for index, write in enumerate(attempts) if write.acknowledged]
        last = acknowledged[-1] if acknowledged else -1
        allowed = {write.value for write in attempts[max(last, 0) :]}
        if last < 0:
            allowed.add(GONE)
        found = history.final.get(name, GONE)
        if found not in allowed:
            yield f"{name}: {found} in the end, allowed {sorted(allowed)}"
    for name in history.listed_twice:
        yield f"{name}: listed twice"
    for name in history.final.keys() - {write.name for write in history.writes}:
        yield f"{name}: nobody wrote it"


def _by_name(writes: Iterable[Write]) -> dict[str, list[Write]]:
    found: dict[str, list[Write]] = {}
    for write in sorted(writes, key=lambda write: write.begun):
        found.setdefault(write.name, []).append(write)
    return found


def _revisions(history: History) -> Iterable[str]:
    acknowledged = sorted((write for write in history.writes if write.revision), key=lambda write: write.revision)
    for one, other in itertools.pairwise(acknowledged):
        if one.revision == other.revision:
            yield f"revision {one.revision} given twice: {one.name} and {other.name}"
    # Of two changes, the one that began after the other's answer must have the larger revision.
    latest = GONE
    for write in acknowledged:
        if write.ended < latest:
            yield f"revision {write.revision} of {write.name} is larger than one that began after its answer"
        latest = max(latest, write.begun)
    if acknowledged and acknowledged[-1].revision > history.final_revision:
        yield f"the last list is at {history.final_revision}, after {acknowledged[-1].revision} was acknowledged"


def _watches(history: History) -> Iterable[str]:
    truth: dict[int, Seen] = {}
    for segment in history.segments:
        for one, other in itertools.pairwise(segment.events):
            if other.revision <= one.revision:
                yield f"a watcher saw {other.revision} after {one.revision}"
        for event in segment.events:
            if truth.setdefault(event.revision, event) != event:
                yield f"watchers disagree about {event.revision}: {event} and {truth[event.revision]}"
    expected = {write.revision: (write.name, write.value) for write in history.writes if write.revision}
    for revision, (name, value) in expected.items():
        found = truth.get(revision)
        if found is not None and (found.name, found.value) != (name, value):
            yield f"revision {revision} was {name}={value}, seen as {found}"
    revisions = sorted(expected.keys() | truth.keys())
    for number, segment in enumerate(history.segments):
        due = {revision for revision in revisions if segment.start < revision <= segment.end}
        seen = {event.revision for event in segment.events if event.revision <= segment.end}
        if missing := sorted(due - seen):
            yield f"watcher {number} missed {len(missing)} of {len(due)}, the first is {missing[0]}"
        if early := sorted(seen - due):
            yield f"watcher {number} saw {early[0]}, from before it began at {segment.start}"
