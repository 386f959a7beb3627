"""Run by test_durability: 64 writers on one store until killed; prints `revision key` for each answered change."""

import asyncio
import itertools
import os
import pathlib
import sys

from pinnace.kit import clock
from pinnace.store import sqlite, state
from pinnace.testing import store_contract


async def write(store: sqlite.SqliteStore, number: int) -> None:
    for step in itertools.count():
        key = f"/{os.getpid()}/{number}/{step}"
        record = await store.create(key, store_contract.value("x" * 2000))
        if step % 3 == 0:
            record = await store.update(key, store_contract.value("y" * 2000), record.mod_revision)
        if step % 7 == 0:
            await store.create(key + "/short", store_contract.value("z"))
            await store.delete(key + "/short")
        os.write(1, f"{record.mod_revision} {key}\n".encode())


async def main() -> None:
    settings = sqlite.Settings(history=state.HistoryLimits(events=500))
    store = await sqlite.open_store(pathlib.Path(sys.argv[1]), store_contract.stamp, clock.SystemClock(), settings)
    await asyncio.gather(*(write(store, number) for number in range(64)))


asyncio.run(main())
