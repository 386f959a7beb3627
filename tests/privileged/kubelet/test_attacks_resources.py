"""A pod that takes all processes, or the disk by way of its /etc/hosts: contained, and nobody else notices."""

import asyncio
import pathlib
from typing import Any

import pytest

from pinnace.kernel import cgroups, process
from pinnace.kubelet.node import housekeeping
from pinnace.testing import pods, real_node

pytestmark = pytest.mark.privileged

PIDS = 60
BOMB = "(bomb() { bomb | bomb & }; bomb; while :; do sleep 1000 & done) 2>/dev/null & exec tail -f /dev/null"


def test_a_fork_bomb_stays_within_its_pod(places: Any, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with real_node.node(places, tmp_path, pod_pids_limit=PIDS) as agent:
            bomb = pods.pod("bomb", containers=[real_node.shell(BOMB)], terminationGracePeriodSeconds=0)
            await agent.create(bomb)
            await agent.until(lambda: agent.phase("bomb") == "Running")
            groups, group = cgroups.Cgroups.discover(), f"{places.cgroup}/pods/besteffort/{bomb['metadata']['uid']}"
            await agent.until(lambda: groups.limit_hits(group) > 0)
            assert len(groups.processes(group)) <= PIDS
            assert (await process.run(["/bin/true"])).code == 0, "the machine can start processes"
            await agent.create(pods.pod("other", containers=[real_node.shell("sleep 1000")]))
            await agent.until(lambda: agent.phase("other") == "Running")
            everything = f"{places.cgroup}/pods"
            assert groups.limits(everything).pids == agent.kubelet.machine.pids
            assert groups.limits(everything).memory_bytes > 0
            await agent.delete("bomb", grace=0)
            await agent.until(lambda: agent.pod("bomb") is None)
            assert not groups.exists(group), "nothing of it is left"

    asyncio.run(main())


def test_who_fills_the_disk_through_its_hosts_file_is_evicted(places: Any, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with real_node.node(places, tmp_path) as agent:
            script = "head -c 3000000 /dev/urandom > /etc/hosts; echo done; sleep 1000"
            limits = {"limits": {"ephemeral-storage": "2Mi"}}
            await agent.create(pods.pod("fills", containers=[real_node.shell(script, resources=limits)]))
            await agent.until(lambda: agent.phase("fills") == "Running")
            uid = agent.pod("fills")["metadata"]["uid"]
            hosts = agent.settings.pod_dir(uid) / "etc-hosts"
            await agent.until(lambda: hosts.stat().st_size == 3_000_000)
            await housekeeping.Housekeeping(agent.kubelet).check_local_storage()
            await agent.until(lambda: agent.status("fills").get("reason") == "Evicted")

    asyncio.run(main())
