"""Node ports: who has which, never two the same, however many servers there are.

One bit for each port of the range in an object of the store (v1 RangeAllocation at `/registry/ranges/servicenodeports`, as upstream
keeps it), which changes in the same transaction as the Service that takes or leaves a port. So the bits and the Services agree at
every revision; nothing is counted in memory, nothing has to be given back.
"""

import base64
import random
from collections.abc import Iterable
from typing import Any

from pinnace.api import errors, kinds, resources
from pinnace.apiserver.keepers import allocators
from pinnace.apiserver.storage import envelope, objects

Object = dict[str, Any]

KIND = kinds.Kind("", "v1", "RangeAllocation", "", "", False, folder="ranges")
NAME = "servicenodeports"
_RANDOM_TRIES = 32


class NodePorts:
    def __init__(self, stored: objects.Objects, first: int, last: int, rng: random.Random) -> None:
        self._objects = stored
        self._first, self._last = first, last
        self._rng = rng

    def check_free(self, port: int) -> None:
        """Raises Taken, OutOfRange."""
        if not self._first <= port <= self._last:
            raise allocators.OutOfRange(
                f"provided port is not in the valid range. The range of valid ports is {self._first}-{self._last}"
            )
        if self._taken() & self._bit(port):
            raise allocators.Taken("provided port is already allocated")

    def taken(self, ports: Iterable[int]) -> set[int]:
        """Those of `ports` that somebody has."""
        taken = self._taken()
        return {port for port in ports if taken & self._bit(port)}

    def pick(self, besides: Iterable[int] = ()) -> int:
        """A free one, and none of `besides`. It is had once it is claimed. Raises Exhausted."""
        taken = self._taken() | self._bits(besides)
        for _ in range(_RANDOM_TRIES):
            port = self._rng.randint(self._first, self._last)
            if not taken & self._bit(port):
                return port
        for port in range(self._first, self._last + 1):
            if not taken & self._bit(port):
                return port
        raise allocators.Exhausted("range is full")

    def claim(self, added: set[int], removed: set[int]) -> list[objects.Claim]:
        """What the allocation is to say once a Service has taken and left these. Raises Taken."""
        record = self._objects.find(KIND, "", NAME)
        if record is None:
            raise errors.internal("the allocation of node ports is not there; it is made when the server starts")
        before = self._parse(record)
        if before & self._bits(added):
            raise allocators.Taken("provided port is already allocated")
        after = (before | self._bits(added)) & ~self._bits(removed)
        return [objects.Claim(KIND, record, self._object(after))] if after != before else []

    async def repair(self) -> None:
        """Make the allocation what the Services have: in a new store, and where the range has changed."""
        for _ in range(objects.ATTEMPTS):
            # Nothing waits between the look and the conditional write: both are about one state.
            record = self._objects.find(KIND, "", NAME)
            services = map(envelope.parse, self._objects.records(resources.SERVICES))
            obj = self._object(self._bits(port for service in services for port in ports_of(service)))
            try:
                if record is None:
                    await self._objects.create(KIND, "", NAME, obj)
                elif any(envelope.parse(record).get(field) != obj[field] for field in ("range", "data")):
                    await self._objects.replace(KIND, record, obj)
                return
            except objects.Overtaken:
                continue
            except errors.StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise errors.conflict("", "rangeallocations", NAME, errors.OBJECT_MODIFIED)

    def _taken(self) -> int:
        record = self._objects.find(KIND, "", NAME)
        return self._parse(record) if record is not None else 0

    def _bit(self, port: int) -> int:
        """0 for one that is not ours to give: an older range may have had it."""
        return 1 << (port - self._first) if self._first <= port <= self._last else 0

    def _bits(self, ports: Iterable[int]) -> int:
        found = 0
        for port in ports:
            found |= self._bit(port)
        return found

    def _parse(self, record: objects.Stored) -> int:
        return int.from_bytes(base64.b64decode(envelope.shared(record).get("data") or ""), "big")

    def _object(self, bits: int) -> Object:
        data = bits.to_bytes((bits.bit_length() + 7) // 8, "big")
        return {
            "apiVersion": KIND.api_version,
            "kind": KIND.kind,
            "metadata": {"name": NAME},
            "range": f"{self._first}-{self._last}",
            "data": base64.b64encode(data).decode(),
        }


def ports_of(service: Object) -> set[int]:
    """Every node port that a Service has."""
    spec = service.get("spec") or {}
    found = {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
    if spec.get("healthCheckNodePort"):
        found.add(spec["healthCheckNodePort"])
    return found
