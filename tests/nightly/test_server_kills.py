"""The server is killed, paused and cut off under load: nothing acknowledged is lost, no watcher misses anything (G1 to G4)."""

import asyncio
import os
import pathlib
import random
import signal
import time

import pytest

from pinnace.assemble import connect, places, processes, settings
from pinnace.client import client
from pinnace.testing import api_history, api_load
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("PINNACE_KILLS", "30"))
WRITERS = int(os.environ.get("PINNACE_WRITERS", "32"))
WATCHERS = int(os.environ.get("PINNACE_WATCHERS", "8"))
PAUSES = int(os.environ.get("PINNACE_PAUSES", "3"))
PAUSE_SECONDS = float(os.environ.get("PINNACE_PAUSE_SECONDS", "5"))
SEED = int(os.environ.get("PINNACE_SEED", "1"))
READY_SECONDS = float(os.environ.get("PINNACE_READY_SECONDS", "1.0"))


def parts(cluster: clusters.Cluster) -> tuple[places.Places, settings.Cluster]:
    return settings.require(cluster.data)


async def ready(admin: connect.Admin, pid_file: pathlib.Path, old: int, limit: float = 60) -> float:
    """Seconds until a new process answers /readyz."""
    begun = time.monotonic()
    while processes.read(pid_file) in (None, old) or not await admin.is_ready():
        assert time.monotonic() - begun < limit, f"not ready after {limit} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - begun


def quantiles(values: list[float]) -> str:
    found = sorted(values)
    return f"p50 {found[len(found) // 2]:.2f} s, p90 {found[len(found) * 9 // 10]:.2f} s, max {found[-1]:.2f} s"


def judge(load: api_load.Load, history: api_history.History, seconds: list[float]) -> None:
    acknowledged = sum(write.acknowledged for write in history.writes)
    events = sum(len(segment.events) for segment in history.segments)
    print(
        f"\n{len(seconds)} faults: {acknowledged} of {len(history.writes)} writes acknowledged, {events} events watched,"
        f" {load.expired} times 410; back after {quantiles(seconds)}"
    )
    assert api_history.find_violations(history) == []
    assert acknowledged > 0
    assert events > acknowledged


def test_kills_under_writers_lose_nothing(control_plane: clusters.Cluster) -> None:
    where, cluster = parts(control_plane)
    rng = random.Random(SEED)
    pid_file = where.pid_file("server")

    def api() -> client.Client:
        return connect.over_tls(where.pki, cluster.url, "admin")

    async def campaign() -> list[float]:
        load = api_load.Load(api, "default")
        await load.start(WRITERS, WATCHERS, SEED)
        seconds = []
        async with connect.Admin(where, cluster) as admin:
            for _ in range(KILLS):
                await asyncio.sleep(rng.uniform(0.0, 0.7))
                pid = processes.read(pid_file)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                seconds.append(await ready(admin, pid_file, pid))
        judge(load, await load.finish(), seconds)
        return seconds

    seconds = sorted(asyncio.run(campaign()))
    assert seconds[len(seconds) // 2] <= READY_SECONDS, quantiles(seconds)
    assert "Traceback" not in where.log_of("server").read_text()


def test_pauses_of_the_server_lose_nothing(control_plane: clusters.Cluster) -> None:
    """SIGSTOP, SIGCONT: clients wait or give up; what they then find is consistent."""
    where, cluster = parts(control_plane)
    pid = processes.read(where.pid_file("server"))
    assert pid is not None

    async def campaign() -> None:
        load = api_load.Load(lambda: connect.over_tls(where.pki, cluster.url, "admin"), "default")
        await load.start(WRITERS, WATCHERS, SEED)
        seconds = []
        async with connect.Admin(where, cluster) as admin:
            for _ in range(PAUSES):
                await asyncio.sleep(1)
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(PAUSE_SECONDS)
                os.kill(pid, signal.SIGCONT)
                seconds.append(await ready(admin, where.pid_file("server"), 0))
        judge(load, await load.finish(), seconds)

    asyncio.run(campaign())
    assert processes.read(where.pid_file("server")) == pid
    assert "Traceback" not in where.log_of("server").read_text()
