"""A node agent over the real engine, the real bridge and real mounts; only the API is one in memory. For tests that run as root."""

import contextlib
import ipaddress
import os
import pathlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Protocol

from pinnace.engine import engine
from pinnace.kit import clock
from pinnace.kubelet.volumes import kernel_mounts
from pinnace.net import base_table, bridge, host_ports, rules
from pinnace.testing import images, node_agent, pods


class Places(Protocol):
    """Of one engine; what is left in them afterwards is the caller's to look at."""

    root: pathlib.Path
    run: pathlib.Path
    cgroup: str


@contextlib.asynccontextmanager
async def node(places: Places, tmp_path: pathlib.Path, **fields: Any) -> AsyncIterator[node_agent.NodeAgent]:
    name = f"k{os.getpid() % 10000}{secrets.token_hex(2)}"
    table = rules.TableSettings(
        f"pinnace-{name}", f"pn{name}", ipaddress.IPv4Network("10.204.0.0/16"), ipaddress.IPv4Network("10.205.0.0/16")
    )
    node_range = ipaddress.IPv4Network("10.204.7.0/24")
    owner = base_table.BaseTable(table)
    of_bridge = bridge.Settings(node_range, ipaddress.IPv4Address("10.205.0.10"), tmp_path / "network.json")
    network = bridge.BridgeNetwork(of_bridge, owner, host_ports.HostPorts(), clock.SystemClock())
    images.busybox_archive(tmp_path / "busybox.tar", "busybox:latest", Cmd=["sleep", "1000000"])

    def make_engine() -> engine.Engine:
        return engine.Engine(places.root, places.run, places.cgroup, clock.SystemClock())

    agent = node_agent.NodeAgent(
        tmp_path / "data",
        time=clock.SystemClock(),
        make_engine=make_engine,
        network=network,
        mounts=kernel_mounts.KernelMounts(),
        **fields,
    )
    await owner.open()
    await network.open()
    try:
        async with agent:
            async for _ in agent.kubelet.engine.images.load(tmp_path / "busybox.tar"):
                pass
            try:
                yield agent
            finally:
                for name in [key[2] for key in agent.api.objects if key[0] == node_agent.PODS]:
                    await agent.delete(name, grace=1)
                await agent.until(lambda: not agent.kubelet.workers)
    finally:
        await network.purge()
        await network.close()
        await owner.purge()
        await owner.close()


def shell(script: str, name: str = "main", **fields: Any) -> dict[str, Any]:
    return pods.container(name, command=["sh", "-c", script], **fields)
