"""Keeps the kernel's maps equal to what Services and EndpointSlices say.

In: two informers. Out: one nftables transaction per burst of changes. At start the maps are written anew as a whole (one transaction, so that
traffic never meets an empty table); from then on only elements that differ are touched.
"""

import asyncio
import logging

from pinnace.client import client, informer
from pinnace.kernel import nftables
from pinnace.kit import backoff, clock
from pinnace.proxy import plan

log = logging.getLogger(__name__)

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
BY_SERVICE = "service"
RETRY = backoff.Backoff(first=0.1, limit=10.0)

Key = tuple[str, str]


def service_of_slice(piece: client.Object) -> list[str]:
    """The index that the slices' informer needs: `namespace/name` of the Service."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
    return [f"{piece['metadata']['namespace']}/{name}"] if name else []


class Proxy:
    """`services` and `slices` are run by the caller; `slices` has the index BY_SERVICE."""

    def __init__(
        self, services: informer.Informer, slices: informer.Informer, table: str, node_name: str, time: clock.Clock
    ) -> None:
        self._services = services
        self._slices = slices
        self._table = table
        self._node_name = node_name
        self._clock = time
        self._applied: dict[Key, plan.Entries] = {}
        self._chains: frozenset[str] = frozenset()
        self._dirty: set[Key] = set()
        self._changed = asyncio.Event()
        self._is_first = True
        """Until the maps were written as a whole: what an earlier process left in them is not known."""
        services.add_handler(self._on_service)
        slices.add_handler(self._on_slice)

    async def run(self) -> None:
        await self._services.wait_synced()
        await self._slices.wait_synced()
        nft = await asyncio.to_thread(nftables.Nftables)
        failures = 0
        self._applied, self._chains = {}, frozenset()
        self._is_first = True
        self._dirty.update((obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in self._services.list())
        self._changed.set()
        while True:
            await self._changed.wait()
            try:
                await self.sync(nft)
                failures = 0
            except nftables.NftablesError:
                log.exception("the rules for Services were refused; trying again")
                await self._clock.sleep(RETRY.delay(failures))
                failures += 1

    async def sync(self, nft: nftables.Nftables) -> None:
        """One iteration: bring every Service that changed up to date, in one transaction."""
        self._changed.clear()
        dirty, self._dirty = self._dirty, set()
        wanted = {key: self._entries(key) for key in dirty}
        chains = self._chains
        texts = [self._flush()] if self._is_first else []
        for key, entries in wanted.items():
            texts.append(plan.change(self._table, self._applied.get(key, plan.EMPTY), entries, chains))
            chains |= entries.chains
        text = "".join(texts)
        if text:
            try:
                await asyncio.to_thread(nft.run, text)
            except nftables.NftablesError:
                self._dirty |= dirty
                self._changed.set()
                raise
        self._is_first = False
        self._chains = chains
        for key, entries in wanted.items():
            if entries == plan.EMPTY:
                self._applied.pop(key, None)
            else:
                self._applied[key] = entries

    def _entries(self, key: Key) -> plan.Entries:
        service = self._services.get(*key)
        if service is None:
            return plan.EMPTY
        return plan.entries(service, self._slices.by_index(BY_SERVICE, "/".join(key)), self._node_name)

    def _flush(self) -> str:
        maps = "".join(f"flush map ip {self._table} {name}\n" for name in plan.MAPS)
        return maps + f"flush set ip {self._table} hairpin\n"

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
