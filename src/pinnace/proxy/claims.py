"""Who has which front. Pure.

A front is an address, a protocol and a port that clients speak to. Services claim them (cluster addresses, external ones, node ports), and so do
pods (host ports); of several claimants one has it: a Service whose own address it is before all others, then the one that was there first
(creation time, then name). What the owner gives back goes to the next claimant. What a whole table of claims says does not depend on the order
in which they came (tests/unit/proxy/test_claims.py).

A claim on a node's own address and one on the same port of all of the node's addresses want the same: where two different claimants hold these
two fronts, the younger one's counts for nothing (on that address, if it is the wider one).

Some fronts are nobody's to claim (`Reserved`): what is inside the cluster's own ranges unless it is the Service's own address, and the ports at
which the node's own servers listen.
"""

import bisect
import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pinnace.proxy import plan

LOOPBACK = "127.0.0.1"
NOBODYS = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))
"""What never leaves a machine or its link, and what is no host's address."""

Owner = tuple[str, str]
"""(namespace, name) of a Service; ("", sandbox id) of a pod."""


class Claimant(NamedTuple):
    """In the order in which they have a front."""

    is_guest: bool
    """The front is not the claimant's own address."""
    since: str
    """RFC 3339, seconds. "" is the oldest."""
    owner: Owner


@dataclasses.dataclass(frozen=True, slots=True)
class Reserved:
    ranges: tuple[ipaddress.IPv4Network, ...] = ()
    """Of pods and Services."""
    node_addresses: frozenset[str] = frozenset()
    """Those that the node is known by."""
    node_ports: frozenset[tuple[int, int]] = frozenset()
    """(protocol, port) of the node's own servers."""

    @property
    def own_addresses(self) -> frozenset[str]:
        return self.node_addresses | {LOOPBACK}

    def holds(self, front: plan.Front, *, is_pod: bool) -> bool:
        """Whether this is nobody's to claim. A pod's host port may be at a loopback address, which is no Service's."""
        if not front.address or front.address in self.node_addresses:
            return (front.protocol, front.port) in self.node_ports
        address = ipaddress.IPv4Address(front.address)
        if address.is_loopback and is_pod:
            return (front.protocol, front.port) in self.node_ports
        return any(address in one for one in (*NOBODYS, *self.ranges))


class Claims:
    def __init__(self, reserved: Reserved) -> None:
        self._reserved = reserved
        self._held: dict[Owner, tuple[str, plan.Entries]] = {}
        self._claimants: dict[plan.Front, Sequence[Claimant]] = {}

    def replace(self, wanted: Mapping[Owner, tuple[str, plan.Entries]]) -> tuple[plan.Entries, plan.Entries]:
        """Each of these owners claims now (since when, what), and nothing else any more. Returns what has changed hands or meaning:
        the fronts that may differ as they were, and as they are."""
        touched = {front for owner in wanted for front in self._fronts_of(owner)}
        touched |= {front for _, entries in wanted.values() for front in entries}
        touched |= {other for front in touched for other in self._overlapping(front)}
        old = self._effective(touched)
        for owner, (since, entries) in wanted.items():
            self._drop(owner)
            self._put(owner, since, entries)
        return old, self._effective(touched)

    def owner_of(self, front: plan.Front) -> Owner | None:
        winner = self._winner(front)
        return winner.owner if winner is not None else None

    def claimants(self, fronts: Iterable[plan.Front]) -> set[Owner]:
        """Who claims one of them, whether they get it or not."""
        return {one.owner for front in fronts for one in self._claimants.get(front, ())}

    def losses(self, owner: Owner) -> list[plan.Front]:
        """What the owner claims and does not get, sorted."""
        return sorted(front for front in self._fronts_of(owner) if self.owner_of(front) != owner)

    def _effective(self, fronts: Iterable[plan.Front]) -> plan.Entries:
        found = {}
        for front in fronts:
            winner = self._winner(front)
            if winner is not None:
                found[front] = self._held[winner.owner][1][front]
        return found

    def _winner(self, front: plan.Front) -> Claimant | None:
        claimants = self._claimants.get(front)
        if not claimants:
            return None
        first = claimants[0]
        if front.address in self._reserved.own_addresses:
            wider = self._claimants.get(plan.Front("", front.protocol, front.port))
            if wider and wider[0] < first and wider[0].owner != first.owner:
                return None
        return first

    def _overlapping(self, front: plan.Front) -> Iterable[plan.Front]:
        if front.address:
            return ()
        return (plan.Front(address, front.protocol, front.port) for address in self._reserved.own_addresses)

    def _fronts_of(self, owner: Owner) -> Iterable[plan.Front]:
        return self._held[owner][1] if owner in self._held else ()

    def _drop(self, owner: Owner) -> None:
        for front in self._fronts_of(owner):
            left = tuple(one for one in self._claimants.get(front, ()) if one.owner != owner)
            if left:
                self._claimants[front] = left
            else:
                self._claimants.pop(front, None)
        self._held.pop(owner, None)

    def _put(self, owner: Owner, since: str, entries: plan.Entries) -> None:
        if not entries:
            return
        self._held[owner] = (since, entries)
        for front, backends in entries.items():
            if not backends.is_own and self._reserved.holds(front, is_pod=not owner[0]):
                continue
            claimant = Claimant(not backends.is_own, since, owner)
            others = self._claimants.get(front)
            if others is None:
                self._claimants[front] = (claimant,)
            else:
                place = bisect.bisect(others, claimant)
                self._claimants[front] = (*others[:place], claimant, *others[place:])
