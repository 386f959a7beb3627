"""Pods that ask for something special: image volumes, runtime classes, debug containers, profiles of the node's own."""

import asyncio
import pathlib
from typing import Any

from pinnace.api import resources
from pinnace.kubelet.pod import containers
from pinnace.testing import node_agent, pods


def image_volume(reference: str, **source: Any) -> dict[str, Any]:
    mounts = [{"name": "files", "mountPath": "/files"}]
    return pods.pod(
        "web",
        containers=[pods.container("main", volumeMounts=mounts)],
        volumes=[{"name": "files", "image": {"reference": reference, **source}}],
    )


def test_an_image_volume_is_pulled_mounted_and_given_up(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            image = agent.host.add_image("registry.example/files:1", remote=True)
            pod = image_volume("registry.example/files:1", pullPolicy="IfNotPresent")
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            assert ("Normal", "Pulling", 'Pulling image "registry.example/files:1"') in agent.events
            ((folder, shown),) = agent.host.image_mounts.items()
            assert shown == image.id
            (mount,) = [m for m in agent.host.find(agent.container(pod, "main")).spec.mounts if m.target == "/files"]
            assert (mount.source, mount.read_only, mount.no_exec) == (folder, True, True)
            await agent.delete("web", grace=1)
            await agent.until(lambda: agent.pod("web") is None, seconds=5)
            await agent.until(lambda: not folder.exists())

    asyncio.run(main())


def test_containers_say_why_the_image_of_a_volume_is_missing(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(image_volume("no/such:1", pullPolicy="Never"))
            await agent.until(lambda: agent.state("web").get("waiting", {}).get("reason") == "ErrImageNeverPull")
            assert agent.phase("web") == "Pending"
            # Once it is there the pod runs without anybody's help.
            agent.host.add_image("no/such:1")
            await agent.until(lambda: agent.phase("web") == "Running", seconds=300)

    asyncio.run(main())


def runtime_class(name: str, handler: str) -> dict[str, Any]:
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler}


def test_a_pod_whose_runtime_this_node_lacks_waits_and_says_so(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(runtime_class("known", "runc"), resources.RUNTIME_CLASSES)
            await agent.create(runtime_class("unknown", "kata"), resources.RUNTIME_CLASSES)
            await agent.create(pods.pod("good", runtimeClassName="known"))
            await agent.create(pods.pod("bad", runtimeClassName="unknown"))
            await agent.until(lambda: agent.phase("good") == "Running" and "FailedCreatePodSandBox" in agent.reasons())
            (text,) = {message for _, reason, message in agent.events if reason == "FailedCreatePodSandBox"}
            assert text.endswith('failed to get sandbox runtime: no runtime for "kata" is configured')
            assert agent.phase("bad") == "Pending"

    asyncio.run(main())


def test_a_pod_that_wants_a_user_namespace_is_never_run_without(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(pods.pod("web", hostUsers=False))
            await agent.until(lambda: "FailedCreatePodSandBox" in agent.reasons())
            assert not agent.host.sandboxes
            assert agent.kubelet.node.node["status"]["features"] == {"supplementalGroupsPolicy": True}

    asyncio.run(main())


def test_a_debug_container_sees_the_processes_of_its_target(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            pod = pods.pod("web")
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            debugger = pods.container("debugger", targetContainerName="main")
            change = {"metadata": {"generation": 2}, "spec": {"ephemeralContainers": [debugger]}}
            await agent.client.patch(resources.PODS, "default", "web", change)
            await agent.until(lambda: "running" in agent.state("web", field="ephemeralContainerStatuses"))
            target = agent.host.find(agent.container(pod, "main"))
            assert agent.host.find(agent.container(pod, "debugger")).spec.pid_of == target.id

    asyncio.run(main())


def test_a_profile_of_the_node_is_looked_for_in_its_folder() -> None:
    profile = {"seccompProfile": {"type": "Localhost", "localhostProfile": "mine.json"}}
    found = containers.security(pods.pod(securityContext=profile), pods.container("main"), pathlib.Path("/profiles"))
    assert found.seccomp_profile == pathlib.Path("/profiles/mine.json")
    own = pods.container("main", securityContext={"seccompProfile": {"type": "Unconfined"}})
    assert containers.security(pods.pod(securityContext=profile), own, pathlib.Path("/p")).seccomp_profile is None
