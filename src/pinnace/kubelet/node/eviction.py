"""Which pod goes when the node runs out of memory or disk. Pure: upstream's ranking by quality of service, use over request, priority."""

import dataclasses
import decimal
from collections.abc import Mapping, Sequence

from pinnace.api import quantity
from pinnace.kubelet.pod import podspec, qos


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    pod: podspec.Object
    memory_bytes: int
    """Working set."""
    disk_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool
    disk: bool


def pressure(
    available_memory: int, free_disk: int, disk: int, memory_threshold: int, disk_threshold: float
) -> Pressure:
    return Pressure(available_memory < memory_threshold, bool(disk) and free_disk < disk * disk_threshold)


def choose(candidates: Sequence[Candidate], resource: str) -> Candidate | None:
    """The pod to evict for want of `memory` or `ephemeral-storage`; critical pods never are."""
    eligible = [each for each in candidates if not is_critical(each.pod)]
    return max(eligible, key=lambda each: _rank(each, resource), default=None)


def is_critical(pod: podspec.Object) -> bool:
    return int(pod["spec"].get("priority") or 0) >= CRITICAL_PRIORITY


CRITICAL_PRIORITY = 2_000_000_000


def _rank(candidate: Candidate, resource: str) -> tuple[bool, int, int]:
    """Over its request first, then the lower priority, then the most above its request."""
    used = candidate.memory_bytes if resource == "memory" else candidate.disk_bytes
    over = used - qos.pod_request(candidate.pod, resource)
    return over > 0, -int(candidate.pod["spec"].get("priority") or 0), over


# ---------------------------------------------------------------- limits of local storage


@dataclasses.dataclass(frozen=True, slots=True)
class LocalUse:
    """Bytes on the node's disk (and in its memory, for volumes there)."""

    volumes: Mapping[str, int]
    """emptyDir volumes by name."""
    containers: Mapping[str, int]
    """Writable layers and logs by container."""
    files: int = 0
    """What else a pod may write to: /etc/hosts, resolv.conf, termination messages."""


def has_local_limits(pod: podspec.Object) -> bool:
    return bool(_volume_limits(pod) or _storage_limits(pod))


def _volume_limits(pod: podspec.Object) -> dict[str, str]:
    sources = {each["name"]: each.get("emptyDir") or {} for each in pod["spec"].get("volumes") or ()}
    return {name: str(source["sizeLimit"]) for name, source in sources.items() if _is_limit(source.get("sizeLimit"))}


def _is_limit(amount: object) -> bool:
    return amount is not None and quantity.value(str(amount)) > 0


def _storage_limits(pod: podspec.Object) -> dict[str, str]:
    limits = {each["name"]: (each.get("resources") or {}).get("limits") or {} for _, each in podspec.containers(pod)}
    return {name: str(found[STORAGE]) for name, found in limits.items() if _is_limit(found.get(STORAGE))}


STORAGE = "ephemeral-storage"


def over_limit(pod: podspec.Object, use: LocalUse) -> str:
    """Why the pod has to go for what it keeps on the node, in upstream's words; "": it may stay."""
    for name, limit in _volume_limits(pod).items():
        if use.volumes.get(name, 0) > quantity.value(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = _storage_limits(pod)
    if not limits:
        return ""
    total = disk_bytes(pod, use)
    allowed = sum(quantity.value(limit) for limit in limits.values())
    if total > allowed:
        shown = quantity.render(decimal.Decimal(allowed), quantity.format_of(next(iter(limits.values()))))
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {shown}. "
    for name, limit in limits.items():
        if use.containers.get(name, 0) > quantity.value(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


def disk_bytes(pod: podspec.Object, use: LocalUse) -> int:
    """All that the pod keeps on the node's disk: without the volumes that lie in memory."""
    on_disk = {
        each["name"] for each in pod["spec"].get("volumes") or () if not (each.get("emptyDir") or {}).get("medium")
    }
    volumes = sum(size for name, size in use.volumes.items() if name in on_disk)
    return sum(use.containers.values()) + volumes + use.files


def message(candidate: Candidate, resource: str, threshold: str, available: str) -> str:
    """As upstream words it."""
    text = f"The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. "
    used = candidate.memory_bytes if resource == "memory" else candidate.disk_bytes
    for container in podspec.main_containers(candidate.pod):
        request = qos.value(container, "requests", resource)
        text += f"Container {container['name']} was using {used >> 10}Ki, request is {request}, has larger consumption of {resource}. "
    return text
