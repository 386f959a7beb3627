"""Probe results: which outcome of a check changes what is known about a container. Pure."""

import dataclasses
import enum

from pinnace.kubelet.pod import model, podspec


class Kind(enum.Enum):
    STARTUP = "startup"
    LIVENESS = "liveness"
    READINESS = "readiness"

    @property
    def field(self) -> str:
        return f"{self.value}Probe"

    @property
    def title(self) -> str:
        """As events begin: `Liveness probe failed: …`."""
        return f"{self.value.capitalize()} probe"


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


def spec(probe: podspec.Object) -> Spec:
    return Spec(
        initial_delay=float(probe.get("initialDelaySeconds") or 0),
        period=float(probe.get("periodSeconds") or 10),
        timeout=float(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """How often the last outcome came in a row."""

    outcome: bool | None = None
    count: int = 0


def advance(run: Run, outcome: bool, limits: Spec) -> tuple[Run, bool]:
    """The new run, and whether it is long enough to count as the probe's result."""
    count = run.count + 1 if run.outcome is outcome else 1
    threshold = limits.success_threshold if outcome else limits.failure_threshold
    return Run(outcome, count), count >= threshold


def initial(container: podspec.Object) -> model.ProbeResults:
    """Of a container that has just started: alive, not ready, not started, as far as there are probes."""
    return model.ProbeResults(
        liveness=True,
        readiness=None if container.get("readinessProbe") else True,
        startup=None if container.get("startupProbe") else True,
    )


def adopted(container: podspec.Object, container_id: str, status: podspec.Object) -> model.ProbeResults:
    """Of a container that ran before the agent did: what its pod's status says of the same container holds on."""
    fresh = initial(container)
    for field in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(field) or ():
            if entry.get("containerID") == f"{model.RUNTIME_NAME}://{container_id}":
                return model.ProbeResults(
                    liveness=True,
                    readiness=True if entry.get("ready") else fresh.readiness,
                    startup=True if entry.get("started") else fresh.startup,
                )
    return fresh


def with_result(results: model.ProbeResults, kind: Kind, outcome: bool) -> model.ProbeResults:
    match kind:
        case Kind.STARTUP:
            return dataclasses.replace(results, startup=outcome)
        case Kind.LIVENESS:
            return dataclasses.replace(results, liveness=outcome)
        case Kind.READINESS:
            return dataclasses.replace(results, readiness=outcome)


def kinds_of(role: podspec.Role, container: podspec.Object) -> tuple[Kind, ...]:
    if role not in (podspec.Role.MAIN, podspec.Role.SIDECAR):
        return ()
    return tuple(kind for kind in Kind if container.get(kind.field))


class PortError(Exception):
    """A probe or hook names a port that its container does not have."""


def port(container: podspec.Object, value: object) -> int:
    """A port by number or by name. Raises PortError."""
    if isinstance(value, int):
        return value
    text = str(value)
    for entry in container.get("ports") or ():
        if entry.get("name") == text:
            return int(entry["containerPort"])
    if text.isdigit():
        return int(text)
    raise PortError(f"couldn't find port: {text}")
