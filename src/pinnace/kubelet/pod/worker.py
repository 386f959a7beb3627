"""One pod: looks at what is, has `decide` say what to do, sets that going, tells the API. Again after every change.

Level-triggered: nothing is remembered in the form of "what comes next". Everything that takes time runs as a task of its own with
a key (`decide` sees which are in flight); its end wakes the worker. A turn itself never waits for more than the engine's records.
"""

import asyncio
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping

from pinnace.engine import interface
from pinnace.kit import waiting
from pinnace.kubelet.pod import (
    attempts,
    backoffs,
    containers,
    decide,
    dependencies,
    model,
    pod_volumes,
    podspec,
    prober,
    probes,
    resizer,
    resizing,
    starting,
    state,
    status,
    status_writer,
    steps,
    stopping,
)
from pinnace.kubelet.volumes import interface as volumes

HOLD_SECONDS = 0.5
"""How long a new pod's first status waits for what is under way."""


class PodWorker:
    def __init__(
        self,
        pod: podspec.Object,
        shared: dependencies.Dependencies,
        writer: status_writer.StatusWriter,
        *,
        on_finished: Callable[["PodWorker"], None],
    ) -> None:
        self.uid = podspec.uid(pod)
        self.is_finished = False
        self.exists = True
        """The API has the pod."""
        self._shared = shared
        self._writer = writer
        self._on_finished = on_finished
        self._wake = asyncio.Event()
        self._state = state.PodState(pod, shared)
        self._changed_ids: set[str] = set()
        self._announced: set[tuple[str, str]] = set()
        self._status: podspec.Object | None = None
        self._final: podspec.Object | None = None
        self._began = 0.0
        self._is_told = False
        """A status of this worker was handed to the writer."""
        self._attempts = attempts.Attempts(podspec.full_name(pod), shared.supervisor, shared.time, self.poke)
        self._volumes = pod_volumes.PodVolumes(self._state, shared, self._attempts, self.poke)
        self._starter = starting.Starter(self._state, shared, self._attempts, self.poke, self._launch)
        self._resizer = resizer.Resizer(self._state, shared)
        self._stopper = stopping.Stopper(self._state, shared)
        self._prober = prober.Prober(
            shared.checker, shared.recorder, shared.time, shared.supervisor, self._on_probe_result
        )

    # ------------------------------------------------------------ told from outside; never waits

    def adopt(self, found: Iterable[interface.Container], sandbox: model.SandboxView | None) -> None:
        """What the engine has of this pod from before this agent."""
        known = self._state
        known.sandbox = sandbox
        known.pod = resizing.as_actual(known.wanted)
        if not resizing.same_pod_resources(known.wanted, known.pod):
            # Looked at anew with its first turn.
            known.resize_pending = model.Waiting(resizing.DEFERRED)
        for container in found:
            known.record(container)
            spec = podspec.find_container(known.pod, containers.view(container).name)
            if spec is not None and container.status.is_alive:
                said = known.pod.get("status") or {}
                known.actual[container.id] = spec[1].get("resources") or {}
                known.probe_results[container.id] = probes.adopted(spec[1], container.id, said)
        for view in known.observed().containers:
            if view.attempt > 0:
                known.crashes[view.name] = backoffs.resumed(view.attempt, view.started_at)

    def on_pod(self, pod: podspec.Object) -> None:
        """The pod as the API shows it now."""
        before, self._state.wanted = self._state.wanted, pod
        self._resizer.reconsider()
        if before["spec"] != pod["spec"]:
            self._attempts.allow_retry(steps.Kind.RESIZE)
            self._state.resize_error = ""
            for name in podspec.changed_images(before, pod):
                self._state.forget_failures(name)
        if any(before["metadata"].get(key) != pod["metadata"].get(key) for key in ("labels", "annotations")):
            self._volumes.want_refresh()
            self._attempts.allow_retry(steps.Kind.VOLUMES, steps.Kind.START)
        if podspec.is_being_deleted(pod):
            self.terminate(model.Termination(podspec.termination_grace_seconds(pod)))
        if before["spec"] != pod["spec"]:
            self._volumes.use_references()
        self._writer.observe(pod)
        self.poke()

    def on_removed(self) -> None:
        """The API has the pod no more: nobody waits for its status."""
        self.exists = False
        self._state.final_written = True
        self.terminate(model.Termination(podspec.termination_grace_seconds(self.pod)))

    def on_event(self, event: interface.ContainerEvent) -> None:
        if event.type != "remove":
            self._changed_ids.add(event.container_id)
            self.poke()

    def terminate(self, wanted: model.Termination) -> None:
        """Stop the pod. The first reason stays; a shorter grace period holds."""
        present = self._state.termination
        if present is None:
            self._state.termination = wanted
            self._attempts.cancel_needless()
        elif wanted.grace_seconds < present.grace_seconds:
            self._state.termination = dataclasses.replace(present, grace_seconds=wanted.grace_seconds)
        self.poke()

    def evict(self, wanted: model.Termination) -> None:
        """Stop the pod for the node's sake."""
        self._shared.recorder.warning(self.pod, wanted.reason, wanted.message)
        self.terminate(wanted)

    def poke(self) -> None:
        self._wake.set()

    @property
    def pod(self) -> podspec.Object:
        """As the API showed it last, with the resources that the node granted."""
        return self._state.pod

    @property
    def is_terminating(self) -> bool:
        return self._state.termination is not None

    @property
    def is_resize_pending(self) -> bool:
        return self._state.resize_pending is not None

    @property
    def sandbox_id(self) -> str:
        return self._state.sandbox.id if self._state.sandbox is not None else ""

    @property
    def volumes(self) -> Mapping[str, volumes.Volume]:
        """Those that are ready, by name."""
        return self._state.prepared.volumes

    @property
    def status(self) -> podspec.Object:
        """The newest, whether or not the API has it already."""
        return self._status or self.pod.get("status") or {}

    def container(self, name: str) -> interface.Container | None:
        """The engine's record of the last attempt of a container."""
        latest = self._state.observed().latest(name)
        return None if latest is None else self._state.containers.get(latest.id)

    def known_containers(self) -> list[interface.Container]:
        """All that the engine has a record of, the ended ones too."""
        return list(self._state.containers.values())

    def live_containers(self) -> list[interface.Container]:
        return [container for container in self._state.containers.values() if container.status.is_alive]

    # ------------------------------------------------------------ the loop

    async def run(self) -> None:
        """Until nothing of the pod is left on this node; then waits to be cancelled."""
        self._begin()
        while not self.is_finished:
            wake_at = await self.turn()
            if not self.is_finished:
                await self._wait(wake_at)
        self._prober.stop()
        self._on_finished(self)
        await asyncio.Event().wait()

    def _begin(self) -> None:
        self._state.begin()
        self._began = self._shared.time.monotonic()
        is_over = podspec.is_terminal(self.pod)
        if is_over:
            self._state.final_written = True
        if is_over or podspec.is_being_deleted(self.pod):
            self.terminate(model.Termination(podspec.termination_grace_seconds(self.pod)))
        self._volumes.use_references()

    async def turn(self) -> float | None:
        """One look and its consequences. Returns when to look again although nothing changes."""
        self._wake.clear()
        await self._look()
        if self.is_resize_pending:
            self._resizer.reconsider()
        now = self._shared.time.monotonic()
        observed = self._state.observed()
        plan = decide.decide(self.pod, observed, self._memory(), now)
        if plan.terminate is not None:
            if plan.terminate.reason:
                self._shared.recorder.normal(self.pod, plan.terminate.reason, plan.terminate.message)
            self.terminate(plan.terminate)
            plan = decide.decide(self.pod, observed, self._memory(), now)
        self._state.waiting = {**self._state.failed, **plan.waiting}
        for step in plan.actions:
            self._launch(step)
        self._announce(plan, observed)
        refresh_at = self._volumes.maybe_refresh(now)
        self._prober.sync(self.pod, observed, self._state.probe_results, is_terminating=self.is_terminating)
        held_until = self._publish(observed, now)
        if plan.is_finished:
            await self._finish()
        moments = (plan.wake_at, refresh_at, held_until)
        return min((moment for moment in moments if moment is not None), default=None)

    async def _look(self) -> None:
        """Read the engine's records of the containers that changed."""
        while self._changed_ids:
            container_id = self._changed_ids.pop()
            try:
                container = await self._shared.engine.inspect(container_id)
            except interface.NoSuchObject:
                self._state.containers.pop(container_id, None)
                continue
            self._state.record(container)

    def _memory(self) -> model.Memory:
        return self._state.memory(self._attempts.keys, self._attempts.retry_at)

    async def _wait(self, wake_at: float | None) -> None:
        left = None if wake_at is None else wake_at - self._shared.time.monotonic()
        await waiting.wait_event(self._wake, self._shared.time, left)

    async def _finish(self) -> None:
        if self.exists and podspec.is_being_deleted(self.pod):
            await self._writer.delete(self.pod)
        self.is_finished = True

    # ------------------------------------------------------------ acting

    def _launch(self, step: steps.Step) -> None:
        if isinstance(step, steps.KillContainer):
            self._state.kills[step.id] = step.grace_seconds
        self._attempts.attempt(step.key, functools.partial(self._carry_out, step))

    async def _carry_out(self, step: steps.Step) -> bool | attempts.Later:
        match step:
            case steps.CreateSandbox():
                return await self._starter.create_sandbox(step)
            case steps.PrepareVolumes():
                return await self._volumes.prepare()
            case steps.Resize():
                return await self._resizer.resize()
            case steps.EnsureImage():
                return await self._starter.ensure_image(step)
            case steps.StartContainer():
                return await self._starter.start(step)
            case steps.KillContainer():
                return await self._stopper.kill(step)
            case steps.TearDown():
                return await self._stopper.tear_down()

    def _on_probe_result(self, container_id: str, kind: probes.Kind, passed: bool) -> None:
        known = self._state.probe_results.get(container_id)
        if known is None:
            return
        changed = probes.with_result(known, kind, passed)
        if changed != known:
            self._state.probe_results[container_id] = changed
            self.poke()

    # ------------------------------------------------------------ telling

    def _publish(self, observed: model.Observed, now: float) -> float | None:
        """Returns until when the status is held back."""
        if not self.exists or self._state.final_written:
            return None
        if self._attempts.has(steps.Kind.START) or self._is_replacing(observed):
            # Milliseconds from now there is more to tell; a write that is under way would only hold that up.
            return None
        if not self._is_told and self._is_tried_first() and now < self._began + HOLD_SECONDS:
            return self._began + HOLD_SECONDS
        context = status.Context(self._shared.time.now(), (self._shared.settings.node_ip,))
        wanted = status.make(self._pod_with_status(), observed, self._memory(), context)
        if self._status is not None and status_writer.is_same(self._status, wanted):
            # The same object: what was written is recognised by its identity.
            wanted = self._status
        self._status = wanted
        if self.is_terminating and wanted["phase"] in podspec.TERMINAL_PHASES and not observed.alive:
            self._final = wanted
        self._is_told = True
        self._writer.submit(self.pod, wanted, self._on_written)
        return None

    def _is_replacing(self, observed: model.Observed) -> bool:
        """A container that was stopped to be restarted is about to be: to watchers that is one step."""
        latest = (observed.latest(name) for name in {view.name for view in observed.containers})
        return any(
            view is not None and view.is_exited and view.is_killed_by_probe and steps.image(view.name) in self._attempts
            for view in latest
        )

    def _is_tried_first(self) -> bool:
        """Sandbox, volumes, images: that mostly takes milliseconds, after which there is something better to tell than that the pod is
        being created."""
        return any(key.kind.is_preparation and key not in self._attempts.retry_at for key in self._attempts.keys)

    def _pod_with_status(self) -> podspec.Object:
        """The pod with the newest status of our own; conditions of others are the API's."""
        if self._status is None:
            return self.pod
        said = (self.pod.get("status") or {}).get("conditions") or ()
        theirs = [condition for condition in said if not status.is_own(condition)]
        ours = [entry for entry in self._status["conditions"] if status.is_own(entry)]
        return {**self.pod, "status": {**self._status, "conditions": ours + theirs}}

    def _on_written(self, written: podspec.Object | None) -> None:
        if written is None:
            self.on_removed()
        elif self._final is not None and written is self._final and not self._state.final_written:
            self._state.final_written = True
            self.poke()

    def _announce(self, plan: decide.Plan, observed: model.Observed) -> None:
        """Back-off is told once for every wait."""
        for name, waits in plan.waiting.items():
            latest = observed.latest(name)
            image = self._state.images.get(name)
            if waits.reason == "CrashLoopBackOff" and latest is not None:
                self._announce_restart(name, latest.id)
            elif waits.reason == "ImagePullBackOff" and isinstance(image, model.ImageFailed):
                self._announce_pull(name, image)

    def _announce_restart(self, name: str, container_id: str) -> None:
        if self._is_news(name, container_id):
            text = f"Back-off restarting failed container {name} in pod {podspec.full_name(self.pod)}"
            self._shared.recorder.warning(self.pod, "BackOff", text, field_path=podspec.field_path(self.pod, name))

    def _announce_pull(self, name: str, image: model.ImageFailed) -> None:
        if self._is_news(name, f"pull {image.failed_at}"):
            recorder, path = self._shared.recorder, podspec.field_path(self.pod, name)
            recorder.normal(self.pod, "BackOff", f'Back-off pulling image "{image.image}"', field_path=path)
            recorder.warning(self.pod, "Failed", "Error: ImagePullBackOff", field_path=path)

    def _is_news(self, name: str, wait: str) -> bool:
        if (name, wait) in self._announced:
            return False
        self._announced.add((name, wait))
        return True
