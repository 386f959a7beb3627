"""What is known of one pod on this node: the engine's records, and what the engine does not keep. One writer, its worker's loop."""

import asyncio
import dataclasses

from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet.pod import containers, dependencies, launcher, model, podspec, qos, status, steps, termination
from pinnace.kubelet.volumes import manager


@dataclasses.dataclass(slots=True)
class Marks:
    """What the engine does not keep about a container."""

    started_at: float = 0.0
    finished_at: float = 0.0
    message: str = ""
    killed_by_probe: bool = False
    hook_pending: bool = False
    pre_stop_done: bool = False
    died: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class PodState:
    def __init__(self, pod: podspec.Object, shared: dependencies.Dependencies) -> None:
        self.wanted = pod
        """As the API has it."""
        self.pod = pod
        """With the resources that the node granted it."""
        self.actual: dict[str, podspec.Object] = {}
        self.resize_pending: model.Waiting | None = None
        self.resize_error = ""
        self.uid = podspec.uid(pod)
        self.sandbox: model.SandboxView | None = None
        self.containers: dict[str, interface.Container] = {}
        self.marks: dict[str, Marks] = {}
        self.remembered: list[model.ContainerView] = []
        """Containers that ended and of which the engine has no record any more."""
        self.prepared = manager.Prepared()
        self.volumes_ready = False
        self.volumes_waiting: model.Waiting | None = None
        """What containers show while volumes fail, if not that they are being made."""
        self.probe_results: dict[str, model.ProbeResults] = {}
        self.crashes: dict[str, model.CrashBackoff] = {}
        self.images: dict[str, model.ImageState] = {}
        self.failed: dict[str, model.Waiting] = {}
        """By container name: why its last start failed."""
        self.waiting: dict[str, model.Waiting] = {}
        """`failed`, and what the last decision said."""
        self.kills: dict[str, int] = {}
        self.termination: model.Termination | None = None
        self.final_written = False
        self.torn_down = False
        self.started_at: float | None = None
        self._limits: tuple[podspec.Object, interface.Resources] | None = None
        self._shared = shared

    @property
    def addresses(self) -> tuple[str, ...]:
        return self.sandbox.addresses if self.sandbox is not None else ()

    @property
    def address(self) -> str:
        """The first, or "" before there is one."""
        return self.addresses[0] if self.addresses else ""

    def begin(self) -> None:
        """Once, before the first look: what the API knows of the pod's past."""
        if self.started_at is not None:
            return
        now = self._shared.time.monotonic()
        self.remembered = [*status.lost_containers(self.pod, set(self.containers), now), *self.remembered]
        text = (self.pod.get("status") or {}).get("startTime")
        age = (self._shared.time.now() - clock.parse_rfc3339(text)).total_seconds() if text else 0.0
        self.started_at = now - max(0.0, age)

    def record(self, container: interface.Container) -> None:
        """The engine's newest word on a container; an older one that comes late changes nothing."""
        known = self.containers.get(container.id)
        if known is not None and known.status.is_terminal and not container.status.is_terminal:
            return
        self.containers[container.id] = container
        marks = self.marks.setdefault(container.id, Marks())
        now, wall = self._shared.time.monotonic(), self._shared.time.now().timestamp()
        if container.started_at and not marks.started_at:
            marks.started_at = now - max(0.0, wall - container.started_at / 1e9)
        if container.status.is_terminal and not marks.died.is_set():
            marks.finished_at = now - max(0.0, wall - container.finished_at / 1e9)
            marks.message = self._termination_message(container)
            marks.died.set()
            self.probe_results.pop(container.id, None)

    def forget(self, container_id: str) -> None:
        self.containers.pop(container_id, None)
        self.marks.pop(container_id, None)
        self.actual.pop(container_id, None)

    def forget_failures(self, name: str) -> None:
        """The container has another image now: what was found out about the old one says nothing about it."""
        self.crashes.pop(name, None)
        self.images.pop(name, None)
        self.failed.pop(name, None)

    def pod_containers(self) -> list[podspec.Object]:
        """Those that have resources: not the ephemeral ones."""
        return [*podspec.init_containers(self.pod), *podspec.main_containers(self.pod)]

    def _termination_message(self, container: interface.Container) -> str:
        seen = containers.view(container)
        found = podspec.find_container(self.pod, seen.name)
        if found is None or seen.start_failed:
            return ""
        folder = self._shared.settings.pod_dir(self.uid)
        file = launcher.termination_file(folder, seen.name, seen.attempt)
        return termination.message(found[1], file, container.log_path, container.exit_code)

    def observed(self) -> model.Observed:
        views = [self.view(container) for container in self.containers.values()]
        views.sort(key=lambda view: (view.created_ns, view.attempt))
        return model.Observed(self.sandbox, (*self.remembered, *views))

    def _wanted_limits(self) -> interface.Resources:
        """Worked out once for each version of the pod: this is asked at every turn."""
        if self._limits is None or self._limits[0] is not self.pod:
            self._limits = self.pod, qos.sandbox_resources(self.pod, self._shared.settings.pod_pids_limit)
        return self._limits[1]

    def view(self, container: interface.Container) -> model.ContainerView:
        marks = self.marks[container.id]
        return dataclasses.replace(
            containers.view(container),
            started_at=marks.started_at,
            finished_at=marks.finished_at,
            message=marks.message,
            is_killed_by_probe=marks.killed_by_probe,
            hook_pending=marks.hook_pending,
        )

    def memory(self, in_flight: frozenset[steps.StepKey], retry_at: dict[steps.StepKey, float]) -> model.Memory:
        return model.Memory(
            probes=self.probe_results,
            crashes=self.crashes,
            images=self.images,
            waiting=self.waiting,
            kills=self.kills,
            in_flight=in_flight,
            retry_at=retry_at,
            actual=self.actual,
            limits_stale=self.sandbox is not None and self.sandbox.limits != self._wanted_limits(),
            resize_pending=self.resize_pending,
            resize_error=self.resize_error,
            volumes_ready=self.volumes_ready,
            volumes_waiting=self.volumes_waiting,
            termination=self.termination,
            terminal_status_written=self.final_written,
            torn_down=self.torn_down,
            started_at=self.started_at,
        )
