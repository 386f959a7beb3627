"""The acts that bring a pod up: its sandbox, its images, its containers with their postStart hooks."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable

from pinnace.engine import interface
from pinnace.kubelet.pod import (
    attempts,
    backoffs,
    checks,
    containers,
    dependencies,
    hooks,
    launcher,
    model,
    podfiles,
    podspec,
    probes,
    pull_secrets,
    runtime_class,
    sandboxes,
    state,
    steps,
)
from pinnace.net import interface as net

log = logging.getLogger(__name__)

OnHookFailed = Callable[[steps.KillContainer], None]


class Starter:
    """Each act returns whether it succeeded; what failed was told in an event."""

    def __init__(
        self,
        pod: state.PodState,
        shared: dependencies.Dependencies,
        under_way: attempts.Attempts,
        poke: Callable[[], None],
        on_hook_failed: OnHookFailed,
    ) -> None:
        self._state = pod
        self._shared = shared
        self._attempts = under_way
        self._poke = poke
        self._on_hook_failed = on_hook_failed

    async def create_sandbox(self, step: steps.CreateSandbox) -> bool:
        pod, recorder = self._state.pod, self._shared.recorder
        try:
            if step.replaces or podspec.had_sandbox(pod):
                recorder.normal(pod, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            if step.replaces:
                await self._forget_sandbox(step.replaces)
            await runtime_class.check(pod, self._shared.api)
            made = await sandboxes.create(pod, step.attempt, self._shared)
            sandboxes.write_files(pod, made.addresses, self._shared)
        except (
            interface.EngineError,
            net.NetworkError,
            runtime_class.NoRuntime,
            podfiles.NameTooLong,
            OSError,
        ) as error:
            recorder.warning(pod, "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            return False
        self._state.sandbox = made
        return True

    async def _forget_sandbox(self, sandbox_id: str) -> None:
        """Its containers' records go with it, but not what is known of their ends."""
        known = self._state
        views = [known.view(each) for each in known.containers.values() if each.spec.sandbox == sandbox_id]
        await sandboxes.remove(sandbox_id, self._shared)
        # What was made and never started has no end to remember.
        ran = [each for each in views if each.state is not model.State.CREATED]
        known.remembered += [dataclasses.replace(each, state=model.State.EXITED) for each in ran]
        for each in views:
            known.forget(each.id)

    async def ensure_image(self, step: steps.EnsureImage) -> bool:
        found = podspec.find_container(self._state.pod, step.name)
        assert found is not None
        secrets = await pull_secrets.find(self._state.pod, self._shared)
        image = await self._shared.images.ensure(self._state.pod, found[1], secrets)
        now = podspec.find_container(self._state.pod, step.name)
        if now is not None and now[1].get("image") == found[1].get("image"):
            # Else the container got another one meanwhile, and that is looked for next.
            self._state.images[step.name] = image
        return True

    async def start(self, step: steps.StartContainer) -> bool | attempts.Later:
        known = self._state
        latest = known.observed().latest(step.name)
        try:
            container = await launcher.start(
                known.pod, step, known.addresses, known.prepared, self._shared, self._target_id(step.name)
            )
        except launcher.StartFailed as error:
            known.failed[step.name] = error.waiting
            known.images.pop(step.name, None)
            if error.waiting.reason != "RunContainerError":
                return attempts.Later(backoffs.SYNC_SECONDS)
            await self._find_failed(step)
            self._count_restart(step.name, latest)
            return True
        known.failed.pop(step.name, None)
        known.images.pop(step.name, None)
        self._count_restart(step.name, latest)
        self._begin(step.name, container)
        self._poke()
        await self._prune(step.name)
        return True

    def _target_id(self, name: str) -> str:
        """The running container that the ephemeral one `name` is aimed at; "": none."""
        found = podspec.find_container(self._state.pod, name)
        target = found[1].get("targetContainerName") if found is not None else None
        latest = self._state.observed().latest(str(target)) if target else None
        return latest.id if latest is not None and latest.is_alive else ""

    def _begin(self, name: str, container: interface.Container) -> None:
        """The container runs: from now on it is probed, once its hook has ended."""
        known = self._state
        found = podspec.find_container(known.pod, name)
        assert found is not None
        known.record(container)
        known.actual[container.id] = found[1].get("resources") or {}
        if known.containers[container.id].status.is_alive:
            known.probe_results[container.id] = probes.initial(found[1])
        hook = (found[1].get("lifecycle") or {}).get("postStart")
        if hook:
            known.marks[container.id].hook_pending = True
            self._attempts.launch(steps.hook(container.id), self._post_start(container.id, found[1], hook))

    async def _find_failed(self, step: steps.StartContainer) -> None:
        """The record of a container whose process could not be started: it counts as a run."""
        name = containers.container_name(self._state.pod, step.name, step.attempt)
        with contextlib.suppress(interface.NoSuchObject):
            self._state.record(await self._shared.engine.inspect(name))

    def _count_restart(self, name: str, latest: model.ContainerView | None) -> None:
        if latest is not None and latest.is_exited:
            now, crashes = self._shared.time.monotonic(), self._state.crashes
            crashes[name] = backoffs.after_start(crashes.get(name), now, latest.finished_at)

    async def _prune(self, name: str) -> None:
        """Keep the last two attempts: the present one, and the one before for `logs --previous`."""
        known = self._state
        same = [view for view in known.observed().containers if view.name == name]
        for view in sorted(same, key=lambda view: view.attempt)[:-2]:
            container = known.containers.get(view.id)
            if container is None:
                known.remembered = [each for each in known.remembered if each.id != view.id]
                continue
            try:
                await self._shared.engine.remove(view.id, force=True)
            except interface.EngineError as error:
                log.warning("container %s not removed: %s", view.id, error)
                continue
            known.forget(view.id)
            container.log_path.unlink(missing_ok=True)

    async def _post_start(self, container_id: str, container: podspec.Object, hook: podspec.Object) -> None:
        known = self._state
        target = checks.Target(container, container_id, known.address)
        try:
            await self._shared.hooks.run(hook, target)
        except hooks.HookFailed as error:
            name = container["name"]
            path = podspec.field_path(known.pod, name)
            log.warning("%s of pod %s: %s: %s", name, podspec.full_name(known.pod), hooks.POST_START_FAILED, error)
            self._shared.recorder.warning(known.pod, "FailedPostStartHook", hooks.POST_START_FAILED, field_path=path)
            known.failed[name] = model.Waiting("PostStartHookError", hooks.POST_START_FAILED)
            grace = podspec.spec_grace_seconds(known.pod)
            self._on_hook_failed(
                steps.KillContainer(container_id, name, grace, message="FailedPostStartHook", restart=True)
            )
        else:
            known.marks[container_id].hook_pending = False
