"""Whatever happens, in whatever order: at the end node and API agree and nothing is left over."""

import asyncio
import os
import pathlib
import random
from typing import Any

import pytest

from pinnace.client import client
from pinnace.engine import interface
from pinnace.kubelet.pod import podspec
from pinnace.net import interface as net
from pinnace.testing import fake_engine, node_agent, pods
from pinnace.web import messages

STEPS = 60


async def serve(process: fake_engine.FakeProcess) -> int:
    process.handlers[15] = 0
    return int(await process.ended)


class Chaos:
    def __init__(self, agent: node_agent.NodeAgent, rng: random.Random) -> None:
        self.agent = agent
        self.rng = rng
        self.number = 0
        agent.host.programs["serve"] = serve

    async def step(self) -> None:
        action = self.rng.choice(
            [
                self._create,
                self._create,
                self._delete,
                self._force,
                self._end,
                self._end,
                self._fail,
                self._restart,
                self._wait,
            ]
        )
        await action()

    async def _create(self) -> None:
        self.number += 1
        policy = self.rng.choice(["Always", "OnFailure", "Never"])
        command = self.rng.choice([["serve"], ["serve"], ["true"], ["false"], ["sleep", "7"], ["nothing"]])
        spec: dict[str, Any] = {"restartPolicy": policy, "volumes": [{"name": "v", "emptyDir": {}}]}
        if self.rng.random() < 0.3:
            spec["initContainers"] = [pods.container("init", command=["true"])]
        if self.rng.random() < 0.3:
            side = pods.container("side", command=["serve"], restartPolicy="Always")
            spec["initContainers"] = [*spec.get("initContainers", []), side]
        await self.agent.create(
            pods.pod(f"p{self.number}", containers=[pods.container("main", command=command)], **spec)
        )

    def _some_pod(self) -> str | None:
        names = sorted(key[2] for key in self.agent.api.objects if key[0] == node_agent.PODS)
        return self.rng.choice(names) if names else None

    async def _delete(self) -> None:
        if (name := self._some_pod()) is not None:
            await self.agent.delete(name, grace=self.rng.choice([1, 30]))

    async def _force(self) -> None:
        if (name := self._some_pod()) is not None:
            await self.agent.client.delete(node_agent.resources.PODS, "default", name)

    async def _end(self) -> None:
        alive = [each for each in self.agent.host.containers.values() if each.status.is_alive]
        if alive:
            await self.agent.host.finish(self.rng.choice(alive).id, self.rng.choice([0, 1]))

    async def _fail(self) -> None:
        kind = self.rng.choice(["create_sandbox", "create", "stop", "remove_sandbox", "network", "api"])
        if kind == "network":
            self.agent.network.failures.append(net.NetworkError("no"))
        elif kind == "api":
            self._break_api(self.rng.randint(1, 5))
        else:
            self.agent.host.failures[kind] = interface.EngineError("no")

    def _break_api(self, times: int) -> None:
        left = [times]

        def fault(request: messages.Request) -> None:
            if request.method == "PATCH" and request.path.endswith("/status") and left[0] > 0:
                left[0] -= 1
                raise client.Unavailable({"message": "the server is away"})

        self.agent.api.fault = fault

    async def _restart(self) -> None:
        await self.agent.restart()

    async def _wait(self) -> None:
        for _ in range(self.rng.randint(1, 8)):
            await self.agent.time.advance(self.rng.choice([0.1, 1.0, 5.0]))  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_SEEDS", "8"))))
def test_node_and_api_agree_at_the_end(tmp_path: pathlib.Path, seed: int) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            chaos = Chaos(agent, random.Random(seed))
            for _ in range(STEPS):
                await chaos.step()
            agent.host.failures.clear()
            agent.network.failures.clear()
            agent.api.fault = lambda request: None
            await agent.until(lambda: is_settled(agent) and agrees(agent), seconds=900)
            for name in [key[2] for key in agent.api.objects if key[0] == node_agent.PODS]:
                await agent.delete(name, grace=1)
            await agent.until(lambda: not agent.kubelet.workers, seconds=300)
            await agent.until(lambda: not [key for key in agent.api.objects if key[0] == node_agent.PODS])
            await agent.until(lambda: not list(agent.settings.pods_dir.glob("*")))
            assert not agent.host.containers
            assert not agent.host.sandboxes
            assert not agent.network.attached
            assert not agent.mounts.tmpfs  # type: ignore[attr-defined]

    asyncio.run(main())


def is_settled(agent: node_agent.NodeAgent) -> bool:
    """Every pod that is not being deleted has come to rest: it runs, waits in its back-off, or is over."""
    for (collection, _, _), pod in agent.api.objects.items():
        if collection != node_agent.PODS:
            continue
        if podspec.is_being_deleted(pod):
            return False
        if podspec.is_terminal(pod):
            if podspec.uid(pod) in agent.kubelet.workers:
                return False
            continue
        for entry in pod["status"].get("containerStatuses") or [{"state": {}}]:
            if not (
                "running" in entry["state"] or entry["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
            ):
                return False
    return True


def agrees(agent: node_agent.NodeAgent) -> bool:
    """What the API says runs is what the host runs, and nothing else does."""
    said: set[str] = set()
    boxes: set[str] = set()
    for (collection, _, _), pod in agent.api.objects.items():
        if collection != node_agent.PODS or podspec.is_terminal(pod):
            continue
        boxes.add(podspec.uid(pod))
        for field in ("containerStatuses", "initContainerStatuses"):
            for entry in pod["status"].get(field) or ():
                if "running" in entry["state"]:
                    said.add(entry["containerID"].removeprefix("pinnace://"))
    runs = {each.id for each in agent.host.containers.values() if each.status.is_alive}
    owners = {each.spec.labels["io.kubernetes.pod.uid"] for each in agent.host.sandboxes.values()}
    return said == runs and owners == boxes and set(agent.network.attached) == set(agent.host.sandboxes)
