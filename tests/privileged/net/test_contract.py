"""The bridge keeps the contract of a pod network."""

import asyncio
import contextlib
import ipaddress
import itertools
import os
import pathlib
from collections.abc import Awaitable, Callable

import pytest

from pinnace.kernel import namespaces
from pinnace.kit import clock
from pinnace.net import base_table, bridge, host_ports, interface, rules
from pinnace.testing import network_contract

pytestmark = pytest.mark.privileged

ID = f"c{os.getpid() % 100000}"
TABLE = rules.TableSettings(
    f"pinnace-{ID}", f"pn{ID}", ipaddress.IPv4Network("10.210.0.0/16"), ipaddress.IPv4Network("10.211.0.0/16")
)
SMALL = ipaddress.IPv4Network("10.210.5.0/29")


@pytest.mark.parametrize("check", network_contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[network_contract.Harness], Awaitable[None]], tmp_path: pathlib.Path) -> None:
    table = base_table.BaseTable(TABLE)
    settings = bridge.Settings(SMALL, ipaddress.IPv4Address("10.211.0.10"), tmp_path / "network.json")
    opened: list[bridge.BridgeNetwork] = []
    numbers = itertools.count()

    async def reopen() -> tuple[interface.PodNetwork, host_ports.HostPorts]:
        for one in opened:
            await one.close()
        opened.clear()
        claims = host_ports.HostPorts()
        network = bridge.BridgeNetwork(settings, table, claims, clock.SystemClock())
        await network.open()
        opened.append(network)
        return network, claims

    async def main() -> None:
        await table.open()
        with contextlib.ExitStack() as stack:

            def make_namespace() -> pathlib.Path:
                pin = tmp_path / f"net-{next(numbers)}"
                namespaces.pin_new({"net": pin})
                stack.callback(namespaces.unpin, pin)
                return pin

            network, claims = await reopen()
            harness = network_contract.Harness(network, claims, 5, make_namespace, lambda: tmp_path / "missing", reopen)
            try:
                await check(harness)
            finally:
                (last,) = opened
                await last.purge()
                await last.close()
                await table.purge()
                await table.close()
        assert not [name for name in os.listdir("/sys/class/net") if name == TABLE.bridge]

    asyncio.run(main())
