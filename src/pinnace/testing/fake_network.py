"""`net.interface.PodNetwork` without a kernel: gives out addresses of 10.42.0.0/24 and remembers who has which."""

import ipaddress
import pathlib

from pinnace.net import host_ports, interface, ipam

RANGE = ipaddress.IPv4Network("10.42.0.0/24")
SINCE = "2026-01-01T00:00:00Z"


class FakeNetwork:
    def __init__(self, before: "FakeNetwork | None" = None, node_range: ipaddress.IPv4Network = RANGE) -> None:
        """`before`: what a process of before left on the machine."""
        self.attached: dict[str, interface.Attachment] = dict(before.attached) if before else {}
        self.host_ports = host_ports.HostPorts()
        self.failures: list[interface.NetworkError] = []
        """Raised by the next attaches, one each."""
        self.problem = ""
        """What `check` finds."""
        self._range = node_range
        self._last: ipaddress.IPv4Address | None = before._last if before else None
        for sandbox_id, claim in before.host_ports.all().items() if before else ():
            self.host_ports.put(sandbox_id, claim)

    async def open(self) -> None:
        """Nothing to make."""

    async def attach(
        self, sandbox_id: str, network_namespace: pathlib.Path, host_ports: tuple[interface.HostPort, ...] = ()
    ) -> interface.Attachment:
        if self.failures:
            raise self.failures.pop(0)
        if sandbox_id not in self.attached:
            used = {one.address for one in self.attached.values()}
            address = self._last = ipam.next_address(self._range, used, self._last)
            name = f"pv{int(address):08x}"
            self.attached[sandbox_id] = interface.Attachment(sandbox_id, (address,), (ipam.gateway(self._range),), name)
            self._claim(sandbox_id, address, host_ports)
        return self.attached[sandbox_id]

    def _claim(self, sandbox_id: str, address: ipaddress.IPv4Address, ports: tuple[interface.HostPort, ...]) -> None:
        if ports:
            self.host_ports.put(sandbox_id, host_ports.Claim(address, ports, SINCE))

    async def detach(self, sandbox_id: str) -> None:
        self.attached.pop(sandbox_id, None)
        self.host_ports.drop(sandbox_id)

    async def check(self) -> None:
        if self.problem:
            raise interface.NetworkError(self.problem)

    async def attachments(self) -> tuple[interface.Attachment, ...]:
        return tuple(self.attached.values())

    async def collect(self, live_sandbox_ids: frozenset[str]) -> None:
        for sandbox_id in [each for each in self.attached if each not in live_sandbox_ids]:
            await self.detach(sandbox_id)

    async def close(self) -> None:
        """Nothing is held."""

    async def purge(self) -> None:
        for sandbox_id in tuple(self.attached):
            await self.detach(sandbox_id)
