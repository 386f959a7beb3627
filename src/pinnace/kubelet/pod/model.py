"""What the node agent knows about one pod, as values: the input of every pure decision (`decide`, `status`, `probes`).

All moments named `*_at` without `_ns` are seconds of the monotonic clock; `*_ns` are wall-clock nanoseconds, to be printed only.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from pinnace.engine import interface
from pinnace.kubelet.pod import steps

Object = dict[str, Any]

POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"
ATTEMPT_LABEL = "io.kubernetes.container.restartCount"
HASH_LABEL = "io.kubernetes.container.hash"
TERMINATION_PATH_LABEL = "io.kubernetes.container.terminationMessagePath"
ROUND_LABEL = "io.kubernetes.pod.restartRound"
SANDBOX_ATTEMPT_LABEL = "io.kubernetes.pod.attempt"

RUNTIME_NAME = "pinnace"
"""The scheme of container ids in a status: `pinnace://<id>`."""


class State(enum.Enum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"


@dataclasses.dataclass(frozen=True, slots=True)
class SandboxView:
    id: str
    attempt: int
    is_ready: bool
    """Its namespaces live and, unless it uses the host's network, it has an address."""
    addresses: tuple[str, ...] = ()
    created_ns: int = 0
    limits: interface.Resources | None = None
    """Of the pod's cgroup."""


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerView:
    id: str
    name: str
    attempt: int
    sandbox_id: str
    state: State
    image: str = ""
    """As the spec named it when the container was made."""
    image_id: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    start_failed: bool = False
    error: str = ""
    reason: str = ""
    """For its status, where the exit code does not tell; "": by the exit code."""
    message: str = ""
    """What it left in its termination log (or the end of its log, where the policy says so)."""
    created_ns: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    is_killed_by_probe: bool = False
    """It was stopped because a probe failed or its definition changed: to be restarted whatever its exit code."""
    user: interface.User | None = None
    round: int = 0
    """How often all containers of the pod had been restarted together when it was made."""
    hook_pending: bool = False
    """Its postStart hook has not ended yet: not shown as running so far."""

    @property
    def is_alive(self) -> bool:
        return self.state is State.RUNNING

    @property
    def is_exited(self) -> bool:
        return self.state is State.EXITED


@dataclasses.dataclass(frozen=True, slots=True)
class Observed:
    """The engine's view of one pod. `containers` in the order of their creation."""

    sandbox: SandboxView | None = None
    """The newest."""
    containers: tuple[ContainerView, ...] = ()

    def latest(self, name: str) -> ContainerView | None:
        """The last attempt of the container `name`."""
        found = None
        for container in self.containers:
            if container.name == name and (found is None or container.attempt >= found.attempt):
                found = container
        return found

    def previous(self, name: str) -> ContainerView | None:
        """The attempt before the last, if it is still kept."""
        latest = self.latest(name)
        dead = [each for each in self.containers if each.name == name and each is not latest and each.is_exited]
        return max(dead, key=lambda each: each.attempt, default=None)

    @property
    def alive(self) -> tuple[ContainerView, ...]:
        return tuple(container for container in self.containers if container.is_alive)


@dataclasses.dataclass(frozen=True, slots=True)
class ProbeResults:
    """None: that probe exists and has not decided yet. A probe that does not exist counts as passed."""

    liveness: bool | None = True
    readiness: bool | None = True
    startup: bool | None = True


NO_PROBES = ProbeResults()


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    reason: str
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class CrashBackoff:
    """How long the next restart of a container has to wait, counted from the end of its last run."""

    delay: float
    updated_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class ImageReady:
    """The image that the next start of a container uses."""

    image_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class ImageFailed:
    error: Waiting
    """ErrImagePull, ErrImageNeverPull, InvalidImageName …"""
    failed_at: float
    retry_at: float
    image: str


ImageState = ImageReady | ImageFailed


@dataclasses.dataclass(frozen=True, slots=True)
class Termination:
    """The pod is to stop, and why. `grace_seconds` may only shrink."""

    grace_seconds: int
    reason: str = ""
    """For the pod's status: DeadlineExceeded, Evicted …; "" for a deletion or a pod that is done."""
    message: str = ""
    is_disruption: bool = False
    """The pod did nothing wrong: the node needs what it has."""
    is_failure: bool = False
    """The pod's phase becomes Failed whatever its containers' exit codes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """What a worker remembers besides the engine's state."""

    probes: Mapping[str, ProbeResults] = dataclasses.field(default_factory=dict)
    """By container id."""
    crashes: Mapping[str, CrashBackoff] = dataclasses.field(default_factory=dict)
    """By container name."""
    images: Mapping[str, ImageState] = dataclasses.field(default_factory=dict)
    """By container name; absent: not looked at for the next start."""
    waiting: Mapping[str, Waiting] = dataclasses.field(default_factory=dict)
    """By container name: why the last try to start it failed."""
    kills: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Container id -> the grace period of the stop that is under way."""
    in_flight: frozenset[steps.StepKey] = frozenset()
    """Keys of the actions that are being carried out."""
    retry_at: Mapping[steps.StepKey, float] = dataclasses.field(default_factory=dict)
    """Key of an action that failed -> when it may be tried again."""
    actual: Mapping[str, Object] = dataclasses.field(default_factory=dict)
    """By container id: the resources that a running container has; those of its spec may have changed since."""
    limits_stale: bool = False
    """The pod's cgroup has not the limits that its containers' resources make."""
    resize_pending: Waiting | None = None
    """Why the resources that the API wants are not granted."""
    resize_error: str = ""
    """Why those that are granted cannot be had."""
    volumes_ready: bool = False
    volumes_waiting: Waiting | None = None
    """What containers show while volumes fail; None: that they are being made."""
    termination: Termination | None = None
    terminal_status_written: bool = False
    """The API has acknowledged the pod's last status."""
    torn_down: bool = False
    """Sandbox, network and volumes are gone."""
    started_at: float | None = None
    """When the pod began to run on this node (its status.startTime on the monotonic clock)."""
