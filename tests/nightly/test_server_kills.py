"""The server is killed and paused under load: nothing acknowledged is lost, no watcher misses anything (G1 to G4)."""

import asyncio
import os
import random
import signal

import pytest

from pinnace.testing import api_history, api_load, faults
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("PINNACE_KILLS", "30"))
WRITERS = int(os.environ.get("PINNACE_WRITERS", "32"))
WATCHERS = int(os.environ.get("PINNACE_WATCHERS", "8"))
PAUSES = int(os.environ.get("PINNACE_PAUSES", "3"))
PAUSE_SECONDS = float(os.environ.get("PINNACE_PAUSE_SECONDS", "5"))
QUIET_SECONDS = float(os.environ.get("PINNACE_QUIET_SECONDS", "20"))
SEED = int(os.environ.get("PINNACE_SEED", "1"))
READY_SECONDS = float(os.environ.get("PINNACE_READY_SECONDS", "2.0"))
"""The target is 1 s on an idle machine; here the load generator has the same cores."""


def judge(load: api_load.Load, history: api_history.History, seconds: list[float]) -> None:
    acknowledged = sum(write.acknowledged for write in history.writes)
    events = sum(len(segment.events) for segment in history.segments)
    back = f"; back after {faults.quantiles(seconds)}" if seconds else ""
    print(
        f"\n{len(seconds)} faults: {acknowledged} of {len(history.writes)} writes acknowledged, {events} events watched,"
        f" {load.expired} times 410{back}"
    )
    assert api_history.find_violations(history) == []
    assert acknowledged > 0
    assert events > acknowledged


def test_kills_under_writers_lose_nothing(control_plane: clusters.Cluster) -> None:
    target = faults.Target(control_plane)
    rng = random.Random(SEED)

    async def campaign() -> list[float]:
        load = api_load.Load(target.api, "default")
        await load.start(WRITERS, WATCHERS, SEED)
        seconds = []
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.0, 0.7))
            seconds.append(await target.back("server", target.kill("server")))
        judge(load, await load.finish(), seconds)
        return seconds

    seconds = sorted(asyncio.run(campaign()))
    assert seconds[len(seconds) // 2] <= READY_SECONDS, faults.quantiles(seconds)
    assert "Traceback" not in target.log("server")


def test_pauses_of_the_server_lose_nothing(control_plane: clusters.Cluster) -> None:
    """SIGSTOP, SIGCONT: clients wait or give up; what they then find is consistent."""
    target = faults.Target(control_plane)
    pid = target.pid("server")

    async def campaign() -> None:
        load = api_load.Load(target.api, "default")
        await load.start(WRITERS, WATCHERS, SEED)
        seconds = []
        for _ in range(PAUSES):
            await asyncio.sleep(1)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(PAUSE_SECONDS)
            os.kill(pid, signal.SIGCONT)
            seconds.append(await target.back("server"))
        judge(load, await load.finish(), seconds)

    asyncio.run(campaign())
    assert target.pid("server") == pid
    assert "Traceback" not in target.log("server")


def test_many_watchers_that_cut_their_connections_or_read_slowly_miss_nothing(control_plane: clusters.Cluster) -> None:
    """Nobody is killed: the watchers alone behave badly."""
    target = faults.Target(control_plane)
    watchers = int(os.environ.get("PINNACE_MANY_WATCHERS", "100"))

    async def campaign() -> None:
        load = api_load.Load(target.api, "default")
        await load.start(4, watchers, SEED)
        await asyncio.sleep(QUIET_SECONDS)
        judge(load, await load.finish(), [])

    asyncio.run(campaign())
    assert "Traceback" not in target.log("server")
