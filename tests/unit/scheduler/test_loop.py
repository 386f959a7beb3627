"""The whole scheduler against an API: what it binds, writes and says, also when writes fail."""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pinnace.client import client, events, informers, transport
from pinnace.scheduler import framework, loop, pods, snapshot, volumes
from pinnace.testing import clock as virtual
from pinnace.testing import scheduling
from pinnace.web import messages

node, pod = scheduling.node, scheduling.pod
Object = dict[str, Any]
NODES, PODS = "/api/v1/nodes", scheduling.PODS_PATH
CLAIMS, VOLUMES = "/api/v1/persistentvolumeclaims", "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"


class World:
    def __init__(self, extend: Callable[[framework.Profile], framework.Profile] = lambda profile: profile) -> None:
        self.time = virtual.VirtualClock()
        self.api = scheduling.SchedulingApi()
        self.client = client.Client(transport.DirectTransport(self.api.handle, None))
        self.recorder = events.EventRecorder(self.client, "default-scheduler", self.time)
        self.informers = informers.Informers(self.client, self.time)
        self.scheduler = loop.Scheduler(
            self.client, self.informers, self.time, self.recorder, rng=random.Random(1), extend=extend
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Without time passing."""
        for _ in range(200):
            await virtual.settle()
            if condition():
                return
        raise AssertionError("it never came to that")

    async def add(self, collection: str, *objects: Object) -> None:
        for obj in objects:
            await self.api.put(collection, obj)

    def events(self) -> list[tuple[str, str, str, str]]:
        """(about, type, reason, message)."""
        return sorted(
            (obj["involvedObject"]["name"], obj["type"], obj["reason"], obj["message"])
            for (collection, _, _), obj in self.api.objects.items()
            if collection == "/api/v1/events"
        )

    def condition(self, name: str) -> Object:
        conditions = self.api.pod(name)["status"].get("conditions", ())
        return next((c for c in conditions if c["type"] == "PodScheduled"), {})


@contextlib.asynccontextmanager
async def running(
    extend: Callable[[framework.Profile], framework.Profile] = lambda profile: profile,
) -> AsyncIterator[World]:
    world = World(extend)
    parts = (world.informers.run, world.scheduler.run, world.recorder.run)
    tasks = [asyncio.create_task(part()) for part in parts]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_pod_is_bound_and_an_event_says_so() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("node-1"))
            await world.add(PODS, pod("web"))
            await world.until(world.events)
            assert world.api.bindings == [("web", "node-1")]
            assert world.events() == [("web", "Normal", "Scheduled", "Successfully assigned default/web to node-1")]

    asyncio.run(main())


def test_a_pod_that_fits_nowhere_says_why_and_is_tried_again_when_a_node_comes() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("n1", cpu="1"), node("n2", taints=["a:NoSchedule"]), node("n3", cpu="1"))
            await world.add(PODS, pod("web", cpu="2"))
            await world.until(lambda: world.events() and world.condition("web"))
            message = (
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to "
                "deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
            )
            assert world.events() == [("web", "Warning", "FailedScheduling", message)]
            condition = world.condition("web")
            assert (condition["status"], condition["reason"], condition["message"]) == (
                "False",
                "Unschedulable",
                message,
            )
            await world.add(NODES, node("n4"))
            await world.time.advance(1.1)
            await world.until(lambda: world.api.bindings)
            assert world.api.bindings == [("web", "n4")]

    asyncio.run(main())


def test_the_same_reason_is_not_written_twice() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("n1", cpu="1"))
            await world.add(PODS, pod("web", cpu="2"))
            await world.until(lambda: world.condition("web"))
            for _ in range(3):
                await world.time.advance(310)
            patches = [r for r in world.api.requests if r.method == "PATCH" and r.path.endswith("/pods/web/status")]
            assert len(patches) == 1

    asyncio.run(main())


def test_only_pods_of_this_scheduler_and_without_gates() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("n1"))
            await world.add(
                PODS, pod("other", schedulerName="mine"), pod("gated", schedulingGates=[{"name": "a"}]), pod("web")
            )
            await world.until(lambda: world.api.bindings and world.condition("gated"))
            assert world.api.bindings == [("web", "n1")]
            assert world.condition("gated")["reason"] == "SchedulingGated"
            assert world.condition("gated")["message"] == "Scheduling is blocked due to non-empty scheduling gates"
            await world.add(PODS, pod("gated"))
            await world.until(lambda: len(world.api.bindings) == 2)

    asyncio.run(main())


def test_many_pods_fill_the_nodes_and_never_more() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, *(node(f"n{n}", cpu="4", pods=5) for n in range(10)))
            await world.add(PODS, *(pod(f"p{n}", cpu="1") for n in range(60)))
            await world.until(lambda: len(world.api.bindings) == 40)
            await world.until(lambda: world.scheduler.queue.unschedulable_count == 20)
            per_node = [sum(name == f"n{n}" for _, name in world.api.bindings) for n in range(10)]
            assert per_node == [4] * 10
            assert len({name for name, _ in world.api.bindings}) == 40, "no pod was bound twice"

    asyncio.run(main())


def test_a_binding_that_fails_is_forgotten_and_tried_again() -> None:
    async def main() -> None:
        async with running() as world:
            refusals = 2

            def refuse(request: messages.Request) -> None:
                nonlocal refusals
                if request.path.endswith("/binding") and refusals:
                    refusals -= 1
                    raise messages.Disconnected

            world.api.fault = refuse
            await world.add(NODES, node("n1", cpu="1"))
            await world.add(PODS, pod("web", cpu="1"))
            await world.until(lambda: world.condition("web"))
            assert world.condition("web")["reason"] == "SchedulerError"
            assert world.scheduler.nodes.requested[:, 0].tolist() == [0]
            await world.time.advance(5)
            await world.until(lambda: world.api.bindings)
            assert world.scheduler.nodes.requested[:, 0].tolist() == [1000]

    asyncio.run(main())


def test_a_pod_that_another_scheduler_has_bound_is_left_alone() -> None:
    async def main() -> None:
        async with running() as world:

            def steal(request: messages.Request) -> None:
                if request.path.endswith("/binding"):
                    world.api.pod("web")["spec"]["nodeName"] = "n2"

            world.api.fault = steal
            await world.add(NODES, node("n1"))
            await world.add(PODS, pod("web"))
            await world.until(lambda: any(request.path.endswith("/binding") for request in world.api.requests))
            await world.add(PODS, pod("web", node="n2"))
            await world.time.advance(30)
            assert world.api.bindings == []
            assert sum(request.path.endswith("/binding") for request in world.api.requests) == 1

    asyncio.run(main())


def test_a_more_important_pod_takes_the_place_of_a_less_important_one() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("n1", cpu="2"))
            await world.add(PODS, pod("low", cpu="1", node="n1"), pod("mid", cpu="1", node="n1", priority=5))
            await world.until(lambda: len(world.scheduler.nodes.placed) == 2)
            deleted: list[str] = []

            def note(request: messages.Request) -> None:
                if request.method == "DELETE":
                    deleted.append(request.path)

            world.api.fault = note
            await world.add(PODS, pod("high", cpu="1", priority=10))
            await world.until(lambda: deleted and world.condition("high"))
            assert deleted == ["/api/v1/namespaces/default/pods/low"]
            high = world.api.pod("high")
            assert high["status"]["nominatedNodeName"] == "n1"
            assert world.condition("high")["message"] == "0/1 nodes are available: 1 Insufficient cpu."
            await world.time.advance(2)
            await world.until(lambda: world.api.bindings)
            assert world.api.bindings == [("high", "n1")]
            assert ("low", "Normal", "Preempted", "Preempted by pod default-high on node n1") in world.events()

    asyncio.run(main())


def test_a_victim_is_told_why_before_it_goes() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(NODES, node("n1", cpu="1"))
            await world.add(PODS, pod("low", cpu="1", node="n1"))
            await world.until(lambda: world.scheduler.nodes.placed)
            told: list[Object] = []

            def note(request: messages.Request) -> None:
                if request.method == "DELETE":
                    told.extend(world.api.pod("low")["status"]["conditions"])

            world.api.fault = note
            await world.add(PODS, pod("high", cpu="1", priority=10))
            await world.until(lambda: told)
            [condition] = told
            assert (condition["type"], condition["status"], condition["reason"], condition["message"]) == (
                "DisruptionTarget",
                "True",
                "PreemptionByScheduler",
                "default-scheduler: preempting to accommodate a higher priority pod",
            )

    asyncio.run(main())


def waiting_claim(**annotations: str) -> Object:
    return {
        "metadata": {"name": "data", "namespace": "default", "uid": "claim", "annotations": annotations},
        "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Pending"},
    }


LOCAL = {"metadata": {"name": "local"}, "provisioner": "pinnace.io/local", "volumeBindingMode": "WaitForFirstConsumer"}
VOLUME = {"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"}}, "status": {"phase": "Bound"}}


def test_a_pod_waits_until_its_claim_is_bound() -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(CLASSES, LOCAL)
            await world.add(NODES, node("n1"))
            await world.add(CLAIMS, waiting_claim())
            await world.add(PODS, pod("db", claims=("data",)), pod("web"))
            await world.until(lambda: world.api.bindings == [("web", "n1")])
            selected = world.api.objects[CLAIMS, "default", "data"]["metadata"]["annotations"]
            assert selected == {volumes.SELECTED_NODE: "n1"}
            await world.add(VOLUMES, VOLUME)
            bound = waiting_claim(**{volumes.SELECTED_NODE: "n1", volumes.BOUND: "yes"})
            bound["spec"]["volumeName"] = "v"
            await world.add(CLAIMS, bound)
            await world.until(lambda: ("db", "n1") in world.api.bindings)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["the provisioner gives up", "nobody answers"])
def test_a_pod_whose_claim_is_not_bound_is_tried_again(how: str) -> None:
    async def main() -> None:
        async with running() as world:
            await world.add(CLASSES, LOCAL)
            await world.add(NODES, node("n1"))
            await world.add(CLAIMS, waiting_claim())
            await world.add(PODS, pod("db", claims=("data",)))

            def selected() -> bool:
                annotations = world.api.objects[CLAIMS, "default", "data"]["metadata"].get("annotations", {})
                return volumes.SELECTED_NODE in annotations

            await world.until(selected)
            if how == "nobody answers":
                await world.time.advance(601)
            else:
                await world.add(CLAIMS, waiting_claim())
            await world.until(lambda: world.condition("db"))
            assert "binding volumes: " in world.condition("db")["message"]
            assert world.api.bindings == []
            await world.add(CLAIMS, waiting_claim())
            await world.time.advance(2)
            await world.until(selected)

    asyncio.run(main())


class FailsOnSome:
    """A user's plug-in with a bug."""

    name = "FailsOnSome"

    def pre_filter(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Rejection | None:
        if "trouble" in demand.labels:
            raise KeyError("a bug")
        return None


def test_a_plug_in_that_fails_on_one_pod_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    def extend(profile: framework.Profile) -> framework.Profile:
        return dataclasses.replace(profile, pre_filters=(*profile.pre_filters, FailsOnSome()))

    async def main() -> None:
        async with running(extend) as world:
            await world.add(NODES, node("n1"))
            await world.add(PODS, pod("bad", labels={"trouble": "yes"}, priority=9), pod("good"))
            await world.until(lambda: world.api.bindings)
            await world.time.advance(30)
            assert world.api.bindings == [("good", "n1")]

    asyncio.run(main())
    failures = [record for record in caplog.records if record.getMessage() == "scheduling of default/bad failed"]
    assert 3 <= len(failures) <= 6, "tried again with a growing delay"
