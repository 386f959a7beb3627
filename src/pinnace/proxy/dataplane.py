"""Writes plans to the kernel: chains by libnftables, elements by netlink, and forgets UDP connections that go astray. Blocking: for a thread."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pinnace.kernel import conntrack, elements, nftables, rtnetlink
from pinnace.net import rules

Fronts = Mapping[tuple[str, int], frozenset[tuple[str, int]]]


class Dataplane(Protocol):
    def make_chains(self, picks: Iterable[rules.Pick]) -> None:
        """Raises NftablesError."""
        ...

    def write(self, changes: Sequence[elements.Change]) -> None:
        """One transaction. Raises NftablesError; nothing has changed then."""
        ...

    def forget_udp(self, fronts: Fronts) -> None:
        """Connections to these fronts ("" as address: the port of every address of the node) that do not go to one of the endpoints.
        Raises OSError."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    table: str
    nft: nftables.Nftables
    writer: elements.Writer
    connections: conntrack.Connections
    links: rtnetlink.Links

    @classmethod
    def open(cls, table: str) -> "Kernel":
        """In the network namespace of the calling thread. Raises OSError where libnftables is not installed."""
        return cls(table, nftables.Nftables(), elements.Writer(), conntrack.Connections(), rtnetlink.Links())

    def close(self) -> None:
        self.nft.close()
        self.writer.close()
        self.connections.close()
        self.links.close()

    def make_chains(self, picks: Iterable[rules.Pick]) -> None:
        text = "".join(rules.pick_chain(self.table, pick) for pick in picks)
        if text:
            self.nft.run(text)

    def write(self, changes: Sequence[elements.Change]) -> None:
        self.writer.write(self.table, changes)

    def forget_udp(self, fronts: Fronts) -> None:
        # Others' connections to the same port elsewhere are not to suffer.
        here = self.links.addresses() if any(not address for address, _ in fronts) else frozenset()

        def is_stale(flow: conntrack.Flow) -> bool:
            endpoints = fronts.get((str(flow.address), flow.port))
            if endpoints is None and flow.address in here:
                endpoints = fronts.get(("", flow.port))
            return endpoints is not None and (str(flow.answers_from[0]), flow.answers_from[1]) not in endpoints

        if fronts:
            self.connections.forget(conntrack.UDP, is_stale)
