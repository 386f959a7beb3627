"""One pod: looks at what is, has `decide` say what to do, sets that going, tells the API. Again after every change.

Level-triggered: nothing is remembered in the form of "what comes next". Everything that takes time runs as a task of its own with
a key (`decide` sees which are in flight); its end wakes the worker. A turn itself never waits for more than the engine's records.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet import (
    backoffs,
    checks,
    containers,
    decide,
    environment,
    hooks,
    launcher,
    model,
    parts,
    podspec,
    prober,
    probes,
    references,
    sandboxes,
    status,
    status_writer,
    steps,
    termination,
)
from pinnace.kubelet.volumes import interface as volumes
from pinnace.kubelet.volumes import manager
from pinnace.net import interface as net

log = logging.getLogger(__name__)

MIN_STOP_SECONDS = 2
"""What a container gets between its signal and its end however long its preStop hook took."""


@dataclasses.dataclass(slots=True)
class _Marks:
    """What the engine does not keep about a container."""

    started_at: float = 0.0
    finished_at: float = 0.0
    message: str = ""
    killed_by_probe: bool = False
    hook_pending: bool = False
    pre_stop_done: bool = False
    died: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class PodWorker:
    def __init__(
        self,
        pod: podspec.Object,
        shared: parts.Parts,
        writer: status_writer.StatusWriter,
        *,
        on_finished: Callable[["PodWorker"], None],
    ) -> None:
        self.pod = pod
        self.uid = podspec.uid(pod)
        self.is_finished = False
        self.exists = True
        """The API has the pod."""
        self._shared = shared
        self._writer = writer
        self._on_finished = on_finished
        self._wake = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._containers: dict[str, interface.Container] = {}
        self._marks: dict[str, _Marks] = {}
        self._changed_ids: set[str] = set()
        self._remembered: list[model.ContainerView] = []
        self._sandbox: model.SandboxView | None = None
        self._prepared = manager.Prepared()
        self._volumes_ready = False
        self._refresh_wanted = False
        self._probe_results: dict[str, model.ProbeResults] = {}
        self._crashes: dict[str, model.CrashBackoff] = {}
        self._images: dict[str, model.ImageState] = {}
        self._failed: dict[str, model.Waiting] = {}
        self._waiting: dict[str, model.Waiting] = {}
        self._kills: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._announced: set[tuple[str, str]] = set()
        self._termination: model.Termination | None = None
        self._status: podspec.Object | None = None
        self._final: podspec.Object | None = None
        self._final_written = False
        self._torn_down = False
        self._started_at: float | None = None
        self._prober = prober.Prober(
            shared.checker, shared.recorder, shared.time, shared.supervisor, self._on_probe_result
        )

    # ------------------------------------------------------------ told from outside; never waits

    def adopt(
        self,
        found: Iterable[interface.Container],
        sandbox: model.SandboxView | None,
    ) -> None:
        """What the engine has of this pod from before this agent."""
        self._sandbox = sandbox
        for container in found:
            self._record(container)
            known = podspec.find_container(self.pod, containers.view(container).name)
            if known is not None and container.status.is_alive:
                self._probe_results[container.id] = probes.adopted(known[1], container.id, self.pod.get("status") or {})
        for view in self._observed().containers:
            if view.attempt > 0:
                self._crashes[view.name] = backoffs.resumed(view.attempt, view.started_at)

    def on_pod(self, pod: podspec.Object) -> None:
        """The pod as the API shows it now."""
        before, self.pod = self.pod, pod
        if any(before["metadata"].get(key) != pod["metadata"].get(key) for key in ("labels", "annotations")):
            self._refresh_wanted = True
        if podspec.is_being_deleted(pod):
            self.terminate(model.Termination(podspec.termination_grace_seconds(pod)))
        if before["spec"] != pod["spec"]:
            self._use_references()
        self._writer.observe(pod)
        self.poke()

    def on_removed(self) -> None:
        """The API has the pod no more: nobody waits for its status."""
        self.exists = False
        self._final_written = True
        self.terminate(model.Termination(podspec.termination_grace_seconds(self.pod)))
        self.poke()

    def on_event(self, event: interface.ContainerEvent) -> None:
        if event.type == "remove":
            return
        self._changed_ids.add(event.container_id)
        self.poke()

    def terminate(self, wanted: model.Termination) -> None:
        """Stop the pod. The first reason stays; a shorter grace period holds."""
        present = self._termination
        if present is None:
            self._termination = wanted
            for key in [key for key in self._tasks if key.startswith(("image:", "hook:", "volumes", "refresh"))]:
                self._tasks[key].cancel()
        elif wanted.grace_seconds < present.grace_seconds:
            self._termination = dataclasses.replace(present, grace_seconds=wanted.grace_seconds)
        self.poke()

    def evict(self, wanted: model.Termination) -> None:
        """Stop the pod for the node's sake."""
        self._shared.recorder.warning(self.pod, wanted.reason, wanted.message)
        self.terminate(wanted)

    def poke(self) -> None:
        self._wake.set()

    @property
    def is_terminating(self) -> bool:
        return self._termination is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._sandbox.addresses if self._sandbox is not None else ()

    @property
    def sandbox_id(self) -> str:
        return self._sandbox.id if self._sandbox is not None else ""

    @property
    def status(self) -> podspec.Object:
        """The newest, whether or not the API has it already."""
        return self._status or self.pod.get("status") or {}

    def container(self, name: str) -> interface.Container | None:
        """The engine's record of the last attempt of a container."""
        latest = self._observed().latest(name)
        return None if latest is None else self._containers.get(latest.id)

    def previous(self, name: str) -> interface.Container | None:
        found = self._observed().previous(name)
        return None if found is None else self._containers.get(found.id)

    def live_containers(self) -> list[interface.Container]:
        return [container for container in self._containers.values() if container.status.is_alive]

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
        if self._started_at is None:
            now = self._shared.time.monotonic()
            self._remembered = [*status.lost_containers(self.pod, set(self._containers), now), *self._remembered]
            text = (self.pod.get("status") or {}).get("startTime")
            age = (self._shared.time.now() - clock.parse_rfc3339(text)).total_seconds() if text else 0.0
            self._started_at = now - max(0.0, age)
        if podspec.is_terminal(self.pod):
            self._final_written = True
            self.terminate(model.Termination(podspec.termination_grace_seconds(self.pod)))
        elif podspec.is_being_deleted(self.pod):
            self.terminate(model.Termination(podspec.termination_grace_seconds(self.pod)))
        self._use_references()

    async def turn(self) -> float | None:
        """One look and its consequences. Returns when to look again although nothing changes."""
        self._wake.clear()
        await self._look()
        now = self._shared.time.monotonic()
        observed = self._observed()
        plan = decide.decide(self.pod, observed, self._memory(), now)
        if plan.terminate is not None:
            self.terminate(plan.terminate)
            plan = decide.decide(self.pod, observed, self._memory(), now)
        self._waiting = {**self._failed, **plan.waiting}
        for step in plan.actions:
            self._launch(step.key, self._carry_out(step))
            if isinstance(step, steps.KillContainer):
                self._kills[step.id] = step.grace_seconds
        self._announce(plan, observed)
        refresh_at = self._maybe_refresh(now)
        self._prober.sync(self.pod, observed, self._probe_results, is_terminating=self.is_terminating)
        self._publish(observed)
        if plan.is_finished:
            await self._finish()
        return min((moment for moment in (plan.wake_at, refresh_at) if moment is not None), default=None)

    async def _wait(self, wake_at: float | None) -> None:
        if wake_at is None:
            await self._wake.wait()
            return
        woken = asyncio.ensure_future(self._wake.wait())
        due = asyncio.ensure_future(self._shared.time.sleep(max(0.0, wake_at - self._shared.time.monotonic())))
        try:
            await asyncio.wait({woken, due}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            due.cancel()

    async def _finish(self) -> None:
        if self.exists and podspec.is_being_deleted(self.pod):
            await self._writer.delete(self.pod)
        self.is_finished = True

    # ------------------------------------------------------------ looking

    async def _look(self) -> None:
        """Read the engine's records of the containers that changed."""
        while self._changed_ids:
            container_id = self._changed_ids.pop()
            try:
                container = await self._shared.engine.inspect(container_id)
            except interface.NoSuchObject:
                self._containers.pop(container_id, None)
                continue
            self._record(container)

    def _record(self, container: interface.Container) -> None:
        known = self._containers.get(container.id)
        if known is not None and known.status.is_terminal and not container.status.is_terminal:
            return
        self._containers[container.id] = container
        marks = self._marks.setdefault(container.id, _Marks())
        now, wall = self._shared.time.monotonic(), self._shared.time.now().timestamp()
        if container.started_at and not marks.started_at:
            marks.started_at = now - max(0.0, wall - container.started_at / 1e9)
        if container.status.is_terminal and not marks.died.is_set():
            marks.finished_at = now - max(0.0, wall - container.finished_at / 1e9)
            marks.message = self._termination_message(container)
            marks.died.set()
            self._probe_results.pop(container.id, None)

    def _termination_message(self, container: interface.Container) -> str:
        seen = containers.view(container)
        found = podspec.find_container(self.pod, seen.name)
        if found is None or seen.start_failed:
            return ""
        folder = self._shared.settings.pod_dir(self.uid)
        file = launcher.termination_file(folder, seen.name, seen.attempt)
        return termination.message(found[1], file, container.log_path, container.exit_code)

    def _observed(self) -> model.Observed:
        views = [self._view(container) for container in self._containers.values()]
        views.sort(key=lambda view: (view.created_ns, view.attempt))
        return model.Observed(self._sandbox, (*self._remembered, *views))

    def _view(self, container: interface.Container) -> model.ContainerView:
        marks = self._marks[container.id]
        return dataclasses.replace(
            containers.view(container),
            started_at=marks.started_at,
            finished_at=marks.finished_at,
            message=marks.message,
            is_killed_by_probe=marks.killed_by_probe,
            hook_pending=marks.hook_pending,
        )

    def _memory(self) -> model.Memory:
        return model.Memory(
            probes=self._probe_results,
            crashes=self._crashes,
            images=self._images,
            waiting=self._waiting,
            kills=self._kills,
            in_flight=frozenset(self._tasks),
            retry_at=self._retry_at,
            volumes_ready=self._volumes_ready,
            termination=self._termination,
            terminal_status_written=self._final_written,
            torn_down=self._torn_down,
            started_at=self._started_at,
        )

    # ------------------------------------------------------------ telling

    def _publish(self, observed: model.Observed) -> None:
        if not self.exists or self._final_written:
            return
        if any(key.startswith("start:") for key in self._tasks):
            # Milliseconds from now there is more to tell; a write that is under way would only hold that up.
            return
        context = status.Context(self._shared.time.now(), (self._shared.settings.node_ip,))
        wanted = status.make(self._pod_with_status(), observed, self._memory(), context)
        if self._status is not None and status_writer.is_same(self._status, wanted):
            # The same object: what was written is recognised by its identity.
            wanted = self._status
        self._status = wanted
        if self._termination is not None and wanted["phase"] in podspec.TERMINAL_PHASES and not observed.alive:
            self._final = wanted
        self._writer.submit(self.pod, wanted, self._on_written)

    def _pod_with_status(self) -> podspec.Object:
        """The pod with the newest status of our own; conditions of others are the API's."""
        if self._status is None:
            return self.pod
        theirs = [
            condition
            for condition in (self.pod.get("status") or {}).get("conditions") or ()
            if not status.is_own(condition)
        ]
        ours = [entry for entry in self._status["conditions"] if status.is_own(entry)]
        return {**self.pod, "status": {**self._status, "conditions": ours + theirs}}

    def _on_written(self, written: podspec.Object | None) -> None:
        if written is None:
            self.on_removed()
        elif self._final is not None and written is self._final and not self._final_written:
            self._final_written = True
            self.poke()

    def _announce(self, plan: decide.Plan, observed: model.Observed) -> None:
        """Back-off is told once for every wait."""
        for name, waiting in plan.waiting.items():
            latest = observed.latest(name)
            image = self._images.get(name)
            if waiting.reason == "CrashLoopBackOff" and latest is not None:
                text = f"Back-off restarting failed container {name} in pod {podspec.full_name(self.pod)}"
                self._announce_once(name, latest.id, "BackOff", text)
            elif waiting.reason == "ImagePullBackOff" and isinstance(image, model.ImageFailed):
                token = f"pull {image.failed_at}"
                self._announce_once(name, token, "BackOff", f'Back-off pulling image "{image.image}"')
                self._announce_once(name, f"error {token}", "Failed", "Error: ImagePullBackOff")

    def _announce_once(self, name: str, token: str, reason: str, text: str) -> None:
        if (name, token) in self._announced:
            return
        self._announced.add((name, token))
        is_pull = reason == "BackOff" and "pulling image" in text
        tell = self._shared.recorder.normal if is_pull else self._shared.recorder.warning
        tell(self.pod, reason, text, field_path=podspec.field_path(self.pod, name))

    # ------------------------------------------------------------ carrying out

    def _launch(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Own `work` under `key`; another one of that key is given up first."""
        old = self._tasks.pop(key, None)
        if old is not None:
            old.cancel()
        task = self._shared.supervisor.spawn(f"{key} of {podspec.full_name(self.pod)}", work)
        self._tasks[key] = task

        def ended(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]
            self.poke()

        task.add_done_callback(ended)

    async def _carry_out(self, step: steps.Step) -> None:
        """Known failures delay the step's next try; unknown ones too, and reach the supervisor's log."""
        succeeded = False
        try:
            succeeded = await self._do(step)
        finally:
            if succeeded:
                self._failures.pop(step.key, None)
                self._retry_at.pop(step.key, None)
            else:
                failures = self._failures.get(step.key, 0)
                self._failures[step.key] = failures + 1
                self._retry_at[step.key] = self._shared.time.monotonic() + backoffs.RETRY.delay(failures)

    async def _do(self, step: steps.Step) -> bool:
        match step:
            case steps.CreateSandbox():
                return await self._create_sandbox(step)
            case steps.PrepareVolumes():
                return await self._prepare_volumes()
            case steps.EnsureImage():
                return await self._ensure_image(step)
            case steps.StartContainer():
                return await self._start(step)
            case steps.KillContainer():
                return await self._kill(step)
            case steps.TearDown():
                return await self._tear_down()

    async def _create_sandbox(self, step: steps.CreateSandbox) -> bool:
        recorder = self._shared.recorder
        try:
            if step.replaces:
                recorder.normal(self.pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
                await self._forget_sandbox(step.replaces)
            made = await sandboxes.create(self.pod, step.attempt, self._shared)
            sandboxes.write_files(self.pod, made.addresses, self._shared)
        except (interface.EngineError, net.NetworkError, OSError) as error:
            recorder.warning(self.pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            return False
        self._sandbox = made
        return True

    async def _forget_sandbox(self, sandbox_id: str) -> None:
        """Its containers' records go with it, but not what is known of their ends."""
        views = [self._view(each) for each in self._containers.values() if each.spec.sandbox == sandbox_id]
        await sandboxes.remove(sandbox_id, self._shared)
        self._remembered += [dataclasses.replace(each, state=model.State.EXITED) for each in views]
        for each in views:
            self._containers.pop(each.id, None)

    async def _ensure_image(self, step: steps.EnsureImage) -> bool:
        found = podspec.find_container(self.pod, step.name)
        assert found is not None
        secrets = await self._pull_secrets()
        self._images[step.name] = await self._shared.images.ensure(self.pod, found[1], secrets)
        return True

    async def _pull_secrets(self) -> list[podspec.Object]:
        found = []
        for entry in self.pod["spec"].get("imagePullSecrets") or ():
            reference = environment.Reference("secret", str(entry.get("name", "")))
            with contextlib.suppress(references.NotSynced):
                secret = await self._shared.references.get(podspec.namespace(self.pod), reference)
                if secret is not None:
                    found.append(secret)
                    continue
            self._shared.recorder.warning(
                self.pod,
                "FailedToRetrieveImagePullSecret",
                f"Unable to retrieve some image pull secrets ({reference.name}); attempting to pull the image may not succeed.",
            )
        return found

    async def _start(self, step: steps.StartContainer) -> bool:
        found = podspec.find_container(self.pod, step.name)
        latest = self._observed().latest(step.name)
        try:
            container = await launcher.start(self.pod, step, self.addresses, self._prepared, self._shared)
        except launcher.StartFailed as error:
            self._failed[step.name] = error.waiting
            self._images.pop(step.name, None)
            if error.waiting.reason != "RunContainerError":
                return False
            await self._find_failed(step)
            self._count_restart(step.name, latest)
            return True
        self._failed.pop(step.name, None)
        self._images.pop(step.name, None)
        self._count_restart(step.name, latest)
        assert found is not None
        hook = (found[1].get("lifecycle") or {}).get("postStart")
        self._record(container)
        if container.id in self._containers and self._containers[container.id].status.is_alive:
            self._probe_results[container.id] = probes.initial(found[1])
        if hook:
            self._marks[container.id].hook_pending = True
            self._launch(f"hook:{container.id}", self._post_start(container.id, found[1], hook))
        self.poke()
        await self._prune(step.name)
        return True

    async def _find_failed(self, step: steps.StartContainer) -> None:
        """The record of a container whose process could not be started: it counts as a run."""
        name = containers.container_name(self.pod, step.name, step.attempt)
        with contextlib.suppress(interface.NoSuchObject):
            self._record(await self._shared.engine.inspect(name))

    def _count_restart(self, name: str, latest: model.ContainerView | None) -> None:
        if latest is not None and latest.is_exited:
            now = self._shared.time.monotonic()
            self._crashes[name] = backoffs.after_start(self._crashes.get(name), now, latest.finished_at)

    async def _prune(self, name: str) -> None:
        """Keep the last two attempts: the present one, and the one before for `logs --previous`."""
        same = [view for view in self._observed().containers if view.name == name]
        for view in sorted(same, key=lambda view: view.attempt)[:-2]:
            container = self._containers.get(view.id)
            if container is None:
                self._remembered = [each for each in self._remembered if each.id != view.id]
            elif await self._remove(view.id):
                container.log_path.unlink(missing_ok=True)

    async def _remove(self, container_id: str) -> bool:
        try:
            await self._shared.engine.remove(container_id, force=True)
        except interface.EngineError as error:
            log.warning("container %s not removed: %s", container_id, error)
            return False
        self._containers.pop(container_id, None)
        self._marks.pop(container_id, None)
        return True

    async def _post_start(self, container_id: str, container: podspec.Object, hook: podspec.Object) -> None:
        marks = self._marks[container_id]
        target = checks.Target(container, container_id, self.addresses[0] if self.addresses else "")
        try:
            await self._shared.hooks.run(hook, target)
        except hooks.HookFailed as error:
            path = podspec.field_path(self.pod, container["name"])
            self._shared.recorder.warning(
                self.pod, "FailedPostStartHook", f"PostStartHook failed: {error}", field_path=path
            )
            self._failed[container["name"]] = model.Waiting("PostStartHookError", str(error))
            marks.killed_by_probe = True
            grace = podspec.spec_grace_seconds(self.pod)
            step = steps.KillContainer(
                container_id, container["name"], grace, message="FailedPostStartHook", restart=True
            )
            self._kills[container_id] = grace
            self._launch(step.key, self._carry_out(step))
        else:
            marks.hook_pending = False

    # ------------------------------------------------------------ stopping

    async def _kill(self, step: steps.KillContainer) -> bool:
        started = self._shared.time.monotonic()
        marks = self._marks.setdefault(step.id, _Marks())
        marks.killed_by_probe = marks.killed_by_probe or step.restart
        path = podspec.field_path(self.pod, step.name)
        self._shared.recorder.normal(
            self.pod, "Killing", step.message or f"Stopping container {step.name}", field_path=path
        )
        await self._pre_stop(step, marks)
        await self._wait_turn(step, started)
        spent = self._shared.time.monotonic() - started
        try:
            dead = await self._shared.engine.stop(step.id, max(MIN_STOP_SECONDS, step.grace_seconds - spent))
        except interface.NoSuchObject:
            self._containers.pop(step.id, None)
            return True
        except interface.EngineError as error:
            self._shared.recorder.warning(self.pod, "FailedKillPod", f"error killing pod: {error}")
            self._kills.pop(step.id, None)
            return False
        self._record(dead)
        self._kills.pop(step.id, None)
        return True

    async def _pre_stop(self, step: steps.KillContainer, marks: _Marks) -> None:
        found = podspec.find_container(self.pod, step.name)
        hook = (found[1].get("lifecycle") or {}).get("preStop") if found is not None else None
        if not hook or found is None or marks.pre_stop_done:
            return
        marks.pre_stop_done = True
        target = checks.Target(found[1], step.id, self.addresses[0] if self.addresses else "")
        work = asyncio.ensure_future(self._shared.hooks.run(hook, target))
        try:
            await hooks.wait_limited(self._shared.time, work, step.grace_seconds)
        except hooks.HookFailed as error:
            path = podspec.field_path(self.pod, step.name)
            self._shared.recorder.warning(
                self.pod, "FailedPreStopHook", f"PreStopHook failed: {error}", field_path=path
            )

    async def _wait_turn(self, step: steps.KillContainer, started: float) -> None:
        """Until those that stop before it are dead, or the grace period is over."""
        before = [self._marks[each].died.wait() for each in step.after if each in self._marks]
        if not before:
            return
        left = started + step.grace_seconds - self._shared.time.monotonic()
        everyone = asyncio.ensure_future(_all(before))
        await hooks.wait_limited(self._shared.time, everyone, max(0.0, left))

    async def _tear_down(self) -> bool:
        try:
            if self._sandbox is not None:
                await sandboxes.remove(self._sandbox.id, self._shared)
            await self._shared.volumes.remove(self.uid, self._shared.settings.pod_dir(self.uid))
        except (interface.EngineError, net.NetworkError, OSError) as error:
            log.warning("pod %s not cleaned up yet: %s", podspec.full_name(self.pod), error)
            return False
        self._shared.references.release(self.uid)
        self._shared.images.forget(self.uid)
        self._sandbox = None
        self._containers.clear()
        self._torn_down = True
        return True

    # ------------------------------------------------------------ volumes

    def _use_references(self) -> None:
        if self.is_terminating:
            return
        wanted = environment.references(self.pod)
        self._shared.references.use(self.uid, podspec.namespace(self.pod), wanted, self._on_reference)

    def _on_reference(self) -> None:
        """Something that the pod names changed: what failed for want of it may work now."""
        self._refresh_wanted = True
        for key in [key for key in self._retry_at if key == "volumes" or key.startswith("start:")]:
            del self._retry_at[key]
        self.poke()

    def _context(self) -> volumes.Context:
        namespace = podspec.namespace(self.pod)

        async def lookup(reference: environment.Reference) -> podspec.Object | None:
            try:
                return await self._shared.references.get(namespace, reference)
            except references.NotSynced as error:
                raise volumes.VolumeError(str(error)) from error

        return volumes.Context(
            pod=self.pod,
            api=self._shared.api,
            lookup=lookup,
            facts=self._shared.facts(self.addresses),
            settings=self._shared.settings,
            mounts=self._shared.volumes.mounts,
            time=self._shared.time,
        )

    async def _prepare_volumes(self) -> bool:
        self._refresh_wanted = False
        try:
            self._prepared = await self._shared.volumes.prepare(self._context())
        except manager.VolumesFailed as error:
            for name, why in error.failures.items():
                self._shared.recorder.warning(
                    self.pod, "FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {why}'
                )
            return False
        self._volumes_ready = True
        return True

    def _maybe_refresh(self, now: float) -> float | None:
        """Set the refresh of live volumes going where it is due; returns when it is due next."""
        if not self._volumes_ready or self.is_terminating or "refresh" in self._tasks:
            return None
        renew_at = self._prepared.renew_at
        if self._refresh_wanted or (renew_at is not None and renew_at <= now):
            held_until = self._retry_at.get("refresh")
            if held_until is not None and held_until > now and not self._refresh_wanted:
                return held_until
            self._refresh_wanted = False
            self._launch("refresh", self._refresh())
            return None
        return renew_at

    async def _refresh(self) -> None:
        try:
            self._prepared = await self._shared.volumes.refresh(self._context(), self._prepared)
        except manager.VolumesFailed as error:
            for name, why in error.failures.items():
                self._shared.recorder.warning(
                    self.pod, "FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {why}'
                )
            self._retry_at["refresh"] = self._shared.time.monotonic() + REFRESH_RETRY_SECONDS

    def _on_probe_result(self, container_id: str, kind: probes.Kind, passed: bool) -> None:
        known = self._probe_results.get(container_id)
        if known is None:
            return
        changed = probes.with_result(known, kind, passed)
        if changed != known:
            self._probe_results[container_id] = changed
            self.poke()


REFRESH_RETRY_SECONDS = 10.0


async def _all(waits: list[Coroutine[Any, Any, Any]]) -> None:
    await asyncio.gather(*waits)
