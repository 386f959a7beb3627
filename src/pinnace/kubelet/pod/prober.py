"""Runs the probes of one pod: one task per probe and container, results told to the pod's worker.

Called by the worker after every turn with what runs now; starts and ends tasks so that they fit.
"""

import asyncio
from collections.abc import Callable, Mapping

from pinnace.client import events
from pinnace.kit import clock, tasks
from pinnace.kubelet.pod import checks, model, podspec, probes

CHECK_TRIES = 3
"""A check that could not be made at all is tried again at once, this often."""

OnResult = Callable[[str, probes.Kind, bool], None]
"""(container id, probe, result)."""


class Prober:
    def __init__(
        self,
        checker: checks.Checker,
        recorder: events.EventRecorder,
        time: clock.Clock,
        supervisor: tasks.Supervisor,
        on_result: OnResult,
    ) -> None:
        self._checker = checker
        self._recorder = recorder
        self._clock = time
        self._supervisor = supervisor
        self._on_result = on_result
        self._running: dict[tuple[str, probes.Kind], asyncio.Task[None]] = {}

    def sync(
        self,
        pod: podspec.Object,
        observed: model.Observed,
        results: Mapping[str, model.ProbeResults],
        *,
        is_terminating: bool,
    ) -> None:
        """Probe exactly what should be probed now. Readiness goes on while a pod terminates, the others end."""
        wanted: dict[tuple[str, probes.Kind], tuple[podspec.Object, model.ContainerView]] = {}
        addresses = observed.sandbox.addresses if observed.sandbox is not None else ()
        for role, container in podspec.containers(pod):
            latest = observed.latest(container["name"])
            if latest is None or not latest.is_alive or latest.hook_pending or not addresses:
                continue
            known = results.get(latest.id, model.NO_PROBES)
            for kind in probes.kinds_of(role, container):
                if self._is_due(kind, known, is_terminating=is_terminating):
                    wanted[latest.id, kind] = (container, latest)
        for key in [key for key in self._running if key not in wanted]:
            self._running.pop(key).cancel()
        for key, (container, latest) in wanted.items():
            if key not in self._running:
                target = checks.Target(container, latest.id, addresses[0])
                name = f"{key[1].value} probe of {podspec.full_name(pod)}/{container['name']}"
                work = self._probe(pod, target, key[1], latest.started_at)
                self._running[key] = self._supervisor.spawn(name, work)

    def stop(self) -> None:
        for task in self._running.values():
            task.cancel()
        self._running.clear()

    @staticmethod
    def _is_due(kind: probes.Kind, known: model.ProbeResults, *, is_terminating: bool) -> bool:
        if kind is probes.Kind.STARTUP:
            return known.startup is None and not is_terminating
        if kind is probes.Kind.LIVENESS:
            # A container whose probe has failed is being stopped.
            return known.startup is True and known.liveness is not False and not is_terminating
        return known.startup is True

    async def _probe(self, pod: podspec.Object, target: checks.Target, kind: probes.Kind, started_at: float) -> None:
        handler = target.container[kind.field]
        limits = probes.spec(handler)
        await self._clock.sleep(max(0.0, started_at + limits.initial_delay - self._clock.monotonic()))
        run = probes.Run()
        due = self._clock.monotonic()
        while True:
            outcome = await self._check(handler, target, limits)
            self._announce(pod, target, kind, outcome)
            if outcome.passed is not None:
                run, counts = probes.advance(run, outcome.passed, limits)
                if counts:
                    self._on_result(target.container_id, kind, outcome.passed)
            # A fixed beat; a check that took longer than its period skips the beats it missed.
            due = max(due + limits.period, self._clock.monotonic())
            await self._clock.sleep(due - self._clock.monotonic())

    async def _check(self, handler: podspec.Object, target: checks.Target, limits: probes.Spec) -> checks.Outcome:
        outcome = checks.Outcome(None)
        for _ in range(CHECK_TRIES):
            outcome = await self._checker.check(handler, target, limits.timeout)
            if outcome.passed is not None:
                break
        return outcome

    def _announce(self, pod: podspec.Object, target: checks.Target, kind: probes.Kind, outcome: checks.Outcome) -> None:
        if outcome.passed and not outcome.is_warning:
            return
        reason = "ProbeWarning" if outcome.passed else "Unhealthy"
        what = {True: "warning", False: "failed", None: "errored and resulted in unknown state"}[outcome.passed]
        self._recorder.warning(
            pod,
            reason,
            f"{kind.title} {what}: {outcome.message}",
            field_path=podspec.field_path(pod, target.container["name"]),
        )
