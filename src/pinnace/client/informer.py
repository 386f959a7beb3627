"""A local, always-current copy of a resource: list once, watch for ever, list again when the history is gone."""

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Callable, Iterable, Sequence

from pinnace.client import client, resources
from pinnace.kit import backoff, clock

log = logging.getLogger(__name__)

Handler = Callable[[client.Object | None, client.Object | None], None]
"""(old, new): old None = added, new None = deleted. Called in order, on the loop, must not block."""
IndexFunction = Callable[[client.Object], Iterable[str]]
Transform = Callable[[client.Object], client.Object]
"""Makes an object smaller before it is kept; may change and return what it is given."""

RETRY = backoff.Backoff(first=0.2, limit=30.0, jitter=0.5)
# A watch that lived this long was healthy: its end is no failure, the next one starts at once.
HEALTHY_AFTER_SECONDS = 1.0


def without_managed_fields(obj: client.Object) -> client.Object:
    """Who wrote which field concerns the API server alone and is often half of an object. An update that leaves
    `managedFields` out keeps what the server has."""
    obj["metadata"].pop("managedFields", None)
    return obj


class _Index:
    def __init__(self, function: IndexFunction) -> None:
        self._function = function
        self._values: dict[str, dict[tuple[str, str], client.Object]] = {}

    def change(self, key: tuple[str, str], old: client.Object | None, new: client.Object | None) -> None:
        after = set(self._function(new)) if new is not None else set()
        for value in set(self._function(old)) - after if old is not None else ():
            members = self._values[value]
            del members[key]
            if not members:
                del self._values[value]
        for value in after:
            self._values.setdefault(value, {})[key] = new  # type: ignore[assignment]  # not None when `after` is not empty

    def get(self, value: str) -> Sequence[client.Object]:
        return tuple(self._values.get(value, {}).values())

    def values(self) -> Sequence[str]:
        return tuple(self._values)


class Informer:
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
        transform: Transform = without_managed_fields,
        rng: random.Random | None = None,
    ) -> None:
        """`rng` spreads the retries of many informers; without it a generator of this informer's own is used."""
        self.resource = resource
        self._api = api
        self._clock = time
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._transform = transform
        self._rng = rng or random.Random()  # noqa: S311 -- spreading retries needs no secrecy
        self._objects: dict[str, dict[str, client.Object]] = {}
        self._indexes: dict[str, _Index] = {}
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

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Before `run`; an index that is added later is filled at once. Several owners may add the same one."""
        if name in self._indexes:
            return
        index = self._indexes[name] = _Index(function)
        for obj in self.list():
            index.change(_key(obj), None, obj)

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

    def get(self, namespace: str | None, name: str) -> client.Object | None:
        return self._objects.get(namespace or "", {}).get(name)

    def list(self, namespace: str | None = None) -> Sequence[client.Object]:
        if namespace:
            return tuple(self._objects.get(namespace, {}).values())
        return tuple(itertools.chain.from_iterable(objects.values() for objects in self._objects.values()))

    def by_index(self, name: str, value: str) -> Sequence[client.Object]:
        return self._indexes[name].get(value)

    def index_values(self, name: str) -> Sequence[str]:
        """Every value that some object has under the index."""
        return self._indexes[name].values()

    async def _list(self) -> None:
        snapshot = await self._api.list(
            self.resource,
            self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        self._resource_version = snapshot.resource_version
        there = {_key(obj) for obj in snapshot.items}
        for obj in self.list():
            if _key(obj) not in there:
                self._change(_key(obj), None)
        for obj in snapshot.items:
            self._put(obj)
        self._synced.set()

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
            self._change(_key(event.object), None)
        else:
            self._put(event.object)

    def _put(self, obj: client.Object) -> None:
        key = _key(obj)
        metadata = obj["metadata"]
        old = self.get(*key)
        if old is not None:
            if old["metadata"].get("resourceVersion") == metadata.get("resourceVersion"):
                return
            if old["metadata"].get("uid") != metadata.get("uid"):
                self._change(key, None)
        self._change(key, self._transform(obj))

    def _change(self, key: tuple[str, str], new: client.Object | None) -> None:
        namespace, name = key
        old = self.get(namespace, name)
        if new is not None:
            self._objects.setdefault(namespace, {})[name] = new
        elif old is None:
            return
        else:
            del self._objects[namespace][name]
            if not self._objects[namespace]:
                del self._objects[namespace]
        for index in self._indexes.values():
            index.change(key, old, new)
        for handler in self._handlers:
            handler(old, new)


def _key(obj: client.Object) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
