"""Did a store keep its word? Runs concurrent clients against it, then checks what they saw (guarantees G2, G3 and G4).

`record_run` drives seeded clients and watchers and notes every answer; `find_violations` is pure and compares the notes with the
contract of `store.interface`. `tests/unit/store` shows that it finds planted bugs.
"""

import asyncio
import dataclasses
import itertools
import random
from collections.abc import Iterable, Sequence

from pinnace.store import interface
from pinnace.testing import store_contract


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """An acknowledged change."""

    begun: int
    ended: int
    """Positions in the order of all beginnings and ends of this run."""
    key: str
    revision: int
    expected: int
    """The revision that the client gave; 0: it created."""
    value: bytes | None
    """As read back; None: it deleted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    begun: int
    key: str
    revision: int
    """0: the key was not there."""


@dataclasses.dataclass(slots=True)
class Run:
    start: int
    """The store's revision before."""
    end: int = 0
    writes: list[Write] = dataclasses.field(default_factory=list)
    reads: list[Read] = dataclasses.field(default_factory=list)
    watched: list[list[interface.Event]] = dataclasses.field(default_factory=list)
    """What each watcher was handed, from `start` to `end`."""
    final: Sequence[interface.Record] = ()


async def record_run(store: interface.Store, seed: int, *, clients: int = 8, steps: int = 40, keys: int = 4) -> Run:
    """`clients` at once, each making `steps` random changes of `keys` keys; two watchers, one of which starts when all is over."""
    run = Run(store.revision)
    order = itertools.count()
    live = store.watch("/", run.start)
    async with live:
        rngs = [random.Random(f"{seed} {number}") for number in range(clients)]  # noqa: S311 - repeatable, not secret
        await asyncio.gather(*(_client(store, rng, run, order, steps, keys) for rng in rngs))
        run.end = store.revision
        run.watched.append(await _read_until(live, run.end))
    async with store.watch("/", run.start) as late:
        run.watched.append(await _read_until(late, run.end))
    run.final = store.range("/").records
    return run


async def _client(
    store: interface.Store, rng: random.Random, run: Run, order: "itertools.count[int]", steps: int, keys: int
) -> None:
    for step in range(steps):
        key = f"/{rng.randrange(keys)}"
        begun = next(order)
        seen = store.get(key)
        run.reads.append(Read(begun, key, seen.mod_revision if seen else 0))
        if rng.random() < 0.3:
            await asyncio.sleep(0)
        try:
            revision, value = await _change(store, rng, key, seen, store_contract.value(f"{step} {rng.random()}"))
        except (interface.KeyExists, interface.KeyMissing, interface.RevisionMismatch):
            continue
        run.writes.append(Write(begun, next(order), key, revision, seen.mod_revision if seen else 0, value))


async def _change(
    store: interface.Store, rng: random.Random, key: str, seen: interface.Record | None, value: bytes
) -> tuple[int, bytes | None]:
    if seen is None:
        created = await store.create(key, value)
        return created.mod_revision, created.value
    if rng.random() < 0.25:
        return (await store.delete(key, seen.mod_revision)).revision, None
    updated = await store.update(key, value, seen.mod_revision)
    return updated.mod_revision, updated.value


async def _read_until(watch: interface.Watch, revision: int) -> list[interface.Event]:
    events: list[interface.Event] = []
    try:
        async with asyncio.timeout(2):
            while not events or events[-1].revision < revision:
                events += await anext(aiter(watch))
    except TimeoutError:
        pass  # what is missing is for the checker to find
    return events


def find_violations(run: Run) -> list[str]:
    """Each broken promise in a few words; empty: the store kept its word."""
    return [
        *_check_order(run),
        *_check_updates(run),
        *_check_reads(run),
        *itertools.chain.from_iterable(_check_watcher(run, events) for events in run.watched),
        *_check_final(run),
    ]


def _check_order(run: Run) -> Iterable[str]:
    """Revisions are unique, and grow from a change that had ended to one that began later."""
    by_end = sorted(run.writes, key=lambda write: write.ended)
    by_begin = sorted(run.writes, key=lambda write: write.begun)
    if len({write.revision for write in run.writes}) != len(run.writes):
        yield "two changes have the same revision"
    highest, position = 0, 0
    for write in by_begin:
        while position < len(by_end) and by_end[position].ended < write.begun:
            highest = max(highest, by_end[position].revision)
            position += 1
        if write.revision <= highest:
            yield f"revision {write.revision} began after {highest} had been answered"


def _check_updates(run: Run) -> Iterable[str]:
    """No lost update: a revision of a key is replaced once, and by who named it."""
    current: dict[str, int] = {}
    for write in sorted(run.writes, key=lambda write: write.revision):
        if current.get(write.key, 0) != write.expected:
            yield f"revision {write.revision} of {write.key} replaced {current.get(write.key, 0)}, not {write.expected}"
        current[write.key] = write.revision if write.value is not None else 0


def _check_reads(run: Run) -> Iterable[str]:
    """A read sees every change that had been answered before it began."""
    for read in run.reads:
        answered = [write for write in run.writes if write.key == read.key and write.ended < read.begun]
        if not answered:
            continue
        last = max(answered, key=lambda write: write.revision)
        if read.revision < last.revision and not (read.revision == 0 and _was_deleted_after(run, last)):
            yield f"a read of {read.key} saw {read.revision} after {last.revision} had been answered"


def _was_deleted_after(run: Run, write: Write) -> bool:
    if write.value is None:
        return True
    return any(w.value is None and w.key == write.key and w.revision > write.revision for w in run.writes)


def _check_watcher(run: Run, events: Sequence[interface.Event]) -> Iterable[str]:
    """Exactly the acknowledged changes, once, in order, each with the state before."""
    expected = {write.revision: write for write in run.writes}
    revisions = [event.revision for event in events]
    if revisions != list(range(run.start + 1, run.end + 1)):
        yield f"a watcher saw {len(revisions)} changes that are not {run.start + 1}..{run.end} in order"
    current: dict[str, interface.Record | None] = {}
    for event in events:
        write = expected.get(event.revision)
        if write is None or write.key != event.key or write.value != (event.record.value if event.record else None):
            yield f"a watcher saw another change {event.revision} than was answered"
        before = current.get(event.key)
        if event.previous is not before:
            yield f"a watcher was told a wrong state before {event.revision}"
        current[event.key] = event.record


def _check_final(run: Run) -> Iterable[str]:
    left: dict[str, bytes] = {}
    for write in sorted(run.writes, key=lambda write: write.revision):
        if write.value is None:
            left.pop(write.key, None)
        else:
            left[write.key] = write.value
    if {record.key: record.value for record in run.final} != left:
        yield "the final state is not what the answered changes add up to"
    if run.writes and max(write.revision for write in run.writes) != run.end:
        yield f"the last revision is {run.end}, but the last answered change is another"
