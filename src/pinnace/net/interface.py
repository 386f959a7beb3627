"""What the network of a node is: addresses for sandboxes. Service addresses are `pinnace.proxy`'s, on the same nftables table.

* One bridge and one veth pair per sandbox; an address belongs to one sandbox from `attach` until `detach`, across restarts of the agent.
* `attach` is idempotent per sandbox id; `detach` of what is not attached returns quietly; what a failed attach began it undoes.
* What a pod sends under another address than its own reaches nobody; pods reach each other through the host alone.
* Nothing of other owners is touched: every interface, table and route carries the cluster's own name.

`testing/network_contract` is this in tests. The rules' table is `base_table`'s: it is open before a network is.
"""

import dataclasses
import ipaddress
import pathlib
from typing import Protocol


class NetworkError(Exception):
    """Any error of the network; names the object and the kernel's answer."""


class NoAddressLeft(NetworkError):
    """Every address of the node's range is in use."""


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    sandbox_id: str
    addresses: tuple[Address, ...]
    """At least one; at most one of a family. The first is the pod's `podIP`."""
    gateways: tuple[Address, ...]
    """One for each address."""
    interface: str
    """The name of the host's end."""

    @property
    def address(self) -> ipaddress.IPv4Address:
        """Of IPv4."""
        return next(each for each in self.addresses if isinstance(each, ipaddress.IPv4Address))


@dataclasses.dataclass(frozen=True, slots=True)
class HostPort:
    host_address: str
    host_port: int
    container_port: int
    protocol: str
    """`TCP`, `UDP` or `SCTP`."""


class PodNetwork(Protocol):
    async def open(self) -> None:
        """Make (or find again) what all sandboxes share, and what is remembered of those that are attached."""
        ...

    async def attach(
        self, sandbox_id: str, network_namespace: pathlib.Path, host_ports: tuple[HostPort, ...] = ()
    ) -> Attachment:
        """`eth0` with an address, default route and `lo` up in the namespace. Raises NoAddressLeft, NetworkError; nothing is attached then.

        `host_ports` are claims: another pod or a Service that was there first keeps the port, until it goes."""
        ...

    async def detach(self, sandbox_id: str) -> None: ...

    async def check(self) -> None:
        """Raises NetworkError where what all sandboxes share is gone. Costs next to nothing."""
        ...

    async def attachments(self) -> tuple[Attachment, ...]: ...

    async def collect(self, live_sandbox_ids: frozenset[str]) -> None:
        """Give back what belongs to sandboxes that are gone."""
        ...

    async def close(self) -> None:
        """Let go; pods keep their network."""
        ...

    async def purge(self) -> None:
        """Remove every interface, rule and record of this cluster."""
        ...
