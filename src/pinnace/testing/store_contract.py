"""What every store must do: one suite, run against each implementation.

    class TestMine(store_contract.StoreContract):
        async def open_store(self, stamp, limits): return MyStore(...)

Each test opens a fresh store. `pinnace.testing.store_history` checks concurrent runs.
"""

import abc
import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from pinnace.store import interface, state

STAMP_WIDTH = 12


def stamp(value: bytes, revision: int) -> bytes:
    """The revision in front of the value, in a fixed width, so that it can be stamped again."""
    return b"%0*d" % (STAMP_WIDTH, revision) + value[STAMP_WIDTH:]


def value(text: str) -> bytes:
    """As a caller writes it: with room for the stamp."""
    return b"-" * STAMP_WIDTH + text.encode()


def text(stored: bytes) -> str:
    return stored[STAMP_WIDTH:].decode()


class StoreContract(abc.ABC):
    @abc.abstractmethod
    async def open_store(self, stamp: interface.Stamp, limits: state.HistoryLimits) -> interface.Store:
        """A fresh one."""

    def run(
        self,
        scenario: Callable[[interface.Store], Awaitable[None]],
        limits: state.HistoryLimits | None = None,
    ) -> None:
        async def main() -> None:
            store = await self.open_store(stamp, limits or state.HistoryLimits())
            try:
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(main())

    def test_create_answers_the_stamped_record_at_the_next_revision(self) -> None:
        async def scenario(store: interface.Store) -> None:
            before = store.revision
            assert before >= 1, "0 means 'any' to clients"
            record = await store.create("/a", value("one"))
            assert record.value == stamp(value("one"), before + 1)
            assert record.mod_revision == record.create_revision == store.revision == before + 1
            assert store.get("/a") is record

        self.run(scenario)

    def test_create_of_a_key_that_is_there_changes_nothing(self) -> None:
        async def scenario(store: interface.Store) -> None:
            first = await store.create("/a", value("one"))
            with pytest.raises(interface.KeyExists) as raised:
                await store.create("/a", value("two"))
            assert raised.value.current is first is store.get("/a")
            assert store.revision == first.mod_revision

        self.run(scenario)

    def test_update_needs_the_expected_revision(self) -> None:
        async def scenario(store: interface.Store) -> None:
            first = await store.create("/a", value("one"))
            second = await store.update("/a", value("two"), first.mod_revision)
            assert (second.create_revision, second.mod_revision) == (first.create_revision, first.mod_revision + 1)
            with pytest.raises(interface.RevisionMismatch) as raised:
                await store.update("/a", value("three"), first.mod_revision)
            assert raised.value.current is second is store.get("/a")
            with pytest.raises(interface.KeyMissing):
                await store.update("/b", value("x"), 1)
            assert store.revision == second.mod_revision

        self.run(scenario)

    def test_delete_answers_what_watchers_see(self) -> None:
        async def scenario(store: interface.Store) -> None:
            record = await store.create("/a", value("one"))
            with pytest.raises(interface.RevisionMismatch):
                await store.delete("/a", record.mod_revision + 5)
            async with store.watch("/", store.revision) as watch:
                event = await store.delete("/a", record.mod_revision)
                assert [event] == list(await anext(aiter(watch)))
            assert (event.key, event.record, event.previous) == ("/a", None, record)
            assert event.last_value == stamp(value("one"), event.revision)
            assert event.revision == store.revision == record.mod_revision + 1
            assert store.get("/a") is None
            with pytest.raises(interface.KeyMissing):
                await store.delete("/a")

        self.run(scenario)

    def test_a_key_can_be_created_again_after_its_deletion(self) -> None:
        async def scenario(store: interface.Store) -> None:
            await store.create("/a", value("one"))
            await store.delete("/a")
            again = await store.create("/a", value("two"))
            assert again.create_revision == again.mod_revision == store.revision

        self.run(scenario)

    def test_one_revision_counts_the_changes_of_all_keys(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            records = await asyncio.gather(*(store.create(f"/{n}", value("x")) for n in range(20)))
            assert sorted(record.mod_revision for record in records) == list(range(start + 1, start + 21))

        self.run(scenario)

    def test_of_rivals_exactly_one_wins(self) -> None:
        async def scenario(store: interface.Store) -> None:
            created = await _all(store.create("/a", value(str(n))) for n in range(8))
            assert _kinds(created) == ["KeyExists"] * 7 + ["Record"]
            seen = store.get("/a")
            assert seen is not None
            updated = await _all(store.update("/a", value(str(n)), seen.mod_revision) for n in range(8))
            assert _kinds(updated) == ["Record"] + ["RevisionMismatch"] * 7
            deleted = await _all(store.delete("/a") for _ in range(8))
            assert _kinds(deleted) == ["Event"] + ["KeyMissing"] * 7

        self.run(scenario)

    def test_who_loses_can_already_read_what_won(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async def rival() -> None:
                with pytest.raises(interface.KeyExists) as raised:
                    await store.create("/a", value("mine"))
                assert store.get("/a") is raised.value.current

            await asyncio.gather(store.create("/a", value("first")), *(rival() for _ in range(8)))

        self.run(scenario)

    def test_a_change_is_invisible_until_it_is_answered(self) -> None:
        async def scenario(store: interface.Store) -> None:
            before = store.revision
            write = asyncio.ensure_future(store.create("/a", value("x")))
            await asyncio.sleep(0)
            assert (store.get("/a") is None) == (not write.done())
            assert store.revision == before or write.done()
            await write

        self.run(scenario)

    def test_a_caller_that_gives_up_leaves_the_store_consistent(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            writes = [asyncio.ensure_future(store.create("/a", value(str(n)))) for n in range(5)]
            await asyncio.sleep(0)
            writes[0].cancel()
            writes[2].cancel()
            await asyncio.gather(*writes, return_exceptions=True)
            later = await store.create("/b", value("x"))
            assert store.get("/a") is not None
            assert later.mod_revision == store.revision == start + 2

        self.run(scenario)

    def test_range_is_in_the_order_of_bytes_and_only_of_the_prefix(self) -> None:
        async def scenario(store: interface.Store) -> None:
            names = ["/p/b", "/p/a/x", "/p/a", "/p/B", "/p/\u00e9", "/p/\U0001f600", "/p/\uffee", "/o", "/q", "/p"]
            for key in names:
                await store.create(key, value("x"))
            inside = sorted((key for key in names if key.startswith("/p/")), key=str.encode)
            assert [record.key for record in store.range("/p/").records] == inside
            assert store.count("/p/") == len(inside)
            assert [record.key for record in store.range("").records] == sorted(names, key=str.encode)
            assert store.range("/nothing").records == []
            assert store.count("/nothing") == 0

        self.run(scenario)

    def test_pages_follow_each_other_and_count_what_remains(self) -> None:
        async def scenario(store: interface.Store) -> None:
            await asyncio.gather(*(store.create(f"/p/{n:02}", value(str(n))) for n in range(10)))
            await store.create("/q", value("x"))
            pages = await _pages(store, "/p/", 4, lambda _: None)
            assert [len(page.records) for page in pages] == [4, 4, 2]
            assert [page.remaining for page in pages] == [6, 2, 0]
            assert _keys(pages) == [f"/p/{n:02}" for n in range(10)]
            assert store.range("/p/", after="/p/99").records == []
            assert store.range("/p/", after="/r").records == []
            assert len(store.range("/p/", after="/a", limit=3).records) == 3

        self.run(scenario)

    def test_all_pages_of_a_list_are_one_snapshot(self) -> None:
        async def scenario(store: interface.Store) -> None:
            for n in range(10):
                await store.create(f"/p/{n:02}", value(f"old {n}"))

            async def change(turn: int) -> None:
                await store.delete(f"/p/{turn:02}")
                await store.delete(f"/p/{9 - turn:02}")
                await store.create(f"/p/{turn + 5:02}+", value("new"))
                kept = store.get("/p/04")
                assert kept is not None
                await store.update("/p/04", value("new"), kept.mod_revision)

            pages = await _pages(store, "/p/", 3, change)
            assert _keys(pages) == [f"/p/{n:02}" for n in range(10)]
            assert [text(record.value) for page in pages for record in page.records] == [f"old {n}" for n in range(10)]
            assert [page.remaining for page in pages] == [7, 4, 1, 0]
            assert len({page.revision for page in pages}) == 1

        self.run(scenario)

    def test_a_past_state_can_be_read_until_it_is_compacted(self) -> None:
        async def scenario(store: interface.Store) -> None:
            await store.create("/a", value("1"))
            past = store.revision
            await store.create("/b", value("1"))
            await store.delete("/a")
            assert [record.key for record in store.range("/", revision=past).records] == ["/a"]
            with pytest.raises(interface.FutureRevision):
                store.range("/", revision=store.revision + 1)
            await store.compact(past)
            assert store.oldest_revision == past
            assert [record.key for record in store.range("/", revision=past).records] == ["/a"]
            await store.compact(store.revision)
            with pytest.raises(interface.Compacted) as raised:
                store.range("/", revision=past)
            assert raised.value.oldest == store.oldest_revision == store.revision
            assert [record.key for record in store.range("/").records] == ["/b"]

        self.run(scenario)

    def test_compaction_into_the_future_is_refused_and_into_the_past_does_nothing(self) -> None:
        async def scenario(store: interface.Store) -> None:
            await store.create("/a", value("1"))
            with pytest.raises(interface.FutureRevision):
                await store.compact(store.revision + 1)
            await store.compact(store.revision)
            await store.compact(1)
            assert store.oldest_revision == store.revision

        self.run(scenario)

    def test_a_watch_delivers_past_and_present_of_its_prefix_once_and_in_order(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            first = await store.create("/p/a", value("1"))
            await store.create("/q/a", value("1"))
            second = await store.update("/p/a", value("2"), first.mod_revision)
            async with store.watch("/p/", start) as watch:
                await store.create("/p/b", value("1"))
                await store.delete("/p/a", second.mod_revision)
                events = await _take(watch, 4)
            assert [(event.key, event.revision - start) for event in events] == [
                ("/p/a", 1),
                ("/p/a", 3),
                ("/p/b", 4),
                ("/p/a", 5),
            ]
            assert (events[0].record, events[0].previous) == (first, None)
            assert events[1].previous is first
            assert events[3].previous is second

        self.run(scenario)

    def test_a_watch_starts_after_its_revision(self) -> None:
        async def scenario(store: interface.Store) -> None:
            seen = await store.create("/a", value("1"))
            async with store.watch("/", seen.mod_revision) as watch:
                new = await store.create("/b", value("1"))
                assert [event.record for event in await _take(watch, 1)] == [new]

        self.run(scenario)

    def test_all_watchers_and_readers_share_one_object(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async with store.watch("/a", store.revision) as one, store.watch("/", store.revision) as two:
                await store.create("/a", value("1"))
                [first], [second] = await _take(one, 1), await _take(two, 1)
            assert first is second
            assert first.record is store.get("/a")

        self.run(scenario)

    def test_a_watch_of_what_is_compacted_or_ahead_is_refused_at_once(self) -> None:
        async def scenario(store: interface.Store) -> None:
            past = store.revision
            await store.create("/a", value("1"))
            await store.compact(store.revision)
            with pytest.raises(interface.Compacted):
                store.watch("/", past)
            with pytest.raises(interface.FutureRevision):
                store.watch("/", store.revision + 1)
            store.watch("/", store.revision)

        self.run(scenario)

    def test_a_live_watch_outlives_compaction(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async with store.watch("/", store.revision) as watch:
                await store.create("/a", value("1"))
                await store.compact(store.revision)
                await store.create("/b", value("1"))
                assert [event.key for event in await _take(watch, 2)] == ["/a", "/b"]

        self.run(scenario)

    def test_a_watch_that_still_reads_history_ends_when_that_is_compacted(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            await store.create("/a", value("1"))
            async with store.watch("/", start) as watch:
                await store.create("/b", value("1"))
                await store.compact(store.revision)
                with pytest.raises(interface.Compacted):
                    await _take(watch, 1)

        self.run(scenario)

    def test_progress_never_passes_what_was_not_delivered(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async with store.watch("/p/", store.revision) as watch:
                await store.create("/q", value("1"))
                assert watch.progress == store.revision
                before = store.revision
                await store.create("/p/a", value("1"))
                assert watch.progress == before
                await _take(watch, 1)
                assert watch.progress == store.revision

        self.run(scenario)

    def test_a_watcher_that_does_not_read_is_cut_and_can_resume(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async with store.watch("/", store.revision, max_bytes=1000) as watch:
                for n in range(20):
                    await store.create(f"/{n:02}", value("x" * 100))
                with pytest.raises(interface.WatcherTooSlow):
                    await _take(watch, 20)
                resume = watch.progress
            async with store.watch("/", resume) as again:
                events = await _take(again, store.revision - resume)
            assert [event.revision for event in events] == list(range(resume + 1, store.revision + 1))

        self.run(scenario)

    def test_a_slow_watcher_disturbs_no_other(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            async with store.watch("/", start, max_bytes=10), store.watch("/", start) as quick:
                for n in range(5):
                    await store.create(f"/{n}", value("x"))
                assert len(await _take(quick, 5)) == 5

        self.run(scenario)

    def test_history_is_bounded_by_number(self) -> None:
        async def scenario(store: interface.Store) -> None:
            record = await store.create("/a", value("0"))
            for n in range(100):
                record = await store.update("/a", value(str(n)), record.mod_revision)
            kept = store.revision - store.oldest_revision
            assert 5 <= kept <= 21, kept
            assert store.get("/a") is record

        self.run(scenario, state.HistoryLimits(events=20))

    def test_history_is_bounded_by_bytes(self) -> None:
        async def scenario(store: interface.Store) -> None:
            record = await store.create("/a", value("0"))
            for _ in range(100):
                record = await store.update("/a", value("x" * 1000), record.mod_revision)
            kept = store.revision - store.oldest_revision
            assert 5 <= kept <= 21, kept

        self.run(scenario, state.HistoryLimits(bytes=20_000))

    def test_closing_ends_watches_and_refuses_everything_after(self) -> None:
        async def main() -> None:
            store = await self.open_store(stamp, state.HistoryLimits())
            waits = asyncio.ensure_future(store.wait_revision(store.revision + 9))
            async with store.watch("/", store.revision) as watch:
                reader = asyncio.ensure_future(_drain(watch))
                await store.create("/a", value("1"))
                await store.close()
                assert [event.key for event in await reader] == ["/a"]
            with pytest.raises(interface.StoreFailed):
                store.get("/a")
            with pytest.raises(interface.StoreFailed):
                await store.create("/b", value("1"))
            with pytest.raises(interface.StoreFailed):
                await waits

        asyncio.run(main())

    def test_of_transactions_that_meet_one_wins(self) -> None:
        """Two keys that are to stay equal, and many who change both: none sees or makes them differ."""

        async def scenario(store: interface.Store) -> None:
            for key in ("/x", "/y"):
                await store.create(key, value("0"))

            async def bump() -> None:
                while True:
                    x, y = store.get("/x"), store.get("/y")
                    assert x is not None
                    assert y is not None
                    assert text(x.value) == text(y.value)
                    more = value(str(int(text(x.value)) + 1))
                    pair = [interface.Write("/x", more, x.mod_revision), interface.Write("/y", more, y.mod_revision)]
                    try:
                        await store.transact(pair if store.revision % 2 else pair[::-1])
                    except interface.RevisionMismatch:
                        continue
                    return

            await asyncio.gather(*(bump() for _ in range(20)))
            found = store.get("/x")
            assert found is not None
            assert text(found.value) == "20"

        self.run(scenario)

    # -- past and present

    def test_one_key_as_of_any_revision_that_is_remembered(self) -> None:
        async def scenario(store: interface.Store) -> None:
            start = store.revision
            first = await store.create("/a", value("1"))
            await store.create("/b", value("1"))
            await store.update("/a", value("2"), first.mod_revision)
            await store.delete("/a")

            def seen(revision: int) -> str | None:
                found = store.get("/a", at=revision)
                return text(found.value) if found is not None else None

            assert [seen(start + number) for number in range(5)] == [None, "1", "1", "2", None]
            with pytest.raises(interface.FutureRevision):
                store.get("/a", at=start + 5)
            assert [record.key for record in await store.range_of_past("/", start + 2)] == ["/a", "/b"]
            await store.compact(start + 2)
            with pytest.raises(interface.Compacted):
                store.get("/a", at=start + 1)
            with pytest.raises(interface.Compacted):
                await store.range_of_past("/", start + 1)

        self.run(scenario)

    def test_waiting_for_a_revision(self) -> None:
        async def scenario(store: interface.Store) -> None:
            await store.wait_revision(store.revision)
            waits = asyncio.ensure_future(store.wait_revision(store.revision + 2))
            given_up = asyncio.ensure_future(store.wait_revision(store.revision + 2))
            await store.create("/a", value("1"))
            await asyncio.sleep(0)
            assert not waits.done()
            given_up.cancel()
            await store.create("/b", value("1"))
            async with asyncio.timeout(5):
                await waits
            assert await store.wait_current() == store.revision

        self.run(scenario)

    def test_a_thousand_watchers_see_every_change(self) -> None:
        async def scenario(store: interface.Store) -> None:
            async def follow() -> list[int]:
                async with store.watch("/p/", start) as watch:
                    return [event.revision for event in await _take(watch, 10)]

            start = store.revision
            readers = [asyncio.ensure_future(follow()) for _ in range(1000)]
            await asyncio.sleep(0)
            for n in range(10):
                await store.create(f"/p/{n}", value("x"))
            expected = list(range(start + 1, start + 11))
            assert all(seen == expected for seen in await asyncio.gather(*readers))

        self.run(scenario)

    def test_a_transaction_happens_as_a_whole(self) -> None:
        async def scenario(store: interface.Store) -> None:
            there = await store.create("/there", value("0"))
            going = await store.create("/going", value("0"))
            start = store.revision
            async with store.watch("/", start) as watch:
                events = await store.transact(
                    [
                        interface.Write("/new", value("1"), 0),
                        interface.Write("/there", value("1"), there.mod_revision),
                        interface.Write("/going", None, going.mod_revision),
                    ]
                )
                assert [event.revision for event in events] == [start + 1, start + 2, start + 3]
                # One batch: nobody has seen a part of it.
                assert list(await anext(aiter(watch))) == list(events)
            assert [text(record.value) for record in store.range("/").records] == ["1", "1"]
            assert store.get("/there").create_revision == there.create_revision  # type: ignore[union-attr]
            assert store.get("/going") is None
            assert store.revision == start + 3

        self.run(scenario)

    def test_a_transaction_with_one_wrong_expectation_changes_nothing(self) -> None:
        async def scenario(store: interface.Store) -> None:
            there = await store.create("/there", value("0"))
            fine = interface.Write("/new", value("1"), 0)
            wrong = [
                (interface.Write("/there", value("1"), 0), interface.KeyExists),
                (interface.Write("/there", value("1"), there.mod_revision + 1), interface.RevisionMismatch),
                (interface.Write("/there", None, there.mod_revision + 1), interface.RevisionMismatch),
                (interface.Write("/gone", value("1"), there.mod_revision), interface.KeyMissing),
                (interface.Write("/gone", None, there.mod_revision), interface.KeyMissing),
            ]
            for write, error in wrong:
                for writes in ([fine, write], [write, fine]):
                    with pytest.raises(error):
                        await store.transact(writes)
            assert store.revision == there.mod_revision
            assert await store.transact([]) == []

        self.run(scenario)

    def test_of_transactions_that_share_a_key_one_wins_and_the_others_change_nothing(self) -> None:
        async def scenario(store: interface.Store) -> None:
            shared = await store.create("/shared", value("0"))

            async def claim(name: str) -> object:
                return await store.transact(
                    [
                        interface.Write(f"/own/{name}", value(name), 0),
                        interface.Write("/shared", value(name), shared.mod_revision),
                    ]
                )

            outcomes = await _all(claim(f"{number}") for number in range(5))
            assert sum(isinstance(outcome, interface.RevisionMismatch) for outcome in outcomes) == 4
            (own,) = store.range("/own/").records
            winner = store.get("/shared")
            assert winner is not None
            assert text(winner.value) == text(own.value)

        self.run(scenario)

    def test_transactions_meet_plain_changes_of_their_keys_in_order(self) -> None:
        async def scenario(store: interface.Store) -> None:
            a = await store.create("/a", value("0"))
            outcomes = await _all(
                [
                    store.update("/a", value("1"), a.mod_revision),
                    store.transact([interface.Write("/a", None, a.mod_revision), interface.Write("/b", value("1"), 0)]),
                    store.create("/b", value("2")),
                ]
            )
            assert isinstance(outcomes[1], interface.RevisionMismatch)
            assert [text(record.value) for record in store.range("/").records] == ["1", "2"]

        self.run(scenario)


async def _take(watch: interface.Watch, count: int) -> list[interface.Event]:
    """At least `count` events; fails on what is not there within ten seconds."""
    events: list[interface.Event] = []
    async with asyncio.timeout(10):
        while len(events) < count:
            batch = await anext(aiter(watch))
            assert batch, "batches are never empty"
            events += batch
    return events


async def _drain(watch: interface.Watch) -> list[interface.Event]:
    return [event async for batch in watch for event in batch]


async def _pages(
    store: interface.Store, prefix: str, limit: int, between: Callable[[int], Awaitable[None] | None]
) -> list[interface.Page]:
    pages: list[interface.Page] = []
    after, revision = "", 0
    while not pages or pages[-1].remaining:
        page = store.range(prefix, after=after, limit=limit, revision=revision)
        pages.append(page)
        after, revision = page.records[-1].key, page.revision
        waiting = between(len(pages) - 1)
        if waiting is not None:
            await waiting
    return pages


def _keys(pages: Sequence[interface.Page]) -> list[str]:
    return [record.key for page in pages for record in page.records]


async def _all(writes: Iterable[Coroutine[Any, Any, object]]) -> list[object]:
    return await asyncio.gather(*writes, return_exceptions=True)


def _kinds(outcomes: Sequence[object]) -> list[str]:
    return sorted(type(outcome).__name__ for outcome in outcomes)
