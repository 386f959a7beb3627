"""The node agent is killed while pods run, come and go: none restarts that should not, no line is lost, nothing is left (G10)."""

import asyncio
import contextlib
import functools
import os
import pathlib
import random
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.testing import api_load, faults, node_traces
from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.privileged, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("PINNACE_NODE_KILLS", "15"))
PODS = int(os.environ.get("PINNACE_PODS", "15"))
SEED = int(os.environ.get("PINNACE_SEED", "1"))
READY_SECONDS = float(os.environ.get("PINNACE_READY_SECONDS", "2.0"))

COUNT = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done"


def pod(name: str, script: str, policy: str = "Always") -> dict[str, Any]:
    container = {"name": "main", "image": "busybox:test", "command": ["sh", "-c", script]}
    spec = {"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"metadata": {"name": name}, "spec": spec}


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """What `condition` returns as soon as that is true."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(client.Unavailable):
                if found := await condition():
                    return found
            await asyncio.sleep(0.05)


async def phases(api: client.Client, names: set[str]) -> dict[str, dict[str, Any]]:
    found = await api_load.patiently(lambda: api.list(resources.PODS, "default"))
    return {item["metadata"]["name"]: item for item in found.items if item["metadata"]["name"] in names}


async def wait_running(api: client.Client, names: set[str]) -> None:
    async def all_run() -> bool:
        found = await phases(api, names)
        return len(found) == len(names) and all(is_ready(one) for one in found.values())

    await until(all_run)


def is_ready(one: dict[str, Any]) -> bool:
    conditions = one.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def container(one: dict[str, Any]) -> dict[str, Any]:
    return dict(one["status"]["containerStatuses"][0])


def lines_of(target: faults.Target, one: dict[str, Any]) -> list[str]:
    """Of all runs of the container, one after the other."""
    metadata = one["metadata"]
    folder = target.where.logs / "pods" / f"default_{metadata['name']}_{metadata['uid']}" / "main"
    files = sorted(folder.glob("*.log*"), key=lambda path: int(re.match(r"\d+", path.name)[0]))  # type: ignore[index]
    return [line.split(" ", 3)[3] for path in files for line in path.read_text().splitlines()]


async def delete_all(api: client.Client) -> None:
    await api.delete_collection(resources.PODS, "default")

    async def none_left() -> bool:
        return not (await api.list(resources.PODS, "default")).items

    await until(none_left)


class Churn:
    """Pods that run once and end with a code of their own, made, watched and deleted one after the other."""

    def __init__(self, target: faults.Target, number: int) -> None:
        self.target = target
        self.number = number
        self.done = 0
        self.stopping = False

    async def run(self) -> None:
        api = self.target.api()
        rng = random.Random(f"{SEED} churn {self.number}")
        while not self.stopping:
            name, code = f"once-{self.number}-{self.done}", self.done % 3
            try:
                await api.create(resources.PODS, "default", pod(name, f"echo ran; exit {code}", "Never"))
            except client.AlreadyExists:
                pass  # the answer to the first try was lost with the server
            except client.Unavailable:
                continue
            if rng.random() < 0.4:
                await asyncio.sleep(rng.uniform(0, 0.3))  # delete it in the middle of its start
            else:
                self.check(await until(functools.partial(self.ended, api, name)), code)
            with contextlib.suppress(client.NotFound):
                await until(functools.partial(self.deleted, api, name))
            self.done += 1
        await api.close()

    async def ended(self, api: client.Client, name: str) -> dict[str, Any] | None:
        found = await api.get(resources.PODS, "default", name)
        return found if found["status"].get("phase") in ("Succeeded", "Failed") else None

    async def deleted(self, api: client.Client, name: str) -> bool:
        await api.delete(resources.PODS, "default", name)
        return True

    def check(self, one: dict[str, Any], code: int) -> None:
        status = container(one)
        told = one["status"].get("message"), status["state"]
        assert one["status"]["phase"] == ("Failed" if code else "Succeeded"), told
        ended = status["state"]["terminated"]
        assert ended["exitCode"] == code, (ended.get("message"), status)
        assert status["restartCount"] == 0, status
        assert lines_of(self.target, one) == ["ran"]


@pytest.mark.parametrize("victims", [("node",), ("node", "server")], ids=["node", "both"])
def test_kills_restart_nothing_lose_nothing_and_leave_nothing(
    node_cluster: clusters.Cluster, victims: tuple[str, ...]
) -> None:
    target = faults.Target(node_cluster)
    names = {f"counter-{number}" for number in range(PODS)}

    async def campaign() -> list[float]:
        api = target.api()
        for name in names:
            await api.create(resources.PODS, "default", pod(name, COUNT))
        await wait_running(api, names)
        before = await phases(api, names)
        churns = [Churn(target, number) for number in range(3)]
        tasks = [asyncio.create_task(churn.run()) for churn in churns]
        rng = random.Random(SEED)
        seconds = []
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.0, 1.5))
            old = {name: target.kill(name) for name in victims}
            seconds.append(max(await asyncio.gather(*(target.back(name, pid) for name, pid in old.items()))))
        for churn in churns:
            churn.stopping = True
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks)
        print(f"\n{KILLS} kills of {victims}: {sum(churn.done for churn in churns)} pods came and went;"
              f" back after {faults.quantiles(seconds)}")  # fmt: skip
        await wait_running(api, names)
        check_unharmed(target, before, await phases(api, names))
        await delete_all(api)
        await node_traces.assert_none(target)
        await api.close()
        return seconds

    seconds = sorted(asyncio.run(campaign()))
    assert seconds[len(seconds) // 2] <= READY_SECONDS, faults.quantiles(seconds)
    assert "Traceback" not in target.log("node")


def check_unharmed(target: faults.Target, before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, one in after.items():
        assert container(one)["containerID"] == container(before[name])["containerID"], name
        assert container(one)["restartCount"] == 0, name
        lines = lines_of(target, one)
        assert lines == [str(number + 1) for number in range(len(lines))], name
        assert len(lines) > 20


def pid_of(pattern: str, identity: str) -> int:
    """The process of our cluster's cgroups or monitors whose command line matches."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if re.search(pattern, words) and (identity in words or identity in (entry / "cgroup").read_text()):
                return int(entry.name)
    return 0


@pytest.mark.parametrize("victim", ["container", "monitor"])
def test_a_killed_container_or_monitor_restarts_that_container_alone(
    node_cluster: clusters.Cluster, victim: str
) -> None:
    """Also when the agent dies at the same moment and finds out later."""
    target = faults.Target(node_cluster)
    kills = max(2, KILLS // 5)

    async def campaign() -> None:
        api = target.api()
        for name in ("bystander", "victim"):
            await api.create(resources.PODS, "default", pod(name, COUNT))
        await wait_running(api, {"bystander", "victim"})
        before = await phases(api, {"bystander"})
        for number in range(kills):
            one = (await phases(api, {"victim"}))["victim"]
            identifier = container(one)["containerID"].partition("://")[2]
            if victim == "monitor":
                pid = pid_of(f"conmon.*{identifier}", target.settings.id)
            else:
                pid = int((target.where.run / "containers" / identifier / "pid").read_text())
            assert pid
            os.kill(pid, signal.SIGKILL)
            if number % 2:
                old = target.kill("node")
                await target.back("node", old)

            async def restarted(count: int = number + 1) -> bool:
                status = container((await phases(api, {"victim"}))["victim"])
                return bool(status["restartCount"] >= count and "running" in status["state"])

            await until(restarted, 400)
            status = container((await phases(api, {"victim"}))["victim"])
            assert status["restartCount"] == number + 1
            # A monitor takes the exit code with it.
            expected = 255 if victim == "monitor" else 137
            assert status["lastState"]["terminated"]["exitCode"] == expected, status["lastState"]
        check_unharmed(target, before, await phases(api, {"bystander"}))
        await delete_all(api)
        await node_traces.assert_none(target)
        await api.close()

    asyncio.run(campaign())
    assert "Traceback" not in target.log("node")
