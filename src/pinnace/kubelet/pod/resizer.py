"""The act of a resize: new limits for a pod's cgroup and its running containers, in an order in which no child ever exceeds its parent."""

import dataclasses

from pinnace.engine import interface
from pinnace.kubelet.pod import dependencies, qos, resizing, state


class Resizer:
    def __init__(self, pod: state.PodState, shared: dependencies.Dependencies) -> None:
        self._state = pod
        self._shared = shared

    def reconsider(self) -> None:
        """Grant what is wanted as far as there is room."""
        known = self._state
        before = known.resize_pending
        granted = self._shared.allocate(known.wanted, known.pod)
        known.pod, known.resize_pending = granted.pod, granted.pending
        if granted.pending is not None and granted.pending != before:
            text = f"Pod resize {granted.pending.reason}: {resizing.summary(known.wanted, granted.pending.message)}"
            self._shared.recorder.warning(known.pod, f"Resize{granted.pending.reason}", text)

    async def resize(self) -> bool:
        """Carry out what is granted, but for containers that have to restart for it."""
        known = self._state
        try:
            await self._apply()
        except interface.NoSuchObject:
            return False
        except interface.EngineError as error:
            if known.resize_error != str(error):
                text = f"Error resizing pod: {resizing.summary(known.pod, str(error))}"
                self._shared.recorder.warning(known.pod, "ResizeError", text)
            known.resize_error = str(error)
            return False
        known.resize_error = ""
        if not resizing.left(known.pod, known.observed(), known.actual).is_any:
            text = f"Pod resize completed: {resizing.summary(known.pod)}"
            self._shared.recorder.normal(known.pod, "ResizeCompleted", text)
        return True

    async def _apply(self) -> None:
        """Raises EngineError."""
        known, engine = self._state, self._shared.engine
        sandbox, pod = known.sandbox, known.pod
        if sandbox is None:
            return
        left = resizing.left(pod, known.observed(), known.actual)
        present = sandbox.limits or interface.Resources()
        wanted = qos.sandbox_resources(pod, self._shared.settings.pod_pids_limit)
        await self._limit_sandbox(qos.widest(present, wanted))
        for name in left.live:
            latest = known.observed().latest(name)
            found = next(each for each in known.pod_containers() if each["name"] == name)
            if latest is None or not latest.is_alive:
                continue
            limits = qos.container_resources(pod, found, self._shared.machine.memory_bytes)
            await engine.update(latest.id, limits)
            known.actual[latest.id] = found.get("resources") or {}
        if not left.restart:
            await self._limit_sandbox(wanted)

    async def _limit_sandbox(self, limits: interface.Resources) -> None:
        known = self._state
        if known.sandbox is None or known.sandbox.limits == limits:
            return
        await self._shared.engine.update_sandbox(known.sandbox.id, limits)
        known.sandbox = dataclasses.replace(known.sandbox, limits=limits)
