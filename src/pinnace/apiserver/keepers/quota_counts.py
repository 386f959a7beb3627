"""Keeps what quotas say is used true: a new quota is counted at once, and what deletions and finished pods free is given back.

Upstream leaves this to a controller that counts from caches, which may miss an object that was admitted a moment ago. Here the server
counts from its own store, and the count only lands when nothing was booked since: whatever is created changes the quota in the same
transaction, so that no count ever frees what is in use.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from pinnace.api import pods, resources
from pinnace.apiserver.admission import resource_quota
from pinnace.apiserver.storage import envelope, objects
from pinnace.kit import clock

Object = dict[str, Any]

# Changes come in bursts: one count serves all of a moment.
_SETTLE_SECONDS = 0.05
# Of these an update may free something; of the rest only a deletion.
_CHANGING = (resources.PODS, resources.SERVICES, resources.PERSISTENT_VOLUME_CLAIMS)


class QuotaCounts:
    def __init__(self, stored: objects.Objects, time: clock.Clock) -> None:
        self._objects = stored
        self._clock = time
        self._quotas = stored.kind(resources.RESOURCE_QUOTAS)
        self._pods = stored.kind(resources.PODS)
        self._changing = tuple(stored.kind(resource) for resource in _CHANGING)
        self._limited: dict[str, set[str]] = {}
        """The names of the quotas of each namespace that has some."""
        self._due: set[str] = set()
        self._is_due = asyncio.Event()

    async def follow(self) -> None:
        """Note for ever which namespaces have to be counted. Raises when history is gone: to be started again."""
        page = self._objects.list(self._quotas)
        self._limited = {}
        for record in page.records:
            self._note_quota(*objects.names(self._quotas, record), record)
        async with self._objects.watch_everything(page.revision) as watch:
            async for batch in watch:
                self.note(batch)

    def note(self, batch: Sequence[objects.Change]) -> None:
        for event in batch:
            if objects.is_of(self._quotas, event):
                self._note_quota(*objects.names(self._quotas, event), event.record)
            elif (
                self._limited and (namespace := objects.namespace_of(event)) in self._limited and self._may_free(event)
            ):
                self._want(namespace)

    def _note_quota(self, namespace: str, name: str, record: objects.Stored | None) -> None:
        names = self._limited.setdefault(namespace, set())
        if record is None:
            names.discard(name)
            if not names:
                del self._limited[namespace]
        elif name not in names or not _is_counted(envelope.parse(record)):
            names.add(name)
            self._want(namespace)

    def _may_free(self, event: objects.Change) -> bool:
        if event.record is None:
            return True
        if event.previous is None or not any(objects.is_of(kind, event) for kind in self._changing):
            return False
        if objects.is_of(self._pods, event):
            pod = envelope.parse(event.record)
            # A specification that changed may want less: a resize.
            before = envelope.parse(event.previous)
            return pods.is_terminal(pod) or pod["metadata"].get("generation") != before["metadata"].get("generation")
        return True

    def _want(self, namespace: str) -> None:
        self._due.add(namespace)
        self._is_due.set()

    async def count(self) -> None:
        """Count for ever what is due, a moment after it came to be."""
        while True:
            await self._is_due.wait()
            await self._clock.sleep(_SETTLE_SECONDS)
            self._is_due.clear()
            due, self._due = self._due, set()
            for namespace in sorted(due):
                if not await self.recount(namespace):
                    self._want(namespace)

    async def recount(self, namespace: str) -> bool:
        """Whether all quotas of `namespace` say what is used; False: something was booked meanwhile, try again."""
        async with self._objects.turn(namespace):
            records = self._objects.records(resources.RESOURCE_QUOTAS, namespace)
            return all([await self._recount(namespace, objects.names(self._quotas, record)[1]) for record in records])

    async def _recount(self, namespace: str, name: str) -> bool:
        """Between the look at the quota and the conditional write nothing waits: both are about one state."""
        record = self._objects.find(self._quotas, namespace, name)
        if record is None:
            return True
        quota = envelope.parse(record)
        hard = (quota.get("spec") or {}).get("hard") or {}
        status = {"hard": hard, "used": resource_quota.counted(self._objects, quota, namespace, hard)}
        if not hard or status == quota.get("status"):
            return True
        quota["status"] = status
        try:
            await self._objects.replace(self._quotas, record, quota)
        except objects.Overtaken:
            return False
        return True


def _is_counted(quota: Object) -> bool:
    hard = (quota.get("spec") or {}).get("hard") or {}
    status = quota.get("status") or {}
    return status.get("hard") == hard and set(status.get("used") or {}) == set(hard)
