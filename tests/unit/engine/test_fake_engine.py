"""The fake passes the contract, so that what is tested against it holds on a real machine."""

import asyncio
import json
import pathlib

import pytest

from pinnace.kit import clock
from pinnace.testing import engine_contract, fake_engine


@pytest.mark.parametrize("check", engine_contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        host = fake_engine.FakeHost(clock.SystemClock())
        host.add_image("busybox:1")
        archive = tmp_path / "archive.json"
        archive.write_text(json.dumps(["archived:1"]))

        async def reopen() -> fake_engine.FakeEngine:
            await harness.engine.close()
            engine = fake_engine.FakeEngine(host)
            await engine.open()
            return engine

        engine = fake_engine.FakeEngine(host)
        await engine.open()
        harness = engine_contract.Harness(engine, "busybox:1", archive, tmp_path, reopen)
        await check(harness)

    asyncio.run(main())
