"""What the network of a node is: addresses for sandboxes. Service addresses are `pinnace.proxy`'s, on the same nftables table.

* One bridge and one veth pair per sandbox; an address belongs to one sandbox from `attach` until `detach`, across restarts of the agent.
* `attach` is idempotent per sandbox id; `detach` of what is not attached returns quietly; what a failed attach began it undoes.
* Nothing of other owners is touched: every interface, table and route carries the cluster's own name.
"""

import dataclasses
import ipaddress
import pathlib
from typing import Protocol


class NetworkError(Exception):
    """Any error of the network; names the object and the kernel's answer."""


class NoAddressLeft(NetworkError):
    """Every address of the node's range is in use."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attachment:
    sandbox_id: str
    address: ipaddress.IPv4Address
    prefix_length: int
    gateway: ipaddress.IPv4Address
    interface: str
    """The name of the host's end."""


@dataclasses.dataclass(frozen=True, slots=True)
class HostPort:
    host_address: str
    host_port: int
    container_port: int
    protocol: str
    """`TCP`, `UDP` or `SCTP`."""


class PodNetwork(Protocol):
    async def open(self) -> None:
        """Make (or find again) the bridge, the cluster's table, forwarding and masquerading."""
        ...

    async def attach(
        self, sandbox_id: str, network_namespace: pathlib.Path, host_ports: tuple[HostPort, ...] = ()
    ) -> Attachment:
        """`eth0` with an address, default route and `lo` up in the namespace. Raises NoAddressLeft, NetworkError."""
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
