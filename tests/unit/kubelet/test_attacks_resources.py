"""Pods that take what the node did not give them: disk behind the eviction's back, processes, memory. The fake engine; the kernel's side
is in tests/privileged/kubelet/test_attacks_resources.py."""

import asyncio
import os
import pathlib
from typing import Any

import pytest

from pinnace.api import quantity
from pinnace.kernel import filesystem
from pinnace.kubelet.endpoint import configz
from pinnace.kubelet.node import housekeeping
from pinnace.kubelet.pod import qos
from pinnace.testing import node_agent, pods

HIDDEN = 64 << 10


def limited(name: str, **resources: Any) -> dict[str, Any]:
    return pods.pod(name, containers=[pods.container("main", resources=resources)])


@pytest.mark.parametrize("place", ["etc-hosts", "resolv.conf", "hostname", "containers/main/0"])
def test_files_that_every_pod_gets_count_as_its_storage(place: str, tmp_path: pathlib.Path) -> None:
    """A container may write them: without a count they are a way to fill the node's disk."""

    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            pod = limited("web", limits={"ephemeral-storage": "1Mi"})
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            keeper = housekeeping.Housekeeping(agent.kubelet)
            await keeper.check_local_storage()
            assert "Evicted" not in agent.reasons()
            file = agent.settings.pod_dir(pod["metadata"]["uid"]) / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.urandom(2 << 20))
            await keeper.check_local_storage()
            told = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
            assert ("Warning", "Evicted", told) in agent.events

    asyncio.run(main())


def test_logs_of_attempts_before_count_too(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            pod = limited("web", limits={"ephemeral-storage": "1Mi"})
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            folder = agent.settings.pod_logs_dir("default", "web", pod["metadata"]["uid"]) / "main"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "9.log.20260101-000000").write_bytes(os.urandom(2 << 20))
            await housekeeping.Housekeeping(agent.kubelet).check_local_storage()
            assert "Evicted" in agent.reasons()

    asyncio.run(main())


def test_a_tree_deeper_than_any_path_hides_nothing(tmp_path: pathlib.Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 100, dir_fd=descriptor)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    hidden = os.open("hidden", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor)
    os.write(hidden, os.urandom(HIDDEN))
    os.close(hidden)
    os.close(descriptor)
    assert HIDDEN <= filesystem.disk_usage(tmp_path) < 4 * HIDDEN + 60 * 8192


def test_a_tree_that_nobody_can_look_through_is_larger_than_any_disk(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "NESTED_CHARACTERS", 2)
    folder = tmp_path
    for _ in range(filesystem.NESTINGS + 2):
        folder /= "deep"
    folder.mkdir(parents=True)
    assert filesystem.disk_usage(tmp_path) >= filesystem.UNCOUNTABLE


def test_hard_links_count_once_and_links_are_not_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "one").write_bytes(os.urandom(HIDDEN))
    os.link(tmp_path / "one", tmp_path / "two")
    (tmp_path / "away").symlink_to("/usr")
    assert HIDDEN <= filesystem.disk_usage(tmp_path) < 2 * HIDDEN


def test_all_pods_and_each_pod_have_limits(tmp_path: pathlib.Path) -> None:
    """Memory and processes of all together, processes of each; guaranteed pods beside the groups of the other classes."""

    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.until(lambda: len(agent.host.groups) == 3)
            everything, machine = agent.host.groups[""], agent.kubelet.machine
            assert everything.memory_bytes == quantity.value(machine.allocatable["memory"])
            assert 0 < everything.pids < int(pathlib.Path("/proc/sys/kernel/pid_max").read_text())
            assert ("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods") in agent.events
            both = {"cpu": "100m", "memory": "1Mi"}
            wanted = {
                "best": (limited("best"), "besteffort"),
                "some": (limited("some", requests={"cpu": "500m"}), "burstable"),
                "whole": (limited("whole", requests=both, limits=both), ""),
            }
            for name, (pod, _) in wanted.items():
                await agent.create(pod)
                await agent.until(lambda name=name: agent.phase(name) == "Running")
            for pod, group in wanted.values():
                spec = agent.host.sandboxes[pod["metadata"]["uid"]].spec
                assert spec.group == group
                assert spec.resources is not None
                assert spec.resources.pids == agent.settings.pod_pids_limit
            await agent.until(lambda: agent.host.groups["burstable"].cpu_shares == qos.shares(500))
            assert agent.host.groups["besteffort"].cpu_shares == qos.MIN_SHARES
            await agent.delete("some", grace=0)
            await agent.until(lambda: agent.host.groups["burstable"].cpu_shares == qos.MIN_SHARES, seconds=5)
            assert configz.document(agent.settings)["podPidsLimit"] == agent.settings.pod_pids_limit

    asyncio.run(main())
