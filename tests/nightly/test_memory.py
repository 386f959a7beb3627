"""Pods that come and go by the hundred: what the processes keep of them ends with the pods, or with the history that is kept of them."""

import asyncio
import os
import pathlib
import re
import statistics
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.testing import cluster as clusters
from pinnace.testing import faults

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.privileged, pytest.mark.timeout(3600)]

WAVES = int(os.environ.get("PINNACE_MEMORY_WAVES", "10"))
SIZE = int(os.environ.get("PINNACE_MEMORY_PODS", "50"))
NODE_KIB_PER_POD = 60
SERVER_KIB_PER_POD = 80
"""Five minutes of history and an hour of events: what these weigh, and room for another machine's figures."""
WARM_UP_WAVES = 3


def private_kib(pid: int) -> int:
    """Anonymous memory that the process alone accounts for."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss_Anon:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]


def pod(name: str) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:test", "command": ["sh", "-c", "echo up; sleep 1000"]}
    return {"metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}


def slope(values: list[int]) -> float:
    """KiB per pod, after the first waves, by a straight line through the rest."""
    rest = values[WARM_UP_WAVES:]
    return statistics.linear_regression(range(len(rest)), rest).slope / SIZE


def test_the_check_sees_a_leak() -> None:
    assert slope([0, 0, 0, *(number * SIZE * 100 for number in range(7))]) == pytest.approx(100)


def test_what_is_kept_of_pods_that_are_gone_is_little(node_cluster: clusters.Cluster) -> None:
    target = faults.Target(node_cluster)

    async def wave(api: Any, number: int) -> None:
        names = [f"wave-{number}-{index}" for index in range(SIZE)]
        await asyncio.gather(*(api.create(resources.PODS, "default", pod(name)) for name in names))
        async with asyncio.timeout(120):
            while True:
                there = (await api.list(resources.PODS, "default")).items
                if sum(one["status"].get("phase") == "Running" for one in there) == SIZE:
                    break
                await asyncio.sleep(0.3)
            await api.delete_collection(resources.PODS, "default")
            while (await api.list(resources.PODS, "default")).items:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.3)

    async def campaign() -> dict[str, list[int]]:
        api = target.api()
        found: dict[str, list[int]] = {"server": [], "node": []}
        for number in range(WAVES):
            await wave(api, number)
            for name, values in found.items():
                values.append(private_kib(target.pid(name)))
        await api.close()
        return found

    found = asyncio.run(campaign())
    per_pod = {name: slope(values) for name, values in found.items()}
    print(f"\n{found}: KiB per pod {per_pod}")
    assert per_pod["node"] < NODE_KIB_PER_POD
    assert per_pod["server"] < SERVER_KIB_PER_POD
