"""What was answered is there again, whatever ended the process; what is damaged is refused, not served (G1, G16)."""

import asyncio
import os
import pathlib
import random
import signal
import subprocess
import sys
from collections.abc import Callable

import apsw
import pytest

from pinnace.kit import clock
from pinnace.store import database, interface, sqlite, state
from pinnace.testing import clock as virtual
from pinnace.testing import disk, store_contract

CHILD = pathlib.Path(__file__).with_name("crash_child.py")


async def reopen(path: pathlib.Path, limits: state.HistoryLimits | None = None) -> sqlite.SqliteStore:
    settings = sqlite.Settings(history=limits or state.HistoryLimits())
    return await sqlite.open_store(path, store_contract.stamp, clock.SystemClock(), settings)


def value(text: str) -> bytes:
    return store_contract.value(text)


def test_state_history_and_revision_survive_a_restart(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await reopen(tmp_path / "s.db")
        start = store.revision
        first = await store.create("/a", value("1"))
        await store.update("/a", value("2"), first.mod_revision)
        await store.create("/b", value("1"))
        await store.delete("/b")
        await store.close()
        again = await reopen(tmp_path / "s.db")
        assert (again.revision, again.oldest_revision) == (start + 4, start)
        kept = again.get("/a")
        assert kept is not None
        assert (kept.value, kept.create_revision) == (store_contract.stamp(value("2"), start + 2), start + 1)
        async with again.watch("/", start) as watch:
            events = list(await anext(aiter(watch)))
        assert [(e.key, e.revision - start, e.record is None) for e in events] == [
            ("/a", 1, False),
            ("/a", 2, False),
            ("/b", 3, False),
            ("/b", 4, True),
        ]
        assert events[3].last_value == store_contract.stamp(value("1"), start + 4)
        assert (await again.create("/c", value("1"))).mod_revision == start + 5
        await again.close()

    asyncio.run(main())


def test_the_revision_survives_though_all_that_bore_it_is_compacted(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await reopen(tmp_path / "s.db")
        await store.create("/a", value("1"))
        await store.delete("/a")
        last = store.revision
        await store.compact(last)
        await store.close()
        again = await reopen(tmp_path / "s.db")
        assert (again.revision, again.oldest_revision) == (last, last)
        assert again.range("").records == []
        with pytest.raises(interface.Compacted):
            again.watch("/", last - 1)
        await again.close()

    asyncio.run(main())


def test_compaction_removes_rows_and_keeps_the_file_small(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await reopen(tmp_path / "s.db", state.HistoryLimits(events=50))
        record = await store.create("/a", value("x" * 20_000))
        for _ in range(3000):
            record = await store.update("/a", value("x" * 20_000), record.mod_revision)
        await store.compact(store.revision)
        await store.close()
        assert (tmp_path / "s.db").stat().st_size < 40 << 20, "60 MB were written"
        connection = apsw.Connection(str(tmp_path / "s.db"))
        assert connection.execute("SELECT count(*) FROM log").fetchall() == [(1,)]
        connection.close()
        again = await reopen(tmp_path / "s.db")
        assert [r.mod_revision for r in again.range("").records] == [record.mod_revision]
        await again.close()

    asyncio.run(main())


def test_history_ages_even_when_nothing_is_written(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        time = virtual.VirtualClock()
        settings = sqlite.Settings(history=state.HistoryLimits(seconds=60))
        store = await sqlite.open_store(tmp_path / "s.db", store_contract.stamp, time, settings)
        await store.create("/a", value("1"))
        await time.advance(59)
        assert store.oldest_revision < store.revision
        await time.advance(60)
        assert store.oldest_revision == store.revision
        await store.close()

    asyncio.run(main())


def test_a_second_opening_is_refused(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await reopen(tmp_path / "s.db")
        code = f"""
import asyncio, pathlib
from pinnace.kit import clock
from pinnace.store import interface, sqlite
try:
    asyncio.run(sqlite.open_store(pathlib.Path({str(tmp_path / "s.db")!r}), lambda v, r: v, clock.SystemClock()))
except interface.StoreFailed as error:
    print(error)
"""
        run = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
        assert "in use by another process" in run.stdout, run
        await store.create("/a", value("1"))
        await store.close()

    asyncio.run(main())


def test_a_damaged_row_is_named_and_refused(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with disk.SimulatedDisk() as simulated:
            path = tmp_path / "s.db"
            store = await sqlite.open_store(
                path, store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=simulated.name
            )
            await store.create("/good", value("untouched"))
            await store.create("/bad", value("precious"))
            await store.close()
            assert simulated.damage(b"precious", b"prxcious") >= 1
            with pytest.raises(interface.StoreFailed, match=r"checksum of key '/bad' at revision 3 is wrong"):
                await sqlite.open_store(
                    path, store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=simulated.name
                )

    asyncio.run(main())


def test_a_missing_change_is_noticed(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await reopen(tmp_path / "s.db")
        for n in range(3):
            await store.create(f"/{n}", value("x"))
        await store.close()
        connection = apsw.Connection(str(tmp_path / "s.db"))
        connection.execute("DELETE FROM log WHERE revision = 3")
        connection.close()
        with pytest.raises(interface.StoreFailed, match="change 4 cannot follow revision 2"):
            await reopen(tmp_path / "s.db")

    asyncio.run(main())


def test_the_disk_may_remember_more_than_memory(tmp_path: pathlib.Path) -> None:
    """As long as it is told to, also across a restart, and no longer."""

    async def main() -> None:
        time = virtual.VirtualClock()
        settings = sqlite.Settings(history=state.HistoryLimits(events=10), past_seconds=3600)
        path = tmp_path / "s.db"
        store = await sqlite.open_store(path, store_contract.stamp, time, settings)
        start = store.revision
        record = await store.create("/a", value("0"))
        for number in range(1, 50):
            record = await store.update("/a", value(str(number)), record.mod_revision)
        await store.create("/b", value("1"))
        assert store.oldest_revision > start + 20
        for _ in range(2):
            for revision in (start, start + 1, start + 20, store.revision):
                found = await store.range_of_past("/a", revision)
                assert [store_contract.text(each.value) for each in found] == [str(revision - start - 1)][
                    : revision - start
                ] or (revision == store.revision)
            with pytest.raises(interface.Compacted):
                store.get("/a", at=start + 1)
            await store.close()
            store = await sqlite.open_store(path, store_contract.stamp, time, settings)
            assert store.oldest_revision > start + 20
        await store.compact(store.revision)
        with pytest.raises(interface.Compacted):
            await store.range_of_past("/a", start + 20)
        await store.close()

    asyncio.run(main())


def test_a_full_disk_refuses_changes_and_nothing_else(tmp_path: pathlib.Path) -> None:
    """Reads and watches go on; revisions of refused changes are given out again; with room again all goes on, also after a restart."""

    async def main() -> None:
        with disk.SimulatedDisk() as simulated:
            path = tmp_path / "s.db"
            store = await sqlite.open_store(
                path, store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=simulated.name
            )
            kept = await store.create("/kept", value("1"))
            before = store.revision
            async with store.watch("/", before) as watch:
                simulated.is_full = True
                for round_ in range(3):
                    # More than one statement's rows, and one that waits for another of its key.
                    outcomes = await asyncio.gather(
                        *(store.create(f"/{n}", value("x")) for n in range(200)),
                        store.create("/0", value("waits for the first of its key")),
                        store.update("/kept", value("2"), kept.mod_revision),
                        store.delete("/kept") if round_ else store.delete("/kept", kept.mod_revision),
                        return_exceptions=True,
                    )
                    assert {type(outcome) for outcome in outcomes} == {interface.NoSpace}
                    assert (store.revision, store.trouble) == (before, f"no space left on the disk of {path}")
                    found = store.get("/kept")
                    assert found is not None
                    assert found.value == kept.value
                    assert len(store.range("/").records) == 1
                with pytest.raises(interface.NoSpace):
                    await store.compact(before)
                simulated.is_full = False
                made = await store.create("/after", value("1"))
                assert (made.mod_revision, store.trouble) == (before + 1, "")
                assert [event.key for event in await anext(aiter(watch))] == ["/after"]
            await store.close()
            again = await sqlite.open_store(
                path, store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=simulated.name
            )
            assert [record.key for record in again.range("").records] == ["/after", "/kept"]
            assert again.revision == before + 1
            await again.close()

    asyncio.run(main())


def test_changes_on_a_disk_that_is_full_now_and_then_are_done_or_not_done(tmp_path: pathlib.Path) -> None:
    """With compaction, checkpoints and vacuum going on: what was answered is there, what was refused is not."""

    async def main() -> None:
        rng = random.Random(4)
        with disk.SimulatedDisk() as simulated:
            settings = sqlite.Settings(
                history=state.HistoryLimits(events=20),
                file=database.Settings(checkpoint_bytes=1 << 16, vacuum_pages=2, free_pages_kept=0),
            )
            path = tmp_path / "s.db"
            store = await sqlite.open_store(
                path, store_contract.stamp, clock.SystemClock(), settings, vfs=simulated.name
            )
            wanted: dict[str, bytes] = {}

            async def change(number: int) -> None:
                key = f"/{rng.randrange(20)}"
                found = store.get(key)
                text = f"{number}" + "x" * rng.randrange(5000)
                try:
                    if found is None:
                        wanted[key] = (await store.create(key, value(text))).value
                    elif rng.random() < 0.3:
                        await store.delete(key, found.mod_revision)
                        del wanted[key]
                    else:
                        wanted[key] = (await store.update(key, value(text), found.mod_revision)).value
                except (interface.NoSpace, interface.KeyExists, interface.KeyMissing, interface.RevisionMismatch):
                    return

            for number in range(400):
                simulated.is_full = rng.random() < 0.4
                await asyncio.gather(*(change(number) for _ in range(rng.randrange(1, 6))))
            simulated.is_full = False
            await store.create("/last", value("1"))
            await store.close()
            again = await sqlite.open_store(
                path, store_contract.stamp, clock.SystemClock(), settings, vfs=simulated.name
            )
            present = {record.key: record.value for record in again.range("/").records if record.key != "/last"}
            assert present == wanted
            await again.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty, and the state of its cluster is gone; put a copy in its place, or delete it"),
        (b"no database at all" * 1000, "put a sound copy in its place, or delete"),
    ],
)
def test_a_file_that_is_no_store_is_refused_with_what_to_do(content: bytes, why: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "s.db").write_bytes(content)

    async def main() -> None:
        with pytest.raises(interface.StoreFailed, match=why):
            await reopen(tmp_path / "s.db")

    asyncio.run(main())
    assert (tmp_path / "s.db").read_bytes() == content


def test_a_store_that_was_not_made_to_the_end_is_made_anew(tmp_path: pathlib.Path) -> None:
    (tmp_path / "s.db.new").write_bytes(b"half")

    async def main() -> None:
        store = await reopen(tmp_path / "s.db")
        await store.create("/a", value("1"))
        await store.close()

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["s.db"]


@pytest.mark.parametrize("fault", ["fails_to_sync"])
def test_after_a_failed_commit_nothing_is_served_any_more(fault: str, tmp_path: pathlib.Path) -> None:
    """Waiting writers, later calls and watchers all end with StoreFailed, also when the disk works again; a restart has what was
    answered."""

    async def main() -> None:
        with disk.SimulatedDisk() as simulated:
            store = await sqlite.open_store(
                tmp_path / "s.db", store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=simulated.name
            )
            kept = await store.create("/kept", value("1"))
            failed = asyncio.ensure_future(store.wait_failed())
            async with store.watch("/", store.revision) as watch:
                setattr(simulated, fault, True)
                outcomes = await asyncio.gather(
                    *(store.create(f"/{n}", value("x")) for n in range(5)),
                    store.create("/0", value("waits for the first of its key")),
                    return_exceptions=True,
                )
                assert [type(outcome) for outcome in outcomes] == [interface.StoreFailed] * 6
                setattr(simulated, fault, False)
                assert isinstance(await failed, interface.StoreFailed)
                with pytest.raises(interface.StoreFailed):
                    await anext(aiter(watch))
            with pytest.raises(interface.StoreFailed):
                store.get("/kept")
            with pytest.raises(interface.StoreFailed):
                store.range("/")
            with pytest.raises(interface.StoreFailed):
                await store.update("/kept", value("2"), kept.mod_revision)
            with pytest.raises(interface.StoreFailed):
                store.watch("/", 1)
            await store.close()
            with disk.SimulatedDisk(simulated.power_loss(random.Random(0))) as after:
                again = await sqlite.open_store(
                    tmp_path / "s.db", store_contract.stamp, clock.SystemClock(), sqlite.DEFAULT, vfs=after.name
                )
                found = again.get("/kept")
                assert found is not None
                assert found.value == kept.value
                await again.close()

    asyncio.run(main())


def simulate_power_losses(
    seed: int, directory: pathlib.Path, steps: int, sabotage: Callable[[database.Database], object] = lambda _: None
) -> int:
    """Random transactions with compaction, checkpoints and vacuum on a simulated disk; at random operations the power fails.

    What is found must be the state after the last answered transaction, or after the one that was on its way. Returns the number
    of crash points.
    """
    rng = random.Random(seed)
    path = directory / "s.db"
    crashes: list[tuple[dict[str, bytes], int, int]] = []
    with disk.SimulatedDisk() as simulated:
        settings = database.Settings(checkpoint_bytes=rng.choice([20_000, 200_000]), vacuum_pages=2, free_pages_kept=1)
        file = database.Database(path, settings, vfs=simulated.name)
        model = file.load(store_contract.stamp)
        sabotage(file)
        answered = begun = model.revision
        states: dict[int, dict[str, bytes]] = {model.revision: {}}

        def maybe_crash() -> None:
            if rng.random() < 0.05:
                crashes.append((simulated.power_loss(rng), answered, begun))

        simulated.before_operation = maybe_crash
        drops: list[interface.Event] = []
        for _ in range(steps):
            events = [_random_event(rng, model) for _ in range(rng.choice([1, 1, 2, 7, 80]))]
            for event in events:
                states[event.revision] = {
                    **states[event.revision - 1],
                    event.key: event.record.value if event.record else b"",
                }
            begun = model.revision
            if rng.random() < 0.4:
                drops += model.trim(rng.randint(model.oldest, answered))
            now, drops = drops[:20], drops[20:]
            rows = [e.previous.mod_revision for e in now if e.previous] + [e.revision for e in now if e.record is None]
            file.write(events, rows, now[-1].revision if now else 0)
            answered = begun
            file.maybe_checkpoint()
            if rng.random() < 0.2:
                file.vacuum()
        simulated.before_operation = lambda: None
        file.close()
    for files, at_least, at_most in crashes:
        with disk.SimulatedDisk(files) as after:
            recovered = database.Database(path, settings, vfs=after.name)
            found = recovered.load(store_contract.stamp)
            recovered.close()
        assert at_least <= found.revision <= at_most
        expected = {key: content for key, content in states[found.revision].items() if content}
        assert {key: record.value for key, record in found.records.items()} == expected
    return len(crashes)


def _random_event(rng: random.Random, model: state.State) -> interface.Event:
    """A valid change, applied to `model`."""
    revision, key = model.revision + 1, f"/{rng.randrange(30)}"
    previous = model.records.get(key)
    if previous is not None and rng.random() < 0.3:
        event = interface.Event(revision, key, None, previous, store_contract.stamp(previous.value, revision))
    else:
        content = store_contract.stamp(value(rng.choice(["x", "y" * 500, "z" * 9000, "w" * 40_000])), revision)
        created = previous.create_revision if previous else revision
        event = interface.Event(revision, key, interface.Record(key, content, created, revision), previous)
    model.apply(event)
    return event


@pytest.mark.parametrize("seed", range(3))
def test_power_loss_at_any_moment_loses_nothing_that_was_answered(seed: int, tmp_path: pathlib.Path) -> None:
    assert simulate_power_losses(seed, tmp_path, steps=35) > 5


def test_a_store_that_does_not_sync_is_found_out(tmp_path: pathlib.Path) -> None:
    """The campaign's checker finds a planted bug."""

    def sabotage(file: database.Database) -> None:
        file._connection.execute("PRAGMA synchronous = OFF")

    with pytest.raises((AssertionError, interface.StoreFailed)):
        simulate_power_losses(1, tmp_path, steps=35, sabotage=sabotage)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_power_loss_campaign(tmp_path: pathlib.Path) -> None:
    assert sum(simulate_power_losses(seed, tmp_path, steps=100) for seed in range(100, 400)) > 5_000


def kill_while_writing(path: pathlib.Path, rng: random.Random) -> dict[str, int]:
    """Start writers in a child, kill -9 it at a random moment. Returns the answered changes: key -> revision."""
    child = subprocess.Popen([sys.executable, str(CHILD), str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    answered: dict[str, int] = {}
    survives = rng.randrange(1, 3000)
    try:
        for line in child.stdout:
            revision, key = line.decode().split()
            answered[key] = int(revision)
            if len(answered) >= survives:
                break
        os.kill(child.pid, signal.SIGKILL)
        for line in child.stdout:  # answered before the kill, read after it
            if line.endswith(b"\n"):
                revision, key = line.decode().split()
                answered[key] = int(revision)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    return answered


def check_kills(path: pathlib.Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    highest = 0
    everything: dict[str, int] = {}

    async def check() -> int:
        store = await reopen(path)
        assert store.revision >= highest
        for key, revision in everything.items():
            record = store.get(key)
            assert record is not None, f"{key} was answered at {revision} and is lost"
            assert record.mod_revision == revision
            assert record.value.startswith(b"%012d" % revision)
        await store.close()
        return store.revision

    for _ in range(kills):
        answered = kill_while_writing(path, rng)
        assert answered
        assert min(answered.values()) > highest, "a revision was used again"
        everything.update(answered)
        highest = max(answered.values())
        highest = asyncio.run(check())


def test_kill_9_under_64_writers_loses_nothing_that_was_answered(tmp_path: pathlib.Path) -> None:
    check_kills(tmp_path / "s.db", kills=4, seed=1)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_kill_9_campaign(tmp_path: pathlib.Path) -> None:
    for seed in range(100):
        check_kills(tmp_path / f"{seed}.db", kills=10, seed=seed)
