"""A local, always-current copy of a resource: list once, watch for ever, list again when the history is gone."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from pinnace.api import resources
from pinnace.client import cache, client, compact
from pinnace.kit import backoff, clock

log = logging.getLogger(__name__)

Handler = Callable[[client.Object | None, client.Object | None], None]
"""(old, new): old None = added, new None = deleted. Called in order, on the loop, must not block."""
IndexFunction = cache.IndexFunction
Transform = Callable[[client.Object], client.Object]
"""Makes an object smaller before it is kept; what it is given may be shared, so it returns another one and changes nothing."""

RETRY = backoff.Backoff(first=0.2, limit=30.0, jitter=0.5)
# A watch that lived this long was healthy: its end is no failure, the next one starts at once.
HEALTHY_AFTER_SECONDS = 1.0


class Informer(cache.Cache):
    """Guarantees: the cache only moves forward per object; handlers see every state change that the cache makes, in order; after a
    relist, objects that vanished meanwhile are reported as deleted; an object whose uid changed is reported as deleted
    and added. One instance per resource and selector; share it."""

    def __init__(
        self,
        api: client.Client,
        resource: resources.Resource,
        time: clock.Clock,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        transform: Transform | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`transform`: without one the whole object is kept, but for its managed fields. `rng` spreads the retries of many informers;
        without it a generator of this informer's own is used."""
        super().__init__()
        self.resource = resource
        self._api = api
        self._clock = time
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._transform = transform or (compact.pod if resource == resources.PODS else compact.without_managed_fields)
        self._rng = rng or random.Random()  # noqa: S311 -- spreading retries needs no secrecy
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._resource_version = ""

    @property
    def is_synced(self) -> bool:
        return self._synced.is_set()

    @property
    def resource_version(self) -> str:
        """Everything up to here is in the cache: the last list, event or bookmark. "" before the first list."""
        return self._resource_version

    def add_handler(self, handler: Handler) -> None:
        """Before `run`; a handler that is added later is first told of everything that is there."""
        for obj in self.list():
            handler(None, obj)
        self._handlers.append(handler)

    async def run(self) -> None:
        """For ever; started by a Supervisor. Errors of the API are retried with back-off inside."""
        failures = 0
        must_list = True
        while True:
            started = self._clock.monotonic()
            try:
                if must_list:
                    await self._list()
                    must_list = False
                    failures = 0
                await self._watch()
            except client.Expired:
                must_list = True
            except client.ApiError as error:
                log.info("watch of %s: %s", self.resource.plural, error)
                must_list = must_list or not isinstance(error, client.Unavailable)
            if self._clock.monotonic() - started >= HEALTHY_AFTER_SECONDS:
                failures = 0
                continue
            await self._clock.sleep(RETRY.delay(failures, self._rng))
            failures += 1

    async def wait_synced(self) -> None:
        """Returns once the first list is in the cache."""
        await self._synced.wait()

    async def _list(self) -> None:
        try:
            await self._take_pages(client.PAGE_SIZE)
        except client.Expired:
            # The snapshot went away between two pages: a single large page cannot suffer that.
            await self._take_pages(0)
        self._synced.set()

    async def _take_pages(self, limit: int) -> None:
        """Page by page, so that neither the whole list is in memory beside the cache, nor the loop held while it is taken in."""
        there: set[cache.Key] = set()
        pages = self._api.pages(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            limit=limit,
        )
        async with contextlib.aclosing(pages):
            async for page in pages:
                for obj in page.items:
                    there.add(cache.key_of(obj))
                    self._put(obj)
                resource_version = page.resource_version
                # Within one process nothing of this waits for anything.
                await asyncio.sleep(0)
        for obj in self.list():
            if cache.key_of(obj) not in there:
                self._change(cache.key_of(obj), None)
        self._resource_version = resource_version

    async def _watch(self) -> None:
        events = self._api.watch(
            self.resource,
            self._namespace,
            resource_version=self._resource_version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                self._apply(event)

    def _apply(self, event: client.WatchEvent) -> None:
        self._resource_version = event.object["metadata"]["resourceVersion"]
        if event.type == "BOOKMARK":
            return
        if event.type == "DELETED":
            self._change(cache.key_of(event.object), None)
        else:
            self._put(event.object)

    def _put(self, obj: client.Object) -> None:
        key = cache.key_of(obj)
        metadata = obj["metadata"]
        old = self.get(*key)
        if old is not None:
            if old["metadata"].get("resourceVersion") == metadata.get("resourceVersion"):
                return
            if old["metadata"].get("uid") != metadata.get("uid"):
                self._change(key, None)
        self._change(key, self._transform(obj))

    def _change(self, key: cache.Key, new: client.Object | None) -> None:
        old = self.set(key, new)
        if old is not None or new is not None:
            for handler in self._handlers:
                handler(old, new)
