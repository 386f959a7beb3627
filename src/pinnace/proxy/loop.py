"""Keeps the kernel's maps equal to what Services and EndpointSlices say.

In: two informers. Out: one nftables transaction per burst of changes. At the start, and after the kernel has refused a transaction, the maps are
written anew as a whole (one transaction, so that traffic never meets an empty table); otherwise only elements that differ are touched. What was
not written stays to be written, however often the kernel refuses. Plans are made and written in a thread, from objects that never change.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from pinnace.client import client, informer
from pinnace.kernel import elements, nftables
from pinnace.kit import backoff, clock
from pinnace.net import rules
from pinnace.proxy import dataplane, plan

log = logging.getLogger(__name__)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
BY_SERVICE = "service"
RETRY = backoff.Backoff(first=0.1, limit=10.0)
BETWEEN_BREATHS = 500
"""Services whose objects are gathered before other tasks of the loop get their turn."""

Key = tuple[str, str]
Inputs = tuple[client.Object, Sequence[client.Object]]


def service_of_slice(piece: client.Object) -> list[str]:
    """The index that the slices' informer needs: `namespace/name` of the Service."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [f"{piece['metadata']['namespace']}/{name}"] if name else []


class Proxy:
    """`services` and `slices` are run by the caller; `slices` has the index BY_SERVICE. `open_dataplane` is called in a thread."""

    def __init__(
        self,
        services: informer.Informer,
        slices: informer.Informer,
        table: str,
        node_name: str,
        time: clock.Clock,
        open_dataplane: Callable[[str], dataplane.Dataplane] = dataplane.Kernel.open,
    ) -> None:
        self._services = services
        self._slices = slices
        self._table = table
        self._node_name = node_name
        self._clock = time
        self._open = open_dataplane
        self._applied: dict[Key, plan.Entries] = {}
        self._picks: frozenset[rules.Pick] = frozenset()
        self._is_known = False
        """Whether `_applied` and `_picks` are what the kernel has: not at the start, nor after a refusal."""
        self._dirty: set[Key] = set()
        self._changed = asyncio.Event()
        services.add_handler(self._on_service)
        slices.add_handler(self._on_slice)

    async def run(self) -> None:
        await self._services.wait_synced()
        await self._slices.wait_synced()
        plane = await asyncio.to_thread(self._open, self._table)
        failures = 0
        self._is_known = False
        self._changed.set()
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
        if not self._is_known:
            self._applied, self._picks = {}, frozenset()
            self._dirty.update((obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in self._services.list())
        dirty, self._dirty = self._dirty, set()
        is_known, self._is_known = self._is_known, False
        try:
            inputs = await self._gather(dirty)
            wanted, self._picks = await asyncio.to_thread(self._write, plane, inputs, is_known)
        except BaseException:
            self._dirty |= dirty
            self._changed.set()
            raise
        self._is_known = True
        for key, entries in wanted.items():
            if entries:
                self._applied[key] = entries
            else:
                self._applied.pop(key, None)

    async def _gather(self, keys: set[Key]) -> dict[Key, Inputs | None]:
        found: dict[Key, Inputs | None] = {}
        for count, key in enumerate(keys, start=1):
            service = self._services.get(*key)
            pieces = self._slices.by_index(BY_SERVICE, "/".join(key))
            found[key] = (service, pieces) if service is not None else None
            if count % BETWEEN_BREATHS == 0:
                await asyncio.sleep(0)
        return found

    def _write(
        self, plane: dataplane.Dataplane, inputs: Mapping[Key, Inputs | None], is_known: bool
    ) -> tuple[dict[Key, plan.Entries], frozenset[rules.Pick]]:
        """In a thread; changes nothing of this object. Returns the entries by Service and the chains that are there now."""
        wanted = {
            key: plan.entries(*given, self._node_name) if given is not None else plan.EMPTY
            for key, given in inputs.items()
        }
        old: dict[plan.Front, plan.Backends] = {}
        new: dict[plan.Front, plan.Backends] = {}
        for key, entries in wanted.items():
            old.update(self._applied.get(key, plan.EMPTY))
            new.update(entries)
        picks = plan.picks(new) - self._picks
        plane.make_chains(sorted(picks, key=lambda pick: pick.chain))
        flushes = [] if is_known else [elements.Change(name, is_add=False, is_flush=True) for name in rules.PROXY_MAPS]
        steps = [*flushes, *plan.changes(old, new)]
        if steps:
            plane.write(steps)
        try:
            plane.forget_udp(plan.stale_udp(old, new))
        except OSError as error:
            log.warning("stale UDP connections to Services stay until they end by themselves: %s", error)
        return wanted, self._picks | picks

    def _on_service(self, old: client.Object | None, new: client.Object | None) -> None:
        obj = new or old
        assert obj is not None
        self._mark((obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def _on_slice(self, old: client.Object | None, new: client.Object | None) -> None:
        for obj in (old, new):
            for name in service_of_slice(obj) if obj else ():
                namespace, _, service = name.partition("/")
                self._mark((namespace, service))

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        self._changed.set()
