"""`net.interface.PodNetwork` without a kernel: gives out addresses of 10.42.0.0/24 and remembers who has which."""

import ipaddress
import pathlib

from pinnace.net import interface


class FakeNetwork:
    def __init__(self) -> None:
        self.attached: dict[str, interface.Attachment] = {}
        self.host_ports: dict[str, tuple[interface.HostPort, ...]] = {}
        self.failures: list[interface.NetworkError] = []
        """Raised by the next attaches, one each."""
        self.problem = ""
        """What `check` finds."""
        self._next = 2

    async def open(self) -> None:
        """Nothing to make."""

    async def attach(
        self, sandbox_id: str, network_namespace: pathlib.Path, host_ports: tuple[interface.HostPort, ...] = ()
    ) -> interface.Attachment:
        if self.failures:
            raise self.failures.pop(0)
        if sandbox_id not in self.attached:
            address = ipaddress.IPv4Address(f"10.42.0.{self._next}")
            self._next += 1
            gateway = ipaddress.IPv4Address("10.42.0.1")
            self.attached[sandbox_id] = interface.Attachment(sandbox_id, (address,), (gateway,), f"pv{self._next}")
            self.host_ports[sandbox_id] = host_ports
        return self.attached[sandbox_id]

    async def detach(self, sandbox_id: str) -> None:
        self.attached.pop(sandbox_id, None)

    async def check(self) -> None:
        if self.problem:
            raise interface.NetworkError(self.problem)

    async def attachments(self) -> tuple[interface.Attachment, ...]:
        return tuple(self.attached.values())

    async def collect(self, live_sandbox_ids: frozenset[str]) -> None:
        for sandbox_id in [each for each in self.attached if each not in live_sandbox_ids]:
            del self.attached[sandbox_id]

    async def close(self) -> None:
        """Nothing is held."""

    async def purge(self) -> None:
        self.attached.clear()
