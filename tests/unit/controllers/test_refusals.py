"""What a controller still does while some of its writes are refused: one failed duty must not keep it from the others."""

import asyncio
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client
from pinnace.controllers.framework import actions, executor
from pinnace.testing import control_plane
from pinnace.web import messages

Object = dict[str, Any]

WORKLOADS = {
    "job": (resources.JOBS, {"completions": 4, "parallelism": 2}),
    "indexed": (resources.JOBS, {"completions": 4, "parallelism": 2, "completionMode": "Indexed"}),
    "deployment": (resources.DEPLOYMENTS, {"replicas": 2}),
    "replicas": (resources.REPLICA_SETS, {"replicas": 2}),
    "stateful": (resources.STATEFUL_SETS, {"replicas": 2, "serviceName": "s"}),
    "daemon": (resources.DAEMON_SETS, {}),
    "cron": (resources.CRON_JOBS, {"schedule": "* * * * *"}),
}


def workload(name: str, resource: resources.Resource, spec: Object) -> Object:
    if resource in (resources.JOBS, resources.CRON_JOBS):
        job = {"template": control_plane.template(name, restartPolicy="Never")}
        own = {**spec, "jobTemplate": {"spec": job}} if resource is resources.CRON_JOBS else {**spec, **job}
        return {"metadata": {"name": name}, "spec": own}
    selector = {"matchLabels": {"app": name}}
    return {
        "metadata": {"name": name},
        "spec": {**spec, "selector": selector, "template": control_plane.template(name)},
    }


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_namespace_goes_whatever_works_in_it(phase: str) -> None:
    """Its pods end in `phase` when they are told to go, as those that handle SIGTERM do."""

    class Node(control_plane.Node):
        async def _end(self, pod: Object) -> None:
            if pod["status"].get("phase") in ("Pending", "Running"):
                await self.write_status(pod, control_plane.finished(self.plane.time, phase))
            await super()._end({**pod, "status": {"phase": phase}})

    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "gone"}})
        await asyncio.sleep(1)
        for name, (resource, spec) in WORKLOADS.items():
            await plane.create(resource, workload(name, resource, spec), "gone")
        await plane.create(resources.JOBS, workload("suspended", resources.JOBS, {"suspend": True}), "gone")
        await asyncio.sleep(70)
        assert len(await plane.list(resources.PODS, "gone")) >= 11
        await plane.admin.delete(resources.NAMESPACES, None, "gone")
        await plane.wait(lambda: _is_gone(plane, "gone"), seconds=30)

    control_plane.run(test, node=Node)


async def _is_gone(plane: control_plane.ControlPlane, name: str) -> bool:
    return await plane.find(resources.NAMESPACES, name) is None


def test_nobody_is_told_that_a_namespace_on_its_way_out_takes_nothing_new() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NAMESPACES, {"metadata": {"name": "gone"}})
        await asyncio.sleep(1)
        await plane.create(
            resources.CONFIG_MAPS, {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}}, "gone"
        )
        await plane.admin.delete(resources.NAMESPACES, None, "gone")
        await asyncio.sleep(1)
        outcome = await _executor(plane).run(
            [
                actions.Create(
                    resources.PODS,
                    "gone",
                    {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
                    on_error=(actions.Retry("told"),),
                ),
                actions.Requeue(7),
            ]
        )
        assert (outcome.error, outcome.retry, outcome.requeue_after) == (None, "", 7)

    control_plane.run(test)


def test_a_quota_that_refuses_pods_does_not_keep_a_job_from_counting_those_that_ended() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"count/pods": "1"}}}
        await plane.create(resources.RESOURCE_QUOTAS, quota)
        await asyncio.sleep(2)
        await plane.create(resources.JOBS, workload("work", resources.JOBS, {"completions": 3, "parallelism": 3}))
        await asyncio.sleep(10)
        found = await plane.get(resources.JOBS, "work")
        assert found["status"]["succeeded"] == 1
        assert all("finalizers" not in pod["metadata"] for pod in await plane.list(resources.PODS))

    def node(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: control_plane.finished(plane.time, "Succeeded"))

    control_plane.run(test, node=node)


def test_pods_that_cannot_be_made_do_not_keep_a_set_from_saying_what_there_is() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        def fault(request: messages.Request) -> None:
            if request.method == "POST" and request.path.endswith("/pods"):
                raise client.Forbidden({"code": 403, "reason": "Forbidden", "message": "a policy says no"})

        plane.fault = fault
        for name in ("stateful", "daemon"):
            resource, spec = WORKLOADS[name]
            await plane.create(resource, workload(name, resource, spec))
        await asyncio.sleep(2)
        stateful = await plane.get(resources.STATEFUL_SETS, "stateful")
        assert stateful["status"]["observedGeneration"] == 1
        daemon = await plane.get(resources.DAEMON_SETS, "daemon")
        assert daemon["status"]["desiredNumberScheduled"] == 1

    control_plane.run(test)


def test_one_object_that_cannot_be_written_does_not_keep_a_batch_from_the_others() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for number in range(4):
            await plane.create(resources.CONFIG_MAPS, {"metadata": {"name": f"m{number}"}})
        patches = [
            actions.Patch(resources.CONFIG_MAPS, "default", name, {"data": {"seen": "yes"}})
            for name in ("none", "m0", "m1", "m2", "m3")
        ]
        outcome = await _executor(plane).run(
            [actions.Batch(patches, on_error=(actions.Retry("again"),)), actions.Requeue(1)]
        )
        assert isinstance(outcome.error, client.NotFound)
        assert (outcome.retry, outcome.requeue_after) == ("again", None)
        seen = [
            each["metadata"]["name"]
            for each in await plane.list(resources.CONFIG_MAPS)
            if each.get("data", {}).get("seen")
        ]
        assert seen == ["m0", "m1", "m2", "m3"]

    control_plane.run(test, node=None)


def test_an_attempt_that_fails_ends_alone_and_is_tried_again() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        missing = actions.Patch(resources.CONFIG_MAPS, "default", "none", {})
        attempt = actions.Attempt([missing, actions.Retry("never reached")])
        outcome = await _executor(plane).run([attempt, actions.Requeue(1)])
        assert isinstance(outcome.error, client.NotFound)
        assert (outcome.retry, outcome.requeue_after) == ("", 1)

    control_plane.run(test, node=None)


def _executor(plane: control_plane.ControlPlane) -> executor.Executor:
    return executor.Executor(plane.admin, _Silent(), {})  # type: ignore[arg-type]


class _Silent:
    """A recorder of events that nobody reads."""

    def normal(self, *_: object) -> None: ...

    warning = normal
