"""The fake network keeps the contract of the real one."""

import asyncio
import ipaddress
import pathlib
from collections.abc import Awaitable, Callable

import pytest

from pinnace.net import host_ports, interface
from pinnace.testing import fake_network, network_contract


@pytest.mark.parametrize("check", network_contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[network_contract.Harness], Awaitable[None]], tmp_path: pathlib.Path) -> None:
    small = ipaddress.IPv4Network("10.42.0.0/29")
    network = fake_network.FakeNetwork(None, small)

    def break_next() -> pathlib.Path:
        network.failures.append(interface.NetworkError("told to fail"))
        return tmp_path

    async def reopen() -> tuple[interface.PodNetwork, host_ports.HostPorts]:
        other = fake_network.FakeNetwork(network, small)
        return other, other.host_ports

    harness = network_contract.Harness(network, network.host_ports, 5, lambda: tmp_path, break_next, reopen)
    asyncio.run(check(harness))
