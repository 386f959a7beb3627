"""Carries out the actions of a plan and remembers what the caches must show before the next plan of that key.

A plan made from a cache that does not show our own last write would do the same again: create a second pod, count a
deletion twice. So each write leaves an `Expectation`, and a key is not planned while one of its expectations is unmet.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import client, events, informer
from pinnace.controllers.framework import actions

Object = dict[str, Any]

# How many writes of a batch are under way at a time at most: a thousand at once would only wait in the server's queues.
_MOST_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, slots=True)
class Expectation:
    """The cache of `resource` has come to `revision`, or shows the object gone, replaced or being deleted."""

    resource: resources.Resource
    namespace: str
    name: str
    uid: str
    revision: int | None
    """None: a deletion, whose revision the answer does not tell."""

    def is_met(self, cache: informer.Informer) -> bool:
        if self.revision is not None and int(cache.resource_version or 0) >= self.revision:
            return True
        seen = cache.get(self.namespace, self.name)
        if self.revision is None:
            return seen is None or seen["metadata"]["uid"] != self.uid or "deletionTimestamp" in seen["metadata"]
        return seen is not None and int(seen["metadata"]["resourceVersion"]) >= self.revision


Doubt = tuple[resources.Resource, str | None]
"""A resource and a namespace in which a creation without a name of its own got no answer. To create again could make a second one."""


@dataclasses.dataclass(slots=True)
class Outcome:
    expectations: list[Expectation] = dataclasses.field(default_factory=list)
    requeue_after: float | None = None
    retry: str = ""
    """Why the key must be tried again after its back-off; empty: it need not."""
    error: client.ApiError | None = None
    doubts: set[Doubt] = dataclasses.field(default_factory=set)
    """Where something may have been made although the answer says otherwise."""


class Executor:
    def __init__(
        self,
        api: client.Client,
        recorder: events.EventRecorder,
        caches: Mapping[resources.Resource, informer.Informer],
    ) -> None:
        self._api = api
        self._recorder = recorder
        self._caches = caches

    async def run(self, plan: Iterable[actions.Action]) -> Outcome:
        outcome = Outcome()
        await self._attempt(plan, outcome)
        return outcome

    async def _attempt(self, plan: Iterable[actions.Action], outcome: Outcome) -> None:
        try:
            await self._run(plan, outcome)
        except client.ApiError as error:
            outcome.error = outcome.error or error

    async def _run(self, plan: Iterable[actions.Action], outcome: Outcome) -> None:
        """Raises the refusal that ends the plan."""
        for action in plan:
            if isinstance(action, actions.Record):
                self._record(action)
            elif isinstance(action, actions.Requeue):
                earlier = outcome.requeue_after
                outcome.requeue_after = action.seconds if earlier is None else min(earlier, action.seconds)
            elif isinstance(action, actions.Retry):
                outcome.retry = action.why
            elif isinstance(action, actions.Attempt):
                await self._attempt(action.plan, outcome)
            elif isinstance(action, actions.Batch):
                await self._batch(action, outcome)
            else:
                await self._write(action, outcome)

    async def _batch(self, batch: actions.Batch, outcome: Outcome) -> None:
        """Raises the first refusal."""
        remaining, size = list(batch.writes), 1
        first: client.ApiError | None = None
        while remaining:
            now, remaining = remaining[:size], remaining[size:]
            size = min(2 * size, _MOST_AT_ONCE)
            results = await asyncio.gather(*(self._write(write, outcome) for write in now), return_exceptions=True)
            for failure in results:
                if isinstance(failure, client.ApiError):
                    first = first or failure
                elif isinstance(failure, BaseException):
                    raise failure
            if any(
                isinstance(write, actions.Create) and made is not True for write, made in zip(now, results, strict=True)
            ):
                break
        if first is not None:
            await self._run(_after_error(batch.on_error, first), outcome)
            raise first

    async def _write(self, write: actions.AnyWrite, outcome: Outcome) -> bool:
        """Whether it is done. Raises the refusal unless the plan can go on without it."""
        try:
            if write.only_if is not None:
                await self._check(write.only_if)
            answer = await self._send(write)
        except client.ApiError as error:
            if isinstance(write, actions.Delete) and isinstance(error, client.NotFound):
                return True
            if isinstance(write, actions.Create) and error.is_namespace_going:
                return False
            if isinstance(write, actions.Create) and write.resource in self._caches and _may_exist(write, error):
                outcome.doubts.add((write.resource, write.namespace))
            await self._run(_after_error(write.on_error, error), outcome)
            if not write.is_optional:
                raise
            return False
        outcome.expectations.extend(self._expected(write, answer))
        await self._run(_after_success(write.then, answer), outcome)
        return True

    async def clear_up(self, doubts: Iterable[Doubt]) -> list[Expectation]:
        """What the caches must show until everything that the API has by now is in them. Raises ApiError."""
        expectations = []
        for resource, namespace in doubts:
            there = (await self._api.list(resource, namespace)).items
            if there:
                newest = max(there, key=lambda obj: int(obj["metadata"]["resourceVersion"]))
                expectations.append(_expectation(resource, newest["metadata"]))
        return expectations

    async def _check(self, guard: actions.Exists) -> None:
        """Raises NotFound or Conflict when the guard does not hold."""
        found = await self._api.get(guard.resource, guard.namespace, guard.name)
        metadata = found["metadata"]
        if metadata["uid"] != guard.uid or "deletionTimestamp" in metadata:
            what = f"{guard.resource.kind} {guard.namespace}/{guard.name}"
            raise client.Conflict({"code": 409, "reason": "Conflict", "message": f"{what} is gone or going"})

    async def _send(self, write: actions.AnyWrite) -> Object:
        api = self._api
        if isinstance(write, actions.Create):
            return await api.create(
                write.resource, write.namespace, write.obj, name=write.name, subresource=write.subresource
            )
        if isinstance(write, actions.Update):
            return await api.update(write.resource, write.obj, subresource=write.subresource)
        if isinstance(write, actions.Patch):
            return await api.patch(
                write.resource,
                write.namespace,
                write.name,
                write.patch,
                kind=write.kind,
                subresource=write.subresource,
            )
        if isinstance(write, actions.DeleteCollection):
            await api.delete_collection(write.resource, write.namespace)
            return {}
        return await api.delete(
            write.resource,
            write.namespace,
            write.name,
            uid=write.uid,
            resource_version=write.resource_version,
            grace_period_seconds=write.grace_period_seconds,
            propagation_policy=write.propagation_policy,
        )

    def _expected(self, write: actions.AnyWrite, answer: Object) -> Sequence[Expectation]:
        if write.resource not in self._caches or isinstance(write, actions.DeleteCollection):
            return ()
        if isinstance(write, actions.Delete):
            seen = self._caches[write.resource].get(write.namespace, write.name)
            uid = write.uid or (seen["metadata"]["uid"] if seen else "")
            return [Expectation(write.resource, write.namespace or "", write.name, uid, None)]
        metadata = answer.get("metadata") or {}
        if answer.get("kind") != write.resource.kind or "resourceVersion" not in metadata:
            return ()  # A subresource of another kind (a token, an eviction) says nothing about the object.
        return [_expectation(write.resource, metadata)]

    def _record(self, event: actions.Record) -> None:
        record = self._recorder.normal if event.type == "Normal" else self._recorder.warning
        record(event.regarding, event.reason, event.message)


def _after_success(then: Sequence[actions.Action] | actions.Then, answer: Object) -> Iterable[actions.Action]:
    if not isinstance(then, Sequence):
        return then.follow(answer)
    return (_filled(action, actions.NAME, (answer.get("metadata") or {}).get("name", "")) for action in then)


def _after_error(
    on_error: Sequence[actions.Action] | actions.OnError, error: client.ApiError
) -> Iterable[actions.Action]:
    if not isinstance(on_error, Sequence):
        return on_error.follow(error)
    return (_filled(action, actions.ERROR, str(error)) for action in on_error)


def _filled(action: actions.Action, mark: str, text: str) -> actions.Action:
    if isinstance(action, actions.Record) and mark in action.message:
        return dataclasses.replace(action, message=action.message.replace(mark, text))
    return action


def _expectation(resource: resources.Resource, metadata: Object) -> Expectation:
    revision = int(metadata["resourceVersion"])
    return Expectation(resource, metadata.get("namespace", ""), metadata["name"], metadata["uid"], revision)


def _may_exist(write: actions.Create, error: client.ApiError) -> bool:
    """A creation whose object the server names: nothing stops a second one where the first one's answer was lost."""
    return isinstance(error, client.Unavailable) and "name" not in write.obj["metadata"] and not write.name
