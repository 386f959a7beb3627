"""What containers use: `/stats/summary` for people and eviction, `/metrics/resource` for metrics pipelines."""

import contextlib
import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any

from pinnace.engine import interface
from pinnace.kit import clock
from pinnace.kubelet import machine, model, podspec
from pinnace.kubelet import settings as settings_module


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerUse:
    name: str
    started_ns: int
    stats: interface.Stats


@dataclasses.dataclass(frozen=True, slots=True)
class PodUse:
    pod: podspec.Object
    containers: tuple[ContainerUse, ...]

    @property
    def cpu_nanoseconds(self) -> int:
        return sum(each.stats.cpu_nanoseconds for each in self.containers)

    @property
    def working_set(self) -> int:
        return sum(each.stats.memory_working_set_bytes for each in self.containers)


async def measure(
    engine: interface.Engine, pods: Sequence[tuple[podspec.Object, Sequence[interface.Container]]]
) -> list[PodUse]:
    found = []
    for pod, containers in pods:
        uses = []
        for container in containers:
            with contextlib.suppress(interface.EngineError):
                stats = await engine.stats(container.id)
                name = container.spec.labels.get(model.CONTAINER_NAME_LABEL, "")
                uses.append(ContainerUse(name, container.started_at, stats))
        found.append(PodUse(pod, tuple(uses)))
    return found


def _moment(nanoseconds: int) -> str:
    return clock.rfc3339(datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.UTC))


def summary(settings: settings_module.Settings, pods: Sequence[PodUse], now: datetime.datetime) -> dict[str, Any]:
    """The stats API's Summary (k8s.io/kubelet/pkg/apis/stats/v1alpha1)."""
    stamp = clock.rfc3339(now)
    memory = machine.memory_info()
    size, free = machine.disk_space(settings.data_dir)
    used = memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)
    return {
        "node": {
            "nodeName": settings.node_name,
            "cpu": {"time": stamp, "usageCoreNanoSeconds": sum(each.cpu_nanoseconds for each in pods)},
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
            sum(each.stats.memory_usage_bytes for each in use.containers),
            use.working_set,
        ),
        "process_stats": {"process_count": sum(each.stats.pids for each in use.containers)},
    }


def _usage(stamp: str, cpu: int, memory: int, working_set: int) -> dict[str, Any]:
    return {
        "cpu": {"time": stamp, "usageCoreNanoSeconds": cpu},
        "memory": {"time": stamp, "usageBytes": memory, "workingSetBytes": working_set},
    }


def resource_metrics(pods: Sequence[PodUse], now: datetime.datetime) -> str:
    """Prometheus text, in the names of upstream's /metrics/resource."""
    stamp = int(now.timestamp() * 1000)
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: Sequence[tuple[str, float]]) -> None:
        if samples:
            lines.append(f"# HELP {name} [STABLE] {text}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(f"{name}{labels} {_number(value)} {stamp}" for labels, value in samples)

    def container(pod: PodUse, use: ContainerUse) -> str:
        return f'{{container="{use.name}",namespace="{podspec.namespace(pod.pod)}",pod="{podspec.name(pod.pod)}"}}'

    def labels(pod: PodUse) -> str:
        return f'{{namespace="{podspec.namespace(pod.pod)}",pod="{podspec.name(pod.pod)}"}}'

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
        "node_memory_working_set_bytes",
        "gauge",
        "Current working set of the node in bytes",
        [("", _node_working_set())],
    )
    return "\n".join(lines) + "\n"


def _node_working_set() -> int:
    memory = machine.memory_info()
    return memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
