"""The scheduler: informers feed a queue and a snapshot, one loop decides in batches, workers write what was decided.

A decision is assumed at once (the snapshot counts the pod on its node), so the next decision never waits for the API; if the
write fails the assumption is forgotten and the pod goes back to the queue. Guarantee G8: no overcommit, no double bind, no
double-booked host port by this scheduler's own decisions.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from pinnace.api import resources, selectors
from pinnace.client import client, events, informer, informers
from pinnace.kit import clock, tasks, waiting
from pinnace.scheduler import bind, decide, defaults, feed, framework, pods, preemption, queue, snapshot, volumes

log = logging.getLogger(__name__)

WORKERS = 64
"""Writes at the same time: enough that the store commits many in one go."""
BATCH_SECONDS = 0.010
BATCH_PODS = 256
# DynamicResources, which upstream asks before preemption, says this of every pod without resource claims.
NO_CLAIMS = "no new claims to deallocate"

Work = Callable[[], Awaitable[None]]


class Scheduler:
    """Use as `supervisor.start("scheduler", Scheduler(...).run)`."""

    def __init__(
        self,
        api: client.Client,
        shared: informers.Shared,
        time: clock.Clock,
        recorder: events.EventRecorder,
        *,
        name: str = pods.SCHEDULER_NAME,
        rng: random.Random | None = None,
        extend: Callable[[framework.Profile], framework.Profile] = lambda profile: profile,
    ) -> None:
        """`name`: the `spec.schedulerName` of the pods to schedule. `rng` chooses between equally good nodes. `extend` adds a
        user's plug-ins to the default profile. `shared` makes an informer for whatever it is asked for; it and `recorder` must be run
        by the caller."""
        self._api = api
        self._clock = time
        self._recorder = recorder
        self._name = name
        self.nodes = snapshot.Snapshot()
        self.queue = queue.SchedulingQueue()
        catalog = volumes.Catalog()
        self._volumes = bind.VolumeBinder(api, catalog, self.nodes, time)
        self._work: asyncio.Queue[Work] = asyncio.Queue()
        self._verdicts: dict[str, tuple[pods.Pod, bind.Condition]] = {}
        """By uid: why a pod has no node, not written yet. A newer verdict replaces an older one."""
        self._has_verdict = asyncio.Event()
        self._changed = asyncio.Event()
        self._supervisor = tasks.Supervisor(time)
        self._feed = feed.Feed(
            name,
            self.nodes,
            self.queue,
            catalog,
            time,
            on_change=self._changed.set,
            on_gated=self._note_gated,
            on_volumes=self._volumes.note_change,
        )
        handlers: dict[resources.Resource, informer.Handler | None] = {
            resources.NAMESPACES: self._feed.namespace_changed,
            resources.NODES: self._feed.node_changed,
            resources.STORAGE_CLASSES: self._feed.class_changed,
            resources.PERSISTENT_VOLUMES: self._feed.volume_changed,
            resources.PERSISTENT_VOLUME_CLAIMS: self._feed.claim_changed,
            resources.POD_DISRUPTION_BUDGETS: None,
            resources.SERVICES: self._feed.service_changed,
            resources.PODS: self._feed.pod_changed,
        }
        self._informers = {resource: shared[resource] for resource in handlers}
        for resource, handler in handlers.items():
            if handler is not None:
                self._informers[resource].add_handler(handler)
        services = self._informers[resources.SERVICES].list
        self.profile = extend(defaults.profile(catalog, services, (self._volumes,)))
        rng = rng or random.Random()  # noqa: S311 - which of several equal nodes is no secret
        self._decider = decide.Decider(self.profile, self.nodes, rng)

    async def run(self) -> None:
        """For ever."""
        async with self._supervisor as supervisor:
            for source in self._informers.values():
                await source.wait_synced()
            for number in range(WORKERS):
                supervisor.start(f"scheduler's writer {number}", self._write_for_ever)
            supervisor.start("scheduler's verdicts", self._tell_for_ever)
            supervisor.start("scheduling", self._schedule_for_ever)
            await asyncio.Event().wait()

    def schedule_batch(self) -> int:
        """Decide on the next pods of the queue, for about `BATCH_SECONDS`. Returns how many."""
        started = self._clock.monotonic()
        self.queue.flush(started)
        for count in range(BATCH_PODS):
            if self._clock.monotonic() - started > BATCH_SECONDS:
                return count
            pod = self.queue.pop()
            if pod is None:
                return count
            try:
                self._schedule(pod)
            except Exception:
                # A plug-in may be a user's: its failure throttles the pod that it failed on, never the loop.
                log.exception("scheduling of %s failed", pod.key)
                self.queue.put_failed(pod, started)
        return BATCH_PODS

    async def _schedule_for_ever(self) -> None:
        while True:
            self._changed.clear()
            if self.schedule_batch():
                await asyncio.sleep(0)
            else:
                await self._wait_changed_or_due()

    async def _wait_changed_or_due(self) -> None:
        due = self.queue.next_due()
        left = None if due is None else due - self._clock.monotonic()
        await waiting.wait_event(self._changed, self._clock, left)

    def _schedule(self, pod: pods.Pod) -> None:
        promised = [other for other in self._feed.nominated.values() if other.demand.priority >= pod.demand.priority]
        decision = self._decider.decide(pod, promised)
        if isinstance(decision, framework.Diagnosis):
            self._fail(pod, decision)
        else:
            self._assume(pod, decision)

    def _assume(self, pod: pods.Pod, row: int) -> None:
        node_name = self.nodes.names[row]
        waiting = [plugin for plugin in self.profile.bindings if plugin.reserve(pod, row)]
        self.nodes.place(pod, node_name)
        self._feed.assumed[pod.uid] = node_name
        self._feed.nominated.pop(pod.uid, None)
        self.queue.note(queue.Happening.POD_PLACED, self._clock.monotonic())
        if waiting:
            self._supervisor.spawn(f"binding of {pod.key}", self._bind(pod, node_name, waiting))
        else:
            self._do(lambda: self._bind(pod, node_name, ()))

    async def _bind(self, pod: pods.Pod, node_name: str, waiting: "list[framework.BindingPlugin] | tuple[()]") -> None:
        try:
            for plugin in waiting:
                await plugin.pre_bind(pod, node_name)
            await bind.bind(self._api, pod, node_name)
        except (client.ApiError, framework.PreBindFailed) as error:
            self._forget(pod, error)
            return
        except Exception as error:
            self._forget(pod, error)
            raise
        finally:
            for plugin in self.profile.bindings:
                plugin.unreserve(pod)
        self.queue.done(pod.uid)
        self._recorder.normal(pod.object, "Scheduled", f"Successfully assigned {pod.key} to {node_name}")

    def _forget(self, pod: pods.Pod, error: Exception) -> None:
        """The pod is not on its node after all."""
        if self._feed.assumed.pop(pod.uid, None) is None:
            self.queue.done(pod.uid)
            return  # the informer has seen it placed, or gone
        self.nodes.remove_pod(pod.uid)
        now = self._clock.monotonic()
        self.queue.note(queue.Happening.POD_GONE, now)
        if isinstance(error, client.NotFound):
            self.queue.done(pod.uid)
        else:
            log.info("binding of %s failed: %s", pod.key, error)
            latest = self._informers[resources.PODS].get(pod.namespace, pod.name)
            if latest is not None and latest["metadata"]["uid"] == pod.uid:
                pod = pods.read(latest)
            self.queue.put_failed(pod, now)
            self._report(pod, bind.Condition("SchedulerError", f"binding rejected: {error}"))
        self._changed.set()

    def _fail(self, pod: pods.Pod, diagnosis: framework.Diagnosis) -> None:
        """Make room by preemption where that is possible, put the pod aside, and say why."""
        nominated: str | None = None
        tail = ""
        if diagnosis.node_count:
            outcome = preemption.plan_preemption(self.profile, pod, diagnosis, self.nodes, self._budgets())
            if outcome.candidate is not None:
                nominated = self.nodes.names[outcome.candidate.row]
                pod = self._preempt(pod, outcome.candidate, nominated)
            else:
                tail = f"{NO_CLAIMS}, preemption: {outcome.message}"
                if pod.nominated_node and not outcome.keeps_nomination:
                    nominated = ""
                    self._feed.nominated.pop(pod.uid, None)
        self.queue.put_unschedulable(pod, diagnosis.plugins, self._clock.monotonic())
        self._report(pod, bind.Condition("Unschedulable", diagnosis.message(tail), nominated))

    def _preempt(self, pod: pods.Pod, candidate: preemption.Candidate, node_name: str) -> pods.Pod:
        """The victims are told to go; the pod, with its promise, is what comes back."""
        for victim in candidate.victims:
            if victim.is_terminating:
                continue
            message = f"Preempted by pod {pod.uid} on node {node_name}"
            self._recorder.normal(victim.object, "Preempted", message)
            self._do(lambda victim=victim: bind.preempt(self._api, victim, self._name, self._clock))  # type: ignore[misc]
        for other in list(self._feed.nominated.values()):
            # Who was promised this room with less right to it must look for another.
            if other.nominated_node == node_name and other.demand.priority < pod.demand.priority:
                del self._feed.nominated[other.uid]
                self._do(lambda other=other: bind.clear_nomination(self._api, other))  # type: ignore[misc]
        promised = pod.with_nomination(node_name)
        self._feed.nominated[pod.uid] = promised
        return promised

    def _budgets(self) -> list[preemption.Budget]:
        return [
            preemption.Budget(
                budget["metadata"]["namespace"],
                selectors.from_object(budget["spec"].get("selector")),
                int(budget.get("status", {}).get("disruptionsAllowed") or 0),
            )
            for budget in self._informers[resources.POD_DISRUPTION_BUDGETS].list()
        ]

    def _report(self, pod: pods.Pod, condition: bind.Condition) -> None:
        self._recorder.warning(pod.object, "FailedScheduling", condition.message)
        self._write_condition(pod, condition)

    def _note_gated(self, pod: pods.Pod) -> None:
        self._write_condition(pod, bind.Condition("SchedulingGated", bind.GATED_MESSAGE))

    def _write_condition(self, pod: pods.Pod, condition: bind.Condition) -> None:
        """Verdicts are written one at a time, behind everything else: thousands of pods that fit nowhere must not slow down the API
        for those that do. A promise of room must be known at once, by whoever would take that room."""
        if condition.nominated_node is not None:
            self._do(lambda: self._tell(pod, condition))
            return
        self._verdicts.pop(pod.uid, None)
        self._verdicts[pod.uid] = (pod, condition)
        self._has_verdict.set()

    async def _tell_for_ever(self) -> None:
        while True:
            while self._verdicts:
                pod, condition = self._verdicts.pop(next(iter(self._verdicts)))
                await self._write_one(lambda pod=pod, condition=condition: self._tell(pod, condition))  # type: ignore[misc]
            self._has_verdict.clear()
            await self._has_verdict.wait()

    async def _tell(self, pod: pods.Pod, condition: bind.Condition) -> None:
        """Unless it is said already, or has become untrue while it waited to be said."""
        known = self._informers[resources.PODS].get(pod.namespace, pod.name)
        if known is None or known["metadata"]["uid"] != pod.uid or pod.uid in self._feed.assumed:
            return
        current = pods.read(known)
        if not current.node_name and not bind.is_said_already(current, condition):
            await bind.write_condition(self._api, current, condition, self._clock)

    def _do(self, work: Work) -> None:
        self._work.put_nowait(work)

    async def _write_for_ever(self) -> None:
        while True:
            await self._write_one(await self._work.get())

    async def _write_one(self, work: Work) -> None:
        try:
            await work()
        except client.NotFound:
            pass  # what was to be told of is gone
        except client.ApiError as error:
            # The next attempt to schedule the pod will say the same again.
            log.info("the scheduler could not write: %s", error)
