"""Keeps the kernel's maps equal to what Services, EndpointSlices and the host ports of pods say.

In: two informers and the network's claims. Out: one nftables transaction per burst of changes. At the start, and after the kernel has refused a
transaction, the maps are written anew as a whole (one transaction, so that traffic never meets an empty table); otherwise only elements that differ
are touched. What was not written stays to be written, however often the kernel refuses. Plans are made and written in a thread, from objects that
never change. `claims` decides who has an address and port that several want.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence

from pinnace.client import client, informer
from pinnace.kernel import nftables
from pinnace.kit import backoff, clock
from pinnace.net import difference, host_ports, rules
from pinnace.proxy import claims, dataplane, plan

log = logging.getLogger(__name__)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
BY_SERVICE = "service"
POD = ""
"""In the place of a namespace: the owner is a pod's sandbox."""
RETRY = backoff.Backoff(first=0.1, limit=10.0)
BETWEEN_BREATHS = 500
"""Services whose objects are gathered before other tasks of the loop get their turn."""

Key = claims.Owner
Warn = Callable[[client.Object, str, str], None]
"""Tells a Service's owner: (object, reason, message)."""
Inputs = tuple[client.Object, Sequence[client.Object]] | host_ports.Claim


def service_of_slice(piece: client.Object) -> list[str]:
    """The index that the slices' informer needs: `namespace/name` of the Service."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [f"{piece['metadata']['namespace']}/{name}"] if name else []


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """What the rules of this node depend on."""

    name: str
    table: str
    reserved: claims.Reserved = dataclasses.field(default_factory=claims.Reserved)


class Proxy:
    """`services` and `slices` are run by the caller; `slices` has the index BY_SERVICE. `open_dataplane` is called in a thread."""

    def __init__(
        self,
        services: informer.Informer,
        slices: informer.Informer,
        pods: host_ports.HostPorts,
        node: Node,
        time: clock.Clock,
        warn: Warn,
        open_dataplane: Callable[[str], dataplane.Dataplane] = dataplane.Kernel.open,
    ) -> None:
        self._services = services
        self._slices = slices
        self._pods = pods
        self._node = node
        self._clock = time
        self._warn = warn
        self._open = open_dataplane
        self._claims = claims.Claims(node.reserved)
        self._lost: dict[Key, Sequence[plan.Front]] = {}
        """What claimants were told that they do not get."""
        self._picks: frozenset[rules.Pick] = frozenset()
        self._is_known = False
        """Whether `_claims` and `_picks` are what the kernel has: not at the start, nor after a refusal."""
        self._dirty: set[Key] = set()
        self._changed = asyncio.Event()
        services.add_handler(self._on_service)
        slices.add_handler(self._on_slice)
        pods.add_handler(self._on_host_ports)

    async def write_anew(self) -> None:
        """The next write is of everything: somebody made the table anew. Returns at once."""
        self._is_known = False
        self._changed.set()

    async def run(self) -> None:
        await self._services.wait_synced()
        await self._slices.wait_synced()
        plane = await asyncio.to_thread(self._open, self._node.table)
        failures = 0
        await self.write_anew()
        while True:
            await self._changed.wait()
            try:
                await self.sync(plane)
                failures = 0
            except nftables.NftablesError:
                log.exception("the rules for Services were refused; writing them anew")
                await self._clock.sleep(RETRY.delay(failures))
                failures += 1

    async def sync(self, plane: dataplane.Dataplane) -> None:
        """One iteration: bring every Service that changed up to date, in one transaction. Raises NftablesError; everything is then due again."""
        self._changed.clear()
        is_known, self._is_known = self._is_known, True
        if not is_known:
            self._claims, self._picks = claims.Claims(self._node.reserved), frozenset()
            self._dirty.update((obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in self._services.list())
            self._dirty.update((POD, sandbox_id) for sandbox_id in self._pods.all())
        dirty, self._dirty = self._dirty, set()
        try:
            inputs = await self._gather(dirty)
            self._picks, lost = await asyncio.to_thread(self._write, plane, inputs, is_known)
        except BaseException:
            self._dirty |= dirty
            self._is_known = False
            self._changed.set()
            raise
        for key, fronts in lost.items():
            self._tell(key, fronts)

    def _tell(self, key: Key, fronts: Sequence[plan.Front]) -> None:
        """Once for each state of affairs. Whose the front is stays unsaid: it may be a stranger's."""
        before = self._lost.pop(key, ())
        if not fronts:
            return
        self._lost[key] = fronts
        if fronts == before:
            return
        shown = ", ".join(f"{front.address or '*'}:{front.port}/{plan.NAMES[front.protocol]}" for front in fronts)
        service = self._services.get(*key) if key[0] != POD else None
        if service is not None:
            self._warn(service, "AddressNotFree", f"{shown}: another has it already, or it is the cluster's own")
        else:
            log.warning(
                "the sandbox %s does not get %s: another has it already, or it is the node's own", key[1], shown
            )

    async def _gather(self, keys: set[Key]) -> dict[Key, Inputs | None]:
        found: dict[Key, Inputs | None] = {}
        for count, key in enumerate(keys, start=1):
            if key[0] == POD:
                found[key] = self._pods.all().get(key[1])
                continue
            service = self._services.get(*key)
            pieces = self._slices.by_index(BY_SERVICE, "/".join(key))
            found[key] = (service, pieces) if service is not None else None
            if count % BETWEEN_BREATHS == 0:
                await asyncio.sleep(0)
        return found

    def _write(
        self, plane: dataplane.Dataplane, inputs: Mapping[Key, Inputs | None], is_known: bool
    ) -> tuple[frozenset[rules.Pick], dict[Key, Sequence[plan.Front]]]:
        """In a thread, alone with the claims until it ends. Returns the chains that are there now, and what claimants do not get."""
        wanted = {key: self._claim(given) for key, given in inputs.items()}
        old, new = self._claims.replace(wanted)
        picks = plan.picks(new) - self._picks
        plane.make_chains(sorted(picks, key=lambda pick: pick.chain))
        steps = [*([] if is_known else difference.emptied(rules.PROXY_MAPS)), *plan.changes(old, new)]
        if steps:
            plane.write(steps)
        try:
            plane.forget_udp(plan.stale_udp(old, new))
        except OSError as error:
            log.warning("stale UDP connections to Services stay until they end by themselves: %s", error)
        concerned = wanted.keys() | self._claims.claimants(old.keys() | new.keys())
        losses = {owner: self._claims.losses(owner) for owner in concerned}
        return self._picks | picks, {owner: found for owner, found in losses.items() if found or owner in self._lost}

    def _claim(self, given: Inputs | None) -> tuple[str, plan.Entries]:
        """Since when, and what."""
        if given is None:
            return "", plan.EMPTY
        if isinstance(given, host_ports.Claim):
            return given.since, plan.of_host_ports(given)
        service, pieces = given
        return service["metadata"].get("creationTimestamp", ""), plan.entries(service, pieces, self._node.name)

    def _on_service(self, old: client.Object | None, new: client.Object | None) -> None:
        obj = new or old
        assert obj is not None
        self._mark((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _on_slice(self, old: client.Object | None, new: client.Object | None) -> None:
        for obj in (old, new):
            for name in service_of_slice(obj) if obj else ():
                namespace, _, service = name.partition("/")
                self._mark((namespace, service))

    def _on_host_ports(self, sandbox_id: str) -> None:
        self._mark((POD, sandbox_id))

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        self._changed.set()
