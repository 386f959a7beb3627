"""G7 under faults: an identity of a StatefulSet exists at most once, a Job never does more than it was asked for; and all ends well.

The controllers die between their writes, lose answers, see changes late; a witness with undelayed eyes judges every step.
"""

import asyncio
import os
import random
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.controllers import job
from pinnace.controllers.framework import executor
from pinnace.testing import control_plane, controller_chaos

Object = dict[str, Any]

SEEDS = int(os.environ.get("PINNACE_SEEDS", "2"))
NIGHTLY_SEEDS = int(os.environ.get("PINNACE_NIGHTLY_SEEDS", "60"))

STEPS, PLAIN, INDEXED = 6, 6, 5


def job_of(name: str, **spec: Any) -> Object:
    template = control_plane.template(name, restartPolicy="Never")
    return {"metadata": {"name": name}, "spec": {"template": template, "backoffLimit": 20, **spec}}


class Ends:
    """What pods do: those of Jobs end, some in failure; those of StatefulSets run, and some of them fail."""

    def __init__(self, plane: control_plane.ControlPlane, rng: random.Random) -> None:
        self.rng = rng
        self.node = control_plane.Node(plane, decide=self.decide)
        self.time = plane.time

    def decide(self, pod: Object) -> Object:
        self.node.start_seconds = self.rng.uniform(0.0, 6.0)
        if controller_chaos.owner(pod, "Job"):
            fails = self.rng.random() < 0.15
            return control_plane.finished(self.time, "Failed" if fails else "Succeeded", int(fails))
        if self.rng.random() < 0.1:
            return control_plane.finished(self.time, "Failed", 1)
        return control_plane.running(self.time, len(self.node.seen))


async def life(plane: control_plane.ControlPlane, rng: random.Random) -> None:
    """What users do meanwhile."""
    await plane.create(resources.STATEFUL_SETS, control_plane.workload("db", 3, serviceName="db"))
    parallel = control_plane.workload("all", 3, serviceName="all", podManagementPolicy="Parallel")
    await plane.create(resources.STATEFUL_SETS, parallel)
    for step in range(STEPS):
        await plane.create(resources.JOBS, job_of(f"plain-{step}", completions=PLAIN, parallelism=3))
        indexed = job_of(f"indexed-{step}", completions=INDEXED, parallelism=2, completionMode="Indexed")
        await plane.create(resources.JOBS, indexed)
        await asyncio.sleep(rng.uniform(2, 15))
        name = rng.choice(("db", "all"))
        change: Object = {"spec": {"replicas": rng.randrange(1, 5)}}
        if rng.random() < 0.4:
            containers = [{"name": "main", "image": f"image-{step}"}]
            change = {"spec": {"template": {"spec": {"containers": containers}}}}
        await plane.patch(resources.STATEFUL_SETS, name, change, kind="strategic")


async def assert_ended_well(plane: control_plane.ControlPlane) -> None:
    jobs = {
        f"{name}-{step}": count for name, count in (("plain", PLAIN), ("indexed", INDEXED)) for step in range(STEPS)
    }
    for name, wanted in jobs.items():
        found = await plane.get(resources.JOBS, name)
        conditions = {each["type"] for each in found["status"]["conditions"] if each["status"] == "True"}
        assert "Complete" in conditions, found["status"]
        assert found["status"]["succeeded"] == wanted
        pods = [pod for pod in await plane.list(resources.PODS) if controller_chaos.owner(pod, "Job") == name]
        assert sum(pod["status"].get("phase") == "Succeeded" for pod in pods) == wanted
        assert [pod["metadata"]["finalizers"] for pod in pods if pod["metadata"].get("finalizers")] == []
    for name in ("db", "all"):
        found = await plane.get(resources.STATEFUL_SETS, name)
        wanted = found["spec"]["replicas"]
        status = found["status"]
        assert (status["readyReplicas"], status["updatedReplicas"], status["replicas"]) == (wanted, wanted, wanted)


async def disturbed_then_calm(
    plane: control_plane.ControlPlane, chaos: controller_chaos.Chaos, rng: random.Random
) -> None:
    async with chaos.running():
        await life(plane, rng)
        await asyncio.sleep(120)
    await plane.stop_controllers()
    plane.start_controllers()
    await asyncio.sleep(900)


def campaign(seed: int, odds: controller_chaos.Odds | None = None) -> list[str]:
    """What the witness found wrong."""
    wrong: list[str] = []

    async def test(plane: control_plane.ControlPlane) -> None:
        rng = random.Random(seed)
        witness = controller_chaos.Witness(plane)
        watching = asyncio.create_task(witness.run())
        await asyncio.sleep(0.1)
        chaos = controller_chaos.Chaos(plane, rng, odds)
        whole = asyncio.create_task(disturbed_then_calm(plane, chaos, rng))
        watching.add_done_callback(lambda _: whole.cancel())
        while not whole.done() and not witness.wrong:  # noqa: ASYNC110 - virtual seconds
            await asyncio.sleep(1)
        wrong.extend(witness.wrong)
        assert not watching.done(), "the witness gave up"
        if not wrong:
            await whole
        whole.cancel()
        watching.cancel()
        await asyncio.gather(watching, whole, return_exceptions=True)
        if not wrong:
            await assert_ended_well(plane)

    control_plane.run(test, node=lambda plane: Ends(plane, random.Random(seed)).node)
    return wrong


@pytest.mark.parametrize("seed", range(SEEDS))
def test_identities_and_completions_hold_under_faults(seed: int) -> None:
    assert campaign(seed) == []


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_identities_and_completions_hold_under_many_faults() -> None:
    found = {seed: wrong for seed in range(1000, 1000 + NIGHTLY_SEEDS) if (wrong := campaign(seed))}
    assert found == {}


def test_the_witness_catches_a_controller_that_forgets_its_own_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor.Expectation, "is_met", lambda self, cache: True)
    assert any("run at once" in line or "are wanted" in line for seed in range(4) for line in campaign(seed))


def test_the_witness_catches_a_controller_that_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: Any) -> None:
        count(self)
        self._counted["succeeded"] += len(self._uids["succeeded"])

    count = job._Sync._count
    monkeypatch.setattr(job._Sync, "_count", forgetful)
    assert any("are counted" in line or "fall" in line for line in campaign(1))
