"""Service addresses: who has which, never two the same.

Addresses are IPAddress objects named by the address, so that the store itself lets only one of several claimants win; as upstream
keeps them. They are claimed before the Service is written, and given back when it is not after all.
"""

import datetime
import ipaddress
import random
from collections.abc import Mapping
from typing import Any

from pinnace.api import errors, kinds, resources
from pinnace.apiserver.storage import envelope, objects
from pinnace.kit import clock

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Owner = tuple[str, str]
"""(namespace, name) of a Service."""

_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_ALLOCATOR = "ipallocator.k8s.io"
_FAMILY = "ipaddress.kubernetes.io/ip-family"
# Addresses that are asked for by name are best taken below this offset: what is given out by chance comes from above it first.
_LEAST_OFFSET, _MOST_OFFSET, _OFFSET_SHARE = 16, 256, 16
_RANDOM_TRIES = 32
# More than twice as long as a request may take.
_SETTLED_AFTER = datetime.timedelta(minutes=3)


class Taken(Exception):
    """Somebody has it."""


class OutOfRange(Exception):
    """It is not ours to give. The text says what is."""


class Exhausted(Exception):
    """Nothing is left."""


def _maybe_network(text: str) -> Network | None:
    """None: no range at all, which an object that was stored before it was checked may say."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


class Addresses:
    """Of the cluster's own range, and of what ServiceCIDRs add to it once they are ready."""

    def __init__(
        self,
        stored: objects.Objects,
        cidr: str,
        time: clock.Clock,
        rng: random.Random,
        kept: Mapping[str, Owner],
    ) -> None:
        """`kept`: addresses that are one Service's, whether it is there or not."""
        self._kept = kept
        self._objects = stored
        self._range = ipaddress.ip_network(cidr)
        self._clock = time
        self._rng = rng

    @property
    def family(self) -> str:
        return f"IPv{self._range.version}"

    def ranges(self) -> list[Network]:
        """Those that addresses are given out of, the cluster's own first."""
        found = [self._range]
        for cidr in self._objects.all(resources.SERVICE_CIDRS):
            if "deletionTimestamp" in cidr["metadata"] or not _is_ready(cidr):
                continue
            added = (_maybe_network(text) for text in (cidr.get("spec") or {}).get("cidrs") or ())
            found += [each for each in added if each and each.version == self._range.version and each not in found]
        return found

    async def take(self, address: str, owner: Owner, *, dry_run: bool) -> None:
        """This very address. Raises Taken, OutOfRange."""
        wanted = ipaddress.ip_address(address)
        ranges = self.ranges()
        if not any(_can_give(each, wanted) for each in ranges):
            shown = ", ".join(map(str, ranges))
            raise OutOfRange(
                f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {shown}"
            )
        is_ours = self._kept.get(str(wanted), owner) == owner
        if not is_ours or not await self._claim(str(wanted), owner, dry_run=dry_run):
            raise Taken("provided IP is already allocated")

    async def take_any(self, owner: Owner, *, dry_run: bool) -> str:
        """Raises Exhausted."""
        for each in self.ranges():
            address = await self._take_any_of(each, owner, dry_run=dry_run)
            if address is not None:
                return address
        raise Exhausted("range is full")

    async def _take_any_of(self, network: Network, owner: Owner, *, dry_run: bool) -> str | None:
        size = max(network.num_addresses - 2, 0)
        offset = min(max(_LEAST_OFFSET, size // _OFFSET_SHARE), _MOST_OFFSET, max(size - 1, 0))
        for _ in range(_RANDOM_TRIES if size else 0):
            address = str(network[self._rng.randint(1 + offset, size)])
            if address not in self._kept and await self._claim(address, owner, dry_run=dry_run):
                return address
        for position in (*range(1 + offset, size + 1), *range(1, 1 + offset)):
            address = str(network[position])
            is_free = address not in self._kept and self._record(address) is None
            if is_free and await self._claim(address, owner, dry_run=dry_run):
                return address
        return None

    async def release(self, address: str, owner: Owner) -> None:
        """Give back what `owner` has; anything else stays."""
        record = self._record(address)
        if record is None or not _is_of(envelope.parse(record), owner):
            return
        await self._objects.delete(self._objects.kind(resources.IP_ADDRESSES), record)

    async def restore(self, address: str, owner: Owner) -> None:
        """Take the address again for a Service that has it still: somebody deleted what says so."""
        service = self._objects.get(resources.SERVICES, *owner)
        if address in (((service or {}).get("spec") or {}).get("clusterIPs") or ()):
            await self._claim(address, owner, dry_run=False)

    async def run(self) -> None:
        """Repair for ever, now and then."""
        while True:
            await self.repair()
            await self._clock.sleep(_SETTLED_AFTER.total_seconds())

    async def repair(self) -> None:
        """Give back the addresses of Services that are gone: a process that was killed in between leaves such. Not those that a request at
        another server may still be about."""
        settled = clock.rfc3339(self._clock.now() - _SETTLED_AFTER)
        for record in self._objects.records(resources.IP_ADDRESSES):
            obj = envelope.parse(record)
            parent = (obj.get("spec") or {}).get("parentRef") or {}
            owner = (parent.get("namespace", ""), parent.get("name", ""))
            is_ours = (obj["metadata"].get("labels") or {}).get(_MANAGED_BY) == _ALLOCATOR
            if obj["metadata"].get("creationTimestamp", "") > settled:
                continue
            service = self._objects.get(resources.SERVICES, *owner)
            if is_ours and obj["metadata"]["name"] not in ((service or {}).get("spec") or {}).get("clusterIPs", ()):
                await self.release(obj["metadata"]["name"], owner)

    def _record(self, address: str) -> objects.Stored | None:
        return self._objects.record(resources.IP_ADDRESSES, "", address)

    async def _claim(self, address: str, owner: Owner, *, dry_run: bool) -> bool:
        kind = self._objects.kind(resources.IP_ADDRESSES)
        if dry_run:
            return self._record(address) is None
        made = _object(kind, address, owner, self.family, self._clock, self._rng)
        try:
            await self._objects.create(kind, "", address, made)
        except errors.StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            return False
        return True


def _object(kind: kinds.Kind, address: str, owner: Owner, family: str, time: clock.Clock, rng: random.Random) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": address,
            "uid": f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-4{rng.getrandbits(12):03x}-"
            f"{0x8000 | rng.getrandbits(14):04x}-{rng.getrandbits(48):012x}",
            "generation": 1,
            "creationTimestamp": clock.rfc3339(time.now()),
            "labels": {_FAMILY: family, _MANAGED_BY: _ALLOCATOR},
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": owner[0], "name": owner[1]}},
    }


def _can_give(network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address in network and address not in (network.network_address, network.broadcast_address)


def _is_ready(cidr: Object) -> bool:
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _is_of(obj: Object, owner: Owner) -> bool:
    parent = (obj.get("spec") or {}).get("parentRef") or {}
    return (parent.get("namespace"), parent.get("name")) == owner
