"""Which pod goes when the node runs out of memory or disk. Pure: upstream's ranking by quality of service, use over request, priority."""

import dataclasses
from collections.abc import Sequence

from pinnace.kubelet import podspec, qos


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


def message(candidate: Candidate, resource: str, threshold: str, available: str) -> str:
    """As upstream words it."""
    text = f"The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. "
    used = candidate.memory_bytes if resource == "memory" else candidate.disk_bytes
    for container in podspec.main_containers(candidate.pod):
        request = qos.value(container, "requests", resource)
        text += f"Container {container['name']} was using {used >> 10}Ki, request is {request}, has larger consumption of {resource}. "
    return text
