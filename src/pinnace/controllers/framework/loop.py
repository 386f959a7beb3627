"""The one reconcile loop. A controller is a value (`Controller`): what it watches and its pure `plan`.

    informers -> keys -> work queue -> plan(view, key, now) -> actions -> executor

A key is planned by one worker at a time, and only when the caches show everything that its last plan wrote. Errors
delay that key alone; every key is planned again when something it watches changes.
"""

import asyncio
import dataclasses
import datetime
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import cache, client, events, informer
from pinnace.controllers.framework import actions, executor
from pinnace.controllers.framework import lister as views
from pinnace.kit import backoff, clock, tasks, workqueue

log = logging.getLogger(__name__)

Object = dict[str, Any]
Key = cache.Key
Plan = Callable[[views.View, Key, datetime.datetime], Sequence[actions.Action]]
Map = Callable[[views.View, Object], Iterable[Key]]
"""Which keys an object concerns. Called with its old and with its new state."""
Observe = Callable[[client.Client, views.View, Key], Awaitable[Any]]

MANAGER = "system:kube-controller-manager"
RETRY = backoff.Backoff(first=0.005, limit=60.0)
# An own write that no cache has shown for so long is no longer waited for: better a doubtful plan than none.
EXPECTATION_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class Watch:
    resource: resources.Resource
    keys: Map


@dataclasses.dataclass(frozen=True, slots=True)
class Controller:
    name: str
    """As upstream's: `deployment`. Events and its identity are named after it."""
    watches: tuple[Watch, ...]
    plan: Plan
    user: str = ""
    """Its service account; by default `<name>-controller`. `MANAGER`: it acts as the manager itself."""
    reads: tuple[resources.Resource, ...] = ()
    """Caches it looks at without being woken by them."""
    indexes: tuple[views.Index, ...] = ()
    observe: Observe | None = None
    """Reads what no cache holds, just before the plan (`view.live`)."""
    workers: int = 5
    resync_seconds: float = 0
    """Plan every key of the first watch, or `timer_keys`, again so often; 0: never."""
    timer_keys: tuple[Key, ...] = ()
    """Keys that stand for a round over everything: planned at the start and by the timer alone."""
    component: str = ""
    """Source of its events; by default `<name>-controller`."""

    @property
    def user_name(self) -> str:
        """Who it is to the API."""
        if self.user == MANAGER:
            return MANAGER
        return f"system:serviceaccount:kube-system:{self.user or f'{self.name}-controller'}"

    @property
    def resources(self) -> tuple[resources.Resource, ...]:
        return tuple(dict.fromkeys([*(watch.resource for watch in self.watches), *self.reads]))


def own_key(view: views.View, obj: Object) -> Iterable[Key]:
    """The `Map` of a controller's own kind."""
    return [cache.key_of(obj)]


def controller_key(kind: str) -> Map:
    """The `Map` of what is controlled by an object of `kind`."""

    def keys(view: views.View, obj: Object) -> Iterable[Key]:
        metadata = obj["metadata"]
        return [
            (metadata.get("namespace", ""), reference["name"])
            for reference in metadata.get("ownerReferences") or ()
            if reference.get("controller") and reference["kind"] == kind
        ]

    return keys


class Loop:
    """Runs one controller. `is_idle` and `settled` are for whoever waits until there is nothing to do."""

    def __init__(
        self,
        controller: Controller,
        api: client.Client,
        recorder: events.EventRecorder,
        informers: Mapping[resources.Resource, informer.Informer],
        time: clock.Clock,
    ) -> None:
        """`informers` holds at least `controller.resources`."""
        self._controller = controller
        self._api = api
        self._clock = time
        self._informers = {resource: informers[resource] for resource in controller.resources}
        self._view = views.View(self._informers)
        self._executor = executor.Executor(api, recorder, self._informers)
        self._queue: workqueue.WorkQueue[Key] = workqueue.WorkQueue(time, RETRY)
        self._unseen: dict[Key, tuple[float, list[executor.Expectation]]] = {}
        self._doubts: dict[Key, set[executor.Doubt]] = {}
        for resource, name, function in controller.indexes:
            self._informers[resource].add_index(name, function)
        for watch in controller.watches:
            self._informers[watch.resource].add_handler(self._handler(watch.keys))
        for resource in controller.resources:
            self._informers[resource].add_handler(self._on_any_change)

    @property
    def is_idle(self) -> bool:
        return self._queue.is_idle and not self._unseen

    async def run(self) -> None:
        for source in self._informers.values():
            await source.wait_synced()
        async with tasks.Supervisor(self._clock) as supervisor:
            for number in range(self._controller.workers):
                supervisor.start(f"{self._controller.name} worker {number}", self._work)
            if self._controller.resync_seconds:
                supervisor.start(f"{self._controller.name} resync", self._resync)
            await asyncio.Event().wait()

    def add(self, key: Key) -> None:
        self._queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self.reconcile(key)
            finally:
                self._queue.done(key)

    async def _resync(self) -> None:
        while True:
            for key in self._controller.timer_keys:
                self._queue.add(key)
            await self._clock.sleep(self._controller.resync_seconds)
            if not self._controller.timer_keys:
                for obj in self._view.list(self._controller.watches[0].resource):
                    self._queue.add(cache.key_of(obj))

    async def reconcile(self, key: Key) -> None:
        """One iteration: plan the key and carry the plan out, or put it off until the caches are far enough."""
        if not self._is_current(key):
            return
        try:
            if not await self._is_clear(key):
                return
            outcome = await self._plan_and_run(key)
        except client.ApiError as error:
            self._retry(key, str(error), is_expected=True)
            return
        except Exception:
            # A plan that cannot cope with some object must not stop the others: that object alone is put off.
            log.exception("%s: no plan for %s", self._controller.name, key)
            self._queue.retry(key)
            return
        if outcome.expectations:
            self._unseen[key] = (self._clock.monotonic(), outcome.expectations)
        if outcome.doubts:
            self._doubts[key] = outcome.doubts
        self._after(key, outcome)

    async def _is_clear(self, key: Key) -> bool:
        """Whether the caches show what writes without an answer may have done; if not, the key comes back when they do."""
        doubts = self._doubts.get(key)
        if not doubts:
            return True
        expectations = await self._executor.clear_up(doubts)
        del self._doubts[key]
        if expectations:
            self._unseen[key] = (self._clock.monotonic(), expectations)
        return self._is_current(key)

    async def _plan_and_run(self, key: Key) -> executor.Outcome:
        view = self._view
        if self._controller.observe is not None:
            view = view.with_live(await self._controller.observe(self._api, view, key))
        return await self._executor.run(self._controller.plan(view, key, self._clock.now()))

    def _after(self, key: Key, outcome: executor.Outcome) -> None:
        error = outcome.error
        if error is not None:
            is_race = isinstance(error, client.Conflict | client.NotFound | client.AlreadyExists | client.Unavailable)
            self._retry(key, str(error), is_expected=is_race)
        elif outcome.retry:
            self._retry(key, outcome.retry, is_expected=True)
        else:
            self._queue.forget(key)
            if outcome.requeue_after is not None:
                self._queue.add_after(key, outcome.requeue_after)

    def _retry(self, key: Key, why: str, *, is_expected: bool) -> None:
        delay = self._queue.retry(key)
        level = logging.DEBUG if is_expected else logging.WARNING
        log.log(level, "%s: %s again in %.3f s: %s", self._controller.name, "/".join(key), delay, why)

    def _is_current(self, key: Key) -> bool:
        """Whether the caches show what the key's last plan wrote; if not, the key comes back when they do."""
        if key not in self._unseen:
            return True
        since, expectations = self._unseen[key]
        left = since + EXPECTATION_SECONDS - self._clock.monotonic()
        unmet = [expected for expected in expectations if not expected.is_met(self._informers[expected.resource])]
        if unmet and left > 0:
            self._unseen[key] = (since, unmet)
            self._queue.add_after(key, left)
            return False
        if unmet:
            log.warning("%s: %s: no cache has shown %s", self._controller.name, "/".join(key), unmet)
        del self._unseen[key]
        return True

    def _on_any_change(self, old: Object | None, new: Object | None) -> None:
        if not self._unseen:
            return
        for key, (_, expectations) in list(self._unseen.items()):
            if all(expected.is_met(self._informers[expected.resource]) for expected in expectations):
                del self._unseen[key]
                # Whatever asked for this key meanwhile was put off: plan it now.
                self._queue.add(key)

    def _handler(self, keys: Map) -> informer.Handler:
        def handle(old: Object | None, new: Object | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    for key in keys(self._view, obj):
                        self._queue.add(key)

        return handle
