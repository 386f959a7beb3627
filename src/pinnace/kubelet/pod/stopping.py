"""The acts that bring a pod down: containers with their preStop hooks, in order; then everything else that it had."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from pinnace.engine import interface
from pinnace.kubelet.pod import checks, dependencies, hooks, podspec, sandboxes, state, steps
from pinnace.net import interface as net

log = logging.getLogger(__name__)

MIN_STOP_SECONDS = 2
"""What a container gets between its signal and its end however long its preStop hook took."""


class Stopper:
    """Each act returns whether it succeeded."""

    def __init__(self, pod: state.PodState, shared: dependencies.Dependencies) -> None:
        self._state = pod
        self._shared = shared

    async def kill(self, step: steps.KillContainer) -> bool:
        known, recorder = self._state, self._shared.recorder
        started = self._shared.time.monotonic()
        marks = known.marks.setdefault(step.id, state.Marks())
        marks.killed_by_probe = marks.killed_by_probe or step.restart
        path = podspec.field_path(known.pod, step.name)
        recorder.normal(known.pod, "Killing", step.message or f"Stopping container {step.name}", field_path=path)
        if not step.skips_pre_stop:
            await self._pre_stop(step, marks)
        await self._wait_turn(step, started)
        spent = self._shared.time.monotonic() - started
        try:
            dead = await self._shared.engine.stop(step.id, max(MIN_STOP_SECONDS, step.grace_seconds - spent))
        except interface.NoSuchObject:
            known.containers.pop(step.id, None)
            return True
        except interface.EngineError as error:
            recorder.warning(known.pod, "FailedKillPod", f"error killing pod: {error}")
            known.kills.pop(step.id, None)
            return False
        known.record(dead)
        known.kills.pop(step.id, None)
        return True

    async def _pre_stop(self, step: steps.KillContainer, marks: state.Marks) -> None:
        known = self._state
        found = podspec.find_container(known.pod, step.name)
        hook = (found[1].get("lifecycle") or {}).get("preStop") if found is not None else None
        if not hook or found is None or marks.pre_stop_done:
            return
        marks.pre_stop_done = True
        target = checks.Target(found[1], step.id, known.address)
        work = asyncio.ensure_future(self._shared.hooks.run(hook, target))
        try:
            await hooks.wait_limited(self._shared.time, work, step.grace_seconds)
        except hooks.HookFailed as error:
            path = podspec.field_path(known.pod, step.name)
            log.warning("%s of pod %s: %s: %s", step.name, podspec.full_name(known.pod), hooks.PRE_STOP_FAILED, error)
            self._shared.recorder.warning(known.pod, "FailedPreStopHook", hooks.PRE_STOP_FAILED, field_path=path)

    async def _wait_turn(self, step: steps.KillContainer, started: float) -> None:
        """Until those that stop before it are dead, or the grace period is over."""
        marks = self._state.marks
        before = [marks[each].died.wait() for each in step.after if each in marks]
        if not before:
            return
        left = started + step.grace_seconds - self._shared.time.monotonic()
        everyone = asyncio.ensure_future(_all(before))
        await hooks.wait_limited(self._shared.time, everyone, max(0.0, left))

    async def tear_down(self) -> bool:
        """Sandbox, address, volumes, files: idempotent."""
        known = self._state
        try:
            if known.sandbox is not None:
                await sandboxes.remove(known.sandbox.id, self._shared)
            await self._shared.volumes.remove(known.uid, self._shared.settings.pod_dir(known.uid))
        except (interface.EngineError, net.NetworkError, OSError) as error:
            log.warning("pod %s not cleaned up yet: %s", podspec.full_name(known.pod), error)
            return False
        self._shared.references.release(known.uid)
        self._shared.images.forget(known.uid)
        known.sandbox = None
        known.containers.clear()
        known.torn_down = True
        return True


async def _all(waits: list[Coroutine[Any, Any, Any]]) -> None:
    await asyncio.gather(*waits)
