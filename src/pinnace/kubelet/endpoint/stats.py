"""What containers use: `/stats/summary` for people and eviction, `/metrics/resource` for metrics pipelines."""

import contextlib
import dataclasses
import datetime
from collections.abc import Collection, Sequence
from typing import Any

from pinnace.engine import interface
from pinnace.kit import clock, metrics
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.node import facts
from pinnace.kubelet.pod import model, podspec


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerUse:
    name: str
    started_ns: int
    stats: interface.Stats
    nanocores: int | None = None
    """CPU use at present; None: not known yet."""


@dataclasses.dataclass(frozen=True, slots=True)
class PodUse:
    pod: podspec.Object
    containers: tuple[ContainerUse, ...]

    @property
    def cpu_nanoseconds(self) -> int:
        return sum(each.stats.cpu_nanoseconds for each in self.containers)

    @property
    def nanocores(self) -> int | None:
        known = [each.nanocores for each in self.containers if each.nanocores is not None]
        return sum(known) if known else None

    @property
    def working_set(self) -> int:
        return sum(each.stats.memory_working_set_bytes for each in self.containers)


class Rates:
    """CPU use in nanocores, from two measurements of the same container; at least `SHORTEST` seconds lie between them."""

    SHORTEST = 1.0
    LONGEST = 60.0
    """An older measurement would tell of the past."""

    def __init__(self) -> None:
        self._before: dict[str, list[tuple[float, int]]] = {}

    def note(self, key: str, now: float, nanoseconds: int) -> int | None:
        """Nanoseconds of CPU time per second since an earlier call; None: there was none to compare with."""
        seen = [each for each in self._before.get(key, ()) if now - each[0] <= self.LONGEST and each[1] <= nanoseconds]
        old = [each for each in seen if now - each[0] >= self.SHORTEST]
        if not seen or now - seen[-1][0] >= self.SHORTEST:
            seen.append((now, nanoseconds))
        # The newest that is old enough, and what may become that.
        self._before[key] = seen[-3:]
        if not old:
            return None
        moment, used = old[-1]
        return int((nanoseconds - used) / (now - moment))

    def keep(self, keys: Collection[str]) -> None:
        """Forget what is gone."""
        for key in [key for key in self._before if key not in keys]:
            del self._before[key]


async def measure(
    engine: interface.Engine,
    pods: Sequence[tuple[podspec.Object, Sequence[interface.Container]]],
    rates: Rates,
    now: float,
) -> list[PodUse]:
    found = []
    for pod, containers in pods:
        uses = []
        for container in containers:
            with contextlib.suppress(interface.EngineError):
                stats = await engine.stats(container.id)
                name = container.spec.labels.get(model.CONTAINER_NAME_LABEL, "")
                used = rates.note(container.id, now, stats.cpu_nanoseconds)
                uses.append(ContainerUse(name, container.started_at, stats, used))
        found.append(PodUse(pod, tuple(uses)))
    rates.keep({container.id for _, containers in pods for container in containers})
    return found


def _moment(nanoseconds: int) -> str:
    return clock.rfc3339(datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC))


@dataclasses.dataclass(frozen=True, slots=True)
class NodeCpu:
    nanoseconds: int
    nanocores: int | None


def summary(
    settings: settings_module.Settings, pods: Sequence[PodUse], cpu: NodeCpu, now: datetime.datetime
) -> dict[str, Any]:
    """The stats API's Summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1)."""
    stamp = clock.rfc3339(now)
    memory = facts.memory_info()
    size, free = facts.disk_space(settings.data_dir)
    used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
    return {
        "node": {
            "nodeName": settings.node_name,
            "startTime": _moment(int(facts.boot_time() * 1e9)),
            "cpu": _cpu(stamp, cpu.nanoseconds, cpu.nanocores),
            "memory": {
                "time": stamp,
                "availableBytes": memory.get("MemAvailable", 0),
                "usageBytes": used,
                "workingSetBytes": used,
            },
            "fs": {"time": stamp, "availableBytes": free, "capacityBytes": size, "usedBytes": size - free},
        },
        "pods": [_pod_summary(each, stamp) for each in pods],
    }


def _pod_summary(use: PodUse, stamp: str) -> dict[str, Any]:
    return {
        "podRef": {
            "name": podspec.name(use.pod),
            "namespace": podspec.namespace(use.pod),
            "uid": podspec.uid(use.pod),
        },
        "startTime": (use.pod.get("status") or {}).get("startTime"),
        "containers": [
            {
                "name": each.name,
                "startTime": _moment(each.started_ns),
                **_usage(
                    stamp,
                    each.stats.cpu_nanoseconds,
                    each.nanocores,
                    each.stats.memory_usage_bytes,
                    each.stats.memory_working_set_bytes,
                ),
                "rootfs": {"time": stamp, "usedBytes": each.stats.filesystem_bytes},
            }
            for each in use.containers
        ],
        **_usage(
            stamp,
            use.cpu_nanoseconds,
            use.nanocores,
            sum(each.stats.memory_usage_bytes for each in use.containers),
            use.working_set,
        ),
        "process_stats": {"process_count": sum(each.stats.pids for each in use.containers)},
    }


def _cpu(stamp: str, nanoseconds: int, nanocores: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"time": stamp}
    if nanocores is not None:
        shown["usageNanoCores"] = nanocores
    return {**shown, "usageCoreNanoSeconds": nanoseconds}


def _usage(stamp: str, cpu: int, nanocores: int | None, memory: int, working_set: int) -> dict[str, Any]:
    return {
        "cpu": _cpu(stamp, cpu, nanocores),
        "memory": {"time": stamp, "usageBytes": memory, "workingSetBytes": working_set},
    }


def resource_metrics(pods: Sequence[PodUse], cpu: NodeCpu, now: datetime.datetime) -> str:
    """Prometheus text, in the names of upstream's /metrics/resource."""
    stamp = int(now.timestamp() * 1000)
    exposition = metrics.Text()

    def family(name: str, kind: metrics.Kind, text: str, samples: Sequence[tuple[metrics.Labels, float]]) -> None:
        exposition.family(name, kind, f"[STABLE] {text}", samples, stamp=stamp)

    def container(pod: PodUse, use: ContainerUse) -> metrics.Labels:
        return {"container": use.name, **labels(pod)}

    def labels(pod: PodUse) -> metrics.Labels:
        return {"namespace": podspec.namespace(pod.pod), "pod": podspec.name(pod.pod)}

    uses = [(pod, use) for pod in pods for use in pod.containers]
    family(
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the container in core-seconds",
        [(container(pod, use), use.stats.cpu_nanoseconds / 1e9) for pod, use in uses],
    )
    family(
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set of the container in bytes",
        [(container(pod, use), use.stats.memory_working_set_bytes) for pod, use in uses],
    )
    family(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds",
        [(container(pod, use), use.started_ns / 1e9) for pod, use in uses],
    )
    family(
        "pod_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the pod in core-seconds",
        [(labels(pod), pod.cpu_nanoseconds / 1e9) for pod in pods],
    )
    family(
        "pod_memory_working_set_bytes",
        "gauge",
        "Current working set of the pod in bytes",
        [(labels(pod), pod.working_set) for pod in pods],
    )
    family(
        "node_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed by the node in core-seconds",
        [(metrics.NO_LABELS, cpu.nanoseconds / 1e9)],
    )
    family(
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
        [(metrics.NO_LABELS, _node_working_set())],
    )
    family(
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
        [(metrics.NO_LABELS, 0)],
    )
    return exposition.render()


def _node_working_set() -> int:
    memory = facts.memory_info()
    return memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
