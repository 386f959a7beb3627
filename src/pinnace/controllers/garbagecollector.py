"""The garbage collector: objects whose owners are all gone are deleted; the three deletion policies are carried through.

Watches every resource that discovery shows (`Graph`), looks at suspicious objects and their owners in the API itself and acts
by `ownership.plan`. Guarantees: nothing is deleted while one owner, by name and uid, is there.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pinnace.api import resources
from pinnace.client import client, events, informer, informers
from pinnace.controllers import ownership
from pinnace.controllers.framework import discovery, executor
from pinnace.kit import backoff, clock, tasks, workqueue

log = logging.getLogger(__name__)

Object = dict[str, Any]

# Events are many, short-lived, and own nothing.
IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
DISCOVERY_SECONDS = 30.0
# A resource that cannot be listed must not keep the others waiting for ever; its objects are judged by live reads alone.
SYNC_SECONDS = 30.0
WORKERS = 10
RETRY = backoff.Backoff(first=0.1, limit=60.0)


def metadata_only(obj: Object) -> Object:
    """What the graph needs; most of an object is dropped before it is kept."""
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp")
    return {"metadata": {field: metadata[field] for field in kept if field in metadata}}


class GarbageCollector:
    def __init__(
        self, api: client.Client, shared: informers.Shared, recorder: events.EventRecorder, time: clock.Clock
    ) -> None:
        """`shared`: what others in this process watch already is watched once. Of all else no more than the graph needs is kept."""
        self._api = api
        self._shared = shared
        self._recorder = recorder
        self._clock = time
        self._graph = ownership.Graph()
        self._queue: workqueue.WorkQueue[str] = workqueue.WorkQueue(time, RETRY)
        self._executor = executor.Executor(api, recorder, {})
        self._informers: dict[resources.Resource, informer.Informer] = {}
        self._tasks: dict[resources.Resource, asyncio.Task[None]] = {}
        """Of the informers that are nobody else's."""
        self._served: dict[tuple[str, str], resources.Resource] = {}
        """By (group, kind)."""

    @property
    def is_idle(self) -> bool:
        return self._queue.is_idle

    async def run(self) -> None:
        async with tasks.Supervisor(self._clock) as supervisor:
            await self._discover(supervisor)
            await self._wait_synced()
            for number in range(WORKERS):
                supervisor.start(f"garbage collector worker {number}", self._work)
            while True:
                await self._clock.sleep(DISCOVERY_SECONDS)
                await self._discover(supervisor)

    async def _discover(self, supervisor: tasks.Supervisor) -> None:
        """Watch what is new, and stop watching what is no longer served."""
        try:
            found = await discovery.discover(self._api)
        except client.ApiError as error:
            log.info("garbage collector: no discovery: %s", error)
            return
        wanted = {
            served.resource
            for served in found.served
            if {"list", "watch", "delete"} <= served.verbs
            and (served.resource.group, served.resource.plural) not in IGNORED
        }
        self._served |= {(each.resource.group, each.resource.kind): each.resource for each in found.served}
        for resource in wanted - self._informers.keys():
            self._informers[resource] = self._watch(resource, supervisor)
        if not found.failed:
            for resource in self._tasks.keys() - wanted:
                self._forget(resource)

    def _watch(self, resource: resources.Resource, supervisor: tasks.Supervisor) -> informer.Informer:
        if resource in self._shared:
            source = self._shared[resource]
        else:
            source = informer.Informer(self._api, resource, self._clock, transform=metadata_only)
            name = f"garbage collector's informer of {resource.plural}"
            self._tasks[resource] = supervisor.spawn(name, source.run())
        source.add_handler(self._handler(resource))
        return source

    def _forget(self, resource: resources.Resource) -> None:
        source = self._informers.pop(resource)
        self._tasks.pop(resource).cancel()
        self._served.pop((resource.group, resource.kind), None)
        for obj in source.list():
            self._look_at(self._graph.remove(obj["metadata"]["uid"]))

    async def _wait_synced(self) -> None:
        deadline = self._clock.monotonic() + SYNC_SECONDS
        while self._clock.monotonic() < deadline:
            if all(source.is_synced for source in self._informers.values()):
                return
            await self._clock.sleep(0.05)
        missing = [each.plural for each, source in self._informers.items() if not source.is_synced]
        log.warning("garbage collector starts without %s", ", ".join(missing))

    def _handler(self, resource: resources.Resource) -> Callable[[Object | None, Object | None], None]:
        def handle(old: Object | None, new: Object | None) -> None:
            if new is not None:
                self._look_at(self._graph.update(resource, new))
            elif old is not None:
                self._look_at(self._graph.remove(old["metadata"]["uid"]))

        return handle

    def _look_at(self, uids: set[str]) -> None:
        for uid in uids:
            self._queue.add(uid)

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self.collect(uid)
            finally:
                self._queue.done(uid)

    async def collect(self, uid: str) -> None:
        """One iteration: look at one object, and act."""
        try:
            looked = await self._look(uid)
            outcome = await self._executor.run(ownership.plan(looked)) if looked else executor.Outcome()
        except client.ApiError as error:
            outcome = executor.Outcome(error=error)
        except _Unresolved as unresolved:
            outcome = executor.Outcome(retry=str(unresolved))
        if (outcome.error is not None and not isinstance(outcome.error, client.NotFound)) or outcome.retry:
            delay = self._queue.retry(uid)
            log.debug("garbage collector: %s again in %.1f s: %s", uid, delay, outcome.error or outcome.retry)
        else:
            self._queue.forget(uid)

    async def _look(self, uid: str) -> ownership.Looked | None:
        """None: there is nothing to judge. Raises ApiError, _Unresolved."""
        node = self._graph.get(uid)
        if node is None or not (node.references or node.is_deleting):
            return None
        try:
            obj = await self._api.get(node.resource, node.namespace, node.name)
        except client.NotFound:
            # The deletion is on its way to the cache; what depends on the object need not wait for it.
            self._look_at(self._graph.remove(uid))
            return None
        if obj["metadata"]["uid"] != uid:
            self._look_at(self._graph.remove(uid))
            return None
        references = obj["metadata"].get("ownerReferences") or ()
        owners = {each["uid"]: await self._owner(node, each) for each in references}
        if ownership.Owner.UNKNOWABLE in owners.values():
            message = "ownerRef refers to a namespaced kind, which cannot own a cluster-scoped object"
            self._recorder.warning(obj, "OwnerRefInvalidNamespace", message)
        return ownership.Looked(node.resource, obj, owners, self._graph.dependents(uid))

    async def _owner(self, node: ownership.Node, reference: Object) -> ownership.Owner:
        known = self._graph.get(reference["uid"])
        if known is not None and known.is_named_by(reference, node.namespace) and not known.is_deleting:
            return ownership.Owner.SOLID
        group = str(reference["apiVersion"]).rpartition("/")[0]
        resource = self._served.get((group, reference["kind"]))
        if resource is None:
            raise _Unresolved(f"no resource serves the owner's kind {reference['apiVersion']} {reference['kind']}")
        if resource.namespaced and not node.resource.namespaced:
            return ownership.Owner.UNKNOWABLE
        try:
            owner = await self._api.get(resource, node.namespace if resource.namespaced else None, reference["name"])
        except client.NotFound:
            return ownership.Owner.ABSENT
        metadata = owner["metadata"]
        if metadata["uid"] != reference["uid"]:
            return ownership.Owner.ABSENT
        is_waiting = "deletionTimestamp" in metadata and ownership.FOREGROUND in (metadata.get("finalizers") or ())
        return ownership.Owner.WAITING if is_waiting else ownership.Owner.SOLID


class _Unresolved(Exception):
    """An owner's kind is not served (yet): nobody can tell whether it is there."""
