"""What of a pod is looked at before what, how long what failed waits, and what a node says of itself: as upstream has it."""

import asyncio
import pathlib
from typing import Any

from pinnace.api import resources
from pinnace.testing import node_agent, pods

MAIN = [pods.container("main")]


def claims(name: str, claim: str) -> dict[str, Any]:
    source = {"persistentVolumeClaim": {"claimName": claim}}
    return pods.pod(name, containers=MAIN, volumes=[{"name": "data", **source}])


def test_what_is_wrong_with_volumes_stands_alone_until_they_are_there(tmp_path: pathlib.Path) -> None:
    """Then images are looked at; and no address is shown before, though the sandbox is made meanwhile."""

    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            pod = pods.pod(
                "web",
                containers=[pods.container("main", image="nosuch:1", imagePullPolicy="Never")],
                volumes=[{"name": "conf", "configMap": {"name": "conf"}}],
            )
            await agent.create(pod)
            await agent.until(lambda: "FailedMount" in agent.reasons() and bool(agent.status("web")))
            await agent.until(lambda: bool(agent.host.sandboxes))
            assert "ErrImageNeverPull" not in agent.reasons()
            assert "podIP" not in agent.status("web")
            conditions = {each["type"]: each["status"] for each in agent.status("web")["conditions"]}
            assert conditions["PodReadyToStartContainers"] == "False"
            assert agent.state("web") == {"waiting": {"reason": "ContainerCreating"}}
            await agent.create({"metadata": {"namespace": "default", "name": "conf"}}, resources.CONFIG_MAPS)
            await agent.until(lambda: "ErrImageNeverPull" in agent.reasons())
            await agent.until(lambda: bool(agent.status("web").get("podIP")), seconds=2)

    asyncio.run(main())


def test_a_pod_whose_claim_is_not_bound_looks_again_every_ten_seconds(tmp_path: pathlib.Path) -> None:
    """Not at every change, nor with a delay that grows to minutes."""

    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(claims("web", "c"))

            def tries() -> int:
                return agent.reasons().count("FailedMount")

            await agent.until(lambda: tries() == 1)
            for number in range(2, 9):
                await agent.time.advance(9.0)  # type: ignore[attr-defined]
                await agent.until(lambda number=number: tries() == number, seconds=2)
            names = "unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]"
            assert agent.events[-1][2].startswith(
                f"Unable to attach or mount volumes: {names}: error processing PVC default/c: "
            )

    asyncio.run(main())


def test_what_no_path_can_be_is_an_error_of_its_container_or_volume(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            broken = {
                "cwd": pods.pod("cwd", containers=[pods.container("main", workingDir="..")]),
                "nul": pods.pod("nul", containers=[pods.container("main", workingDir="/a\0b")]),
            }
            for name, pod in broken.items():
                await agent.create(pod)
                await agent.until(
                    lambda name=name: agent.state(name).get("waiting", {}).get("reason") == "CreateContainerError"
                )
                assert agent.state(name)["waiting"]["message"]
            host = {"name": "v", "hostPath": {"path": "/tmp/a\0b"}}
            await agent.create(pods.pod("path", containers=MAIN, volumes=[host]))
            await agent.until(lambda: "FailedMount" in agent.reasons())
            tries = agent.reasons().count("Failed")
            await agent.time.advance(11.0)  # type: ignore[attr-defined]
            await agent.until(lambda: agent.reasons().count("Failed") > tries)

    asyncio.run(main())


def test_a_pod_that_ran_before_the_machine_was_restarted_says_that_its_sandbox_changed(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(pods.pod("new", containers=MAIN))
            await agent.until(lambda: agent.phase("new") == "Running")
            assert "SandboxChanged" not in agent.reasons()
            await agent.create(
                {**pods.pod("old", containers=MAIN), "status": {"podIP": "192.0.2.9", "phase": "Running"}}
            )
            await agent.until(lambda: "SandboxChanged" in agent.reasons())
            await agent.until(lambda: agent.status("old").get("podIP") not in (None, "192.0.2.9"), seconds=2)

    asyncio.run(main())


def test_a_node_says_when_it_is_taken_out_of_scheduling_and_when_it_was_rebooted(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        agent = node_agent.NodeAgent(tmp_path)
        async with agent:
            await agent.until(lambda: "NodeReady" in agent.reasons())
            for value, reason in ((True, "NodeNotSchedulable"), (False, "NodeSchedulable")):
                await agent.client.patch(resources.NODES, None, "node-1", {"spec": {"unschedulable": value}})
                told = ("Normal", reason, f"Node node-1 status is now: {reason}")
                await agent.until(lambda told=told: told in agent.events)
            assert "Rebooted" not in agent.reasons()
            info = {"status": {"nodeInfo": {"bootID": "another"}}}
            await agent.client.patch(resources.NODES, None, "node-1", info, subresource="status")
            await agent.restart()
            await agent.until(lambda: "Rebooted" in agent.reasons())

    asyncio.run(main())
