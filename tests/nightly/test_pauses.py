"""Processes that stand still for longer than every lease (SIGSTOP, a suspended laptop): the cluster says so while it lasts, and
afterwards nothing was restarted, evicted or lost (G10)."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import api_load, faults
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.privileged, pytest.mark.timeout(1200)]

PAUSE_SECONDS = float(os.environ.get("PINNACE_LONG_PAUSE", "60"))
COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.2; done"
REPLICAS = 4


def deployment() -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "busybox:test", "command": ["sh", "-c", COUNT]}
    container["livenessProbe"] = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 2}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
    }
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }


class World:
    def __init__(self, cluster: clusters.Cluster) -> None:
        self.target = faults.Target(cluster)
        self.api = self.target.api()

    async def until(self, holds: Callable[[], Any], seconds: float) -> Any:
        async with asyncio.timeout(seconds):
            while not (found := await holds()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.25)
        return found

    async def node_ready(self) -> str:
        """Status of the Ready condition."""
        node = (await api_load.patiently(lambda: self.api.list(resources.NODES))).items[0]
        return next(str(each["status"]) for each in node["status"]["conditions"] if each["type"] == "Ready")

    async def pods(self) -> dict[str, tuple[Any, ...]]:
        """uid -> what must stay as it is."""
        found = (await api_load.patiently(lambda: self.api.list(resources.PODS, "default"))).items
        return {
            pod["metadata"]["uid"]: (
                pod["metadata"].get("deletionTimestamp"),
                *((each["containerID"], each["restartCount"]) for each in pod["status"].get("containerStatuses", ())),
            )
            for pod in found
        }

    async def start(self) -> dict[str, tuple[Any, ...]]:
        await self.api.create(resources.DEPLOYMENTS, "default", deployment())
        await self.until(self._all_ready, 60)
        return await self.pods()

    async def _all_ready(self) -> bool:
        status = (await self.api.get(resources.DEPLOYMENTS, "default", "web"))["status"]
        return bool(status.get("readyReplicas") == REPLICAS)

    async def has_status(self, wanted: str) -> bool:
        return await self.node_ready() == wanted

    async def settled(self, before: dict[str, tuple[Any, ...]], seconds: float = 20) -> None:
        """All is as before, now and for a while."""
        await self.until(lambda: self.has_status("True"), 30)
        await self.until(self._all_ready, 30)
        for _ in range(int(seconds)):
            assert await self.pods() == before
            await asyncio.sleep(1)
        for pod in (await self.api.list(resources.PODS, "default")).items:
            folder = self.target.where.logs / "pods" / f"default_{pod['metadata']['name']}_{pod['metadata']['uid']}"
            lines = [line.split(" ", 3)[3] for line in (folder / "main" / "0.log").read_text().splitlines()]
            assert lines == [str(number + 1) for number in range(len(lines))]


def stopped(target: faults.Target, *names: str) -> list[int]:
    pids = [target.pid(name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return pids


def go_on(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("victims", [("server",), ("node",), ("node", "server")], ids=["server", "node", "both"])
def test_a_long_pause_changes_nothing(node_cluster: clusters.Cluster, victims: tuple[str, ...]) -> None:
    async def campaign() -> None:
        world = World(node_cluster)
        before = await world.start()
        pids = stopped(world.target, *victims)
        try:
            if victims == ("node",):
                await world.until(lambda: world.has_status("Unknown"), PAUSE_SECONDS + 10)
                assert await world.pods() == before
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            go_on(pids)
        await world.settled(before)
        assert [world.target.pid(name) for name in victims] == pids, "a process was replaced"
        await world.api.close()
        for name in victims:
            assert "Traceback" not in world.target.log(name)

    asyncio.run(campaign())


def test_the_check_notices_a_container_that_was_restarted(node_cluster: clusters.Cluster) -> None:
    async def campaign() -> None:
        world = World(node_cluster)
        before = await world.start()
        container = next(iter(before.values()))[1][0].partition("://")[2]
        os.kill(int((world.target.where.run / "containers" / container / "pid").read_text()), signal.SIGKILL)
        with pytest.raises((AssertionError, TimeoutError, client.ApiError)):
            await world.settled(before, 30)
        await world.api.close()

    asyncio.run(campaign())
