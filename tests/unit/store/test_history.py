"""Concurrent clients find every store linearizable, and the checker that says so finds planted bugs."""

import asyncio
import pathlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from pinnace.kit import clock
from pinnace.store import interface, memory, sqlite
from pinnace.testing import store_contract, store_history


async def memory_store(_: pathlib.Path) -> interface.Store:
    return memory.MemoryStore(store_contract.stamp, clock.SystemClock())


async def sqlite_store(directory: pathlib.Path) -> interface.Store:
    return await sqlite.open_store(directory / "store.db", store_contract.stamp, clock.SystemClock())


@pytest.mark.parametrize("open_store", [memory_store, sqlite_store])
@pytest.mark.parametrize("seed", range(5))
def test_concurrent_clients_find_no_violation(open_store: Any, seed: int, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store = await open_store(tmp_path)
        run = await store_history.record_run(store, seed)
        await store.close()
        assert len(run.writes) > 50
        assert store_history.find_violations(run) == []

    asyncio.run(main())


class LosesUpdates(memory.MemoryStore):
    """Takes whatever revision is there for the expected one."""

    async def update(self, key: str, value: bytes, expected_revision: int) -> interface.Record:
        current = self.get(key)
        return await super().update(key, value, current.mod_revision if current else expected_revision)


class ForgetsWrites(memory.MemoryStore):
    """Acknowledges a change now and then that it never makes."""

    async def update(self, key: str, value: bytes, expected_revision: int) -> interface.Record:
        if expected_revision % 7 == 0:
            revision = self.revision
            return interface.Record(key, store_contract.stamp(value, revision), revision, revision)
        return await super().update(key, value, expected_revision)


class ServesStaleReads(memory.MemoryStore):
    """Reads from a copy that is refreshed now and then."""

    copied: dict[str, interface.Record] | None = None
    reads = 0

    def get(self, key: str) -> interface.Record | None:
        self.reads += 1
        if self.copied is None or self.reads % 10 == 0:
            self.copied = dict(self._state.records)
        return self.copied.get(key)


class AnswersBeforeItIsVisible(memory.MemoryStore):
    async def create(self, key: str, value: bytes) -> interface.Record:
        await self._wait_settled(key)
        if (current := self._state.records.get(key)) is not None:
            raise interface.KeyExists(key, current)
        revision = self._next_revision
        record = interface.Record(key, self._stamp(value, revision), revision, revision)
        self._enqueue(interface.Event(revision, key, record, None))
        return record


class _TamperingWatch:
    def __init__(self, inner: interface.Watch, tamper: Any) -> None:
        self.inner, self.tamper = inner, tamper

    async def __aenter__(self) -> interface.Watch:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    def __aiter__(self) -> AsyncIterator[Sequence[interface.Event]]:
        return self._batches()

    async def _batches(self) -> AsyncIterator[Sequence[interface.Event]]:
        async for batch in self.inner:
            yield self.tamper(list(batch))

    @property
    def progress(self) -> int:
        return self.inner.progress


class Tampering(memory.MemoryStore):
    def tamper(self, batch: list[interface.Event]) -> list[interface.Event]:
        raise NotImplementedError

    def watch(self, prefix: str, after_revision: int, *, max_bytes: int = 8 << 20) -> interface.Watch:
        return _TamperingWatch(super().watch(prefix, after_revision, max_bytes=max_bytes), self.tamper)


class DropsEvents(Tampering):
    def tamper(self, batch: list[interface.Event]) -> list[interface.Event]:
        return [event for event in batch if event.revision % 11 or event.revision == self.revision]


class RepeatsEvents(Tampering):
    def tamper(self, batch: list[interface.Event]) -> list[interface.Event]:
        return [*batch, batch[-1]]


class ReordersEvents(Tampering):
    def tamper(self, batch: list[interface.Event]) -> list[interface.Event]:
        return [*batch[1:2], batch[0], *batch[2:]]


PLANTED = [
    LosesUpdates,
    ForgetsWrites,
    ServesStaleReads,
    AnswersBeforeItIsVisible,
    DropsEvents,
    RepeatsEvents,
    ReordersEvents,
]


@pytest.mark.parametrize("planted", PLANTED)
def test_the_checker_finds_a_planted_bug(planted: type[memory.MemoryStore]) -> None:
    async def main() -> None:
        found: list[str] = []
        for seed in range(3):
            store = planted(store_contract.stamp, clock.SystemClock())
            found += store_history.find_violations(await store_history.record_run(store, seed))
            await store.close()
        assert found

    asyncio.run(main())
