"""Both stores keep the contract of `store.interface`."""

import pathlib

import pytest

from pinnace.kit import clock
from pinnace.store import interface, memory, sqlite, state
from pinnace.testing import store_contract


class TestMemory(store_contract.StoreContract):
    async def open_store(self, stamp: interface.Stamp, limits: state.HistoryLimits) -> interface.Store:
        return memory.MemoryStore(stamp, clock.SystemClock(), limits)


class TestSqlite(store_contract.StoreContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: pathlib.Path) -> None:
        self.directory = tmp_path

    async def open_store(self, stamp: interface.Stamp, limits: state.HistoryLimits) -> interface.Store:
        settings = sqlite.Settings(history=limits)
        return await sqlite.open_store(self.directory / "store.db", stamp, clock.SystemClock(), settings)
