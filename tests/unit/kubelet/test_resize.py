"""In-place resize: what is granted, how it is carried out, what the status says meanwhile."""

import asyncio
import pathlib
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.engine import interface
from pinnace.kubelet.pod import decide, model, resizing
from pinnace.testing import node_agent, pods

NODE = {"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10", "ephemeral-storage": "10Gi"}}}


def holder(name: str = "main", cpu: str = "100m", memory: str = "64Mi", **fields: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory}
    return pods.container(name, resources={"requests": dict(amounts), "limits": dict(amounts)}, **fields)


def resized(pod: dict[str, Any], **amounts: str) -> dict[str, Any]:
    return {**pod, "spec": {**pod["spec"], "containers": [holder(**amounts)]}}


CASES = [
    ("what fits is granted", {"cpu": "500m"}, None),
    ("a smaller share always fits", {"cpu": "50m"}, None),
    ("more than the node has never fits", {"cpu": "3"}, ("Infeasible", "cpu, requested: 3000, capacity: 2000")),
    ("more than the others leave waits", {"cpu": "1500m"}, ("Deferred", "cpu, requested: 1500, used: 1000")),
    ("memory counts alike", {"memory": "2Gi"}, ("Infeasible", "memory, requested: 2147483648, capacity: 1073741824")),
]


@pytest.mark.parametrize(("_", "amounts", "refusal"), CASES, ids=[case[0] for case in CASES])
def test_a_resize_is_granted_where_there_is_room(_: str, amounts: dict[str, str], refusal: Any) -> None:
    granted = pods.pod(containers=[holder()])
    other = pods.pod("other", containers=[holder(cpu="1")])
    found = resizing.allocate(resized(granted, **amounts), granted, NODE, [other])
    if refusal is None:
        assert found == resizing.Allocation(resized(granted, **amounts))
    else:
        assert found.pending is not None
        assert found.pending.reason == refusal[0]
        assert refusal[1] in found.pending.message
        assert found.pod["spec"]["containers"] == [holder()]


def test_amounts_that_mean_the_same_are_no_resize() -> None:
    assert resizing.same({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1000m"}})
    assert resizing.changed({"limits": {"cpu": "1"}}, {"requests": {"memory": "1"}}) == {"cpu", "memory"}


def running(container: str) -> model.Observed:
    view = model.ContainerView(container, container, 0, "box", model.State.RUNNING, image="busybox")
    return model.Observed(model.SandboxView("box", 0, True, ("10.42.0.5",)), (view,))


POLICIES: list[tuple[str, list[dict[str, str]], str]] = [
    ("limits change live", [], "resize"),
    (
        "a policy of another resource changes nothing",
        [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
        "resize",
    ),
    (
        "a restart where the policy wants it",
        [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
        "kill:main",
    ),
]


@pytest.mark.parametrize(("_", "policy", "key"), POLICIES, ids=[case[0] for case in POLICIES])
def test_the_resize_policy_decides_how(_: str, policy: list[dict[str, str]], key: str) -> None:
    pod = pods.pod(containers=[holder(cpu="200m", resizePolicy=policy)])
    actual = {"main": holder(cpu="100m")["resources"]}
    plan = decide.decide(pod, running("main"), model.Memory(volumes_ready=True, actual=actual), 0.0)
    assert [str(step.key) for step in plan.actions] == [key]


async def patch(agent: node_agent.NodeAgent, *amounts: dict[str, str]) -> None:
    containers = [holder(**each) for each in amounts]
    await agent.client.patch(
        resources.PODS, "default", "web", {"metadata": {"generation": 2}, "spec": {"containers": containers}}
    )


def conditions(agent: node_agent.NodeAgent) -> dict[str, dict[str, Any]]:
    return {each["type"]: each for each in agent.status("web").get("conditions") or ()}


def test_a_running_container_gets_its_new_limits_without_a_restart(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            pod = pods.pod("web", containers=[holder()])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            await patch(agent, {"cpu": "200m", "memory": "32Mi"})
            await agent.until(
                lambda: agent.status("web").get("observedGeneration") == 2 and "ResizeCompleted" in agent.reasons()
            )
            spec = agent.host.find(agent.container(pod, "main")).spec
            assert (spec.resources.cpu_quota_us, spec.resources.memory_bytes) == (20_000, 32 << 20)
            (sandbox,) = agent.host.sandboxes.values()
            assert sandbox.spec.resources is not None
            assert (sandbox.spec.resources.cpu_quota_us, sandbox.spec.resources.memory_bytes) == (20_000, 32 << 20)
            await agent.until(
                lambda: agent.status("web")["containerStatuses"][0]["resources"]["limits"]["cpu"] == "200m"
            )
            (entry,) = agent.status("web")["containerStatuses"]
            assert entry["restartCount"] == 0
            assert entry["allocatedResources"] == {"cpu": "200m", "memory": "32Mi"}
            assert not {"PodResizePending", "PodResizeInProgress"} & set(conditions(agent))

    asyncio.run(main())


def test_a_resize_that_waits_for_room_is_granted_when_another_pod_goes(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            whole = int(agent.kubelet.node.node["status"]["allocatable"]["cpu"])
            await agent.create(pods.pod("web", containers=[holder()]))
            await agent.create(
                pods.pod("other", containers=[holder(cpu=f"{whole * 1000 - 200}m")], terminationGracePeriodSeconds=1)
            )
            await agent.until(lambda: agent.phase("web") == agent.phase("other") == "Running")
            await patch(agent, {"cpu": f"{whole * 1000 - 100}m"})
            await agent.until(lambda: conditions(agent).get("PodResizePending", {}).get("reason") == "Deferred")
            assert agent.status("web")["containerStatuses"][0]["allocatedResources"]["cpu"] == "100m"
            await agent.restart()
            assert conditions(agent)["PodResizePending"]["reason"] == "Deferred"
            await agent.delete("other", grace=1)
            await agent.until(lambda: "PodResizePending" not in conditions(agent), seconds=10)
            await agent.until(
                lambda: (
                    agent.status("web")["containerStatuses"][0]["allocatedResources"]["cpu"] == f"{whole * 1000 - 100}m"
                )
            )

    asyncio.run(main())


def quota(sandbox: interface.Sandbox) -> int:
    return 0 if sandbox.spec.resources is None else sandbox.spec.resources.cpu_quota_us


def test_a_pod_with_resources_as_a_whole_is_resized_as_a_whole(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            amounts = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "128Mi"}}
            await agent.create(pods.pod("web", containers=[pods.container("m")], resources=amounts))
            await agent.until(lambda: agent.phase("web") == "Running")
            assert agent.status("web")["resources"] == amounts
            change = {"requests": {"cpu": "150m", "memory": "64Mi"}, "limits": {"cpu": "300m", "memory": "128Mi"}}
            await agent.client.patch(resources.PODS, "default", "web", {"spec": {"resources": change}})
            await agent.until(lambda: agent.status("web")["resources"] == change)
            assert agent.status("web")["allocatedResources"] == change["requests"]
            await agent.until(lambda: [quota(each) for each in agent.host.sandboxes.values()] == [30_000])
            assert agent.status("web")["containerStatuses"][0]["restartCount"] == 0

    asyncio.run(main())


def test_limits_that_cannot_be_set_show_as_an_error_in_progress(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(pods.pod("web", containers=[holder()]))
            await agent.until(lambda: agent.phase("web") == "Running")
            agent.host.failures["update"] = interface.EngineError("below current usage")
            await patch(agent, {"memory": "32Mi"})
            await agent.until(lambda: "PodResizeInProgress" in conditions(agent))
            shown = conditions(agent)["PodResizeInProgress"]
            assert (shown["reason"], shown["message"]) == ("Error", "below current usage")
            assert agent.status("web")["containerStatuses"][0]["resources"]["limits"]["memory"] == "64Mi"
            await agent.until(lambda: "PodResizeInProgress" not in conditions(agent), seconds=60)
            assert agent.status("web")["containerStatuses"][0]["resources"]["limits"]["memory"] == "32Mi"
            # The fake's containers use 1 MiB.
            await patch(agent, {"memory": "10Ki"})
            await agent.until(lambda: "PodResizeInProgress" in conditions(agent), seconds=60)
            await patch(agent, {"memory": "32Mi"})
            await agent.until(lambda: "PodResizeInProgress" not in conditions(agent), seconds=60)

    asyncio.run(main())
