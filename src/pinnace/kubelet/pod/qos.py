"""Resources: requests and limits as the engine needs them, and the pod's quality of service. Pure."""

import dataclasses
from collections.abc import Iterable, Mapping

from pinnace.api import pods, quantity
from pinnace.engine import interface
from pinnace.kubelet.pod import podspec

CPU_PERIOD_US = 100_000
MIN_SHARES = 2
MAX_SHARES = 262_144
MIN_QUOTA_US = 1_000
GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000


def _amounts(container: podspec.Object, what: str) -> Mapping[str, str]:
    return (container.get("resources") or {}).get(what) or {}


def shares(milli_cpu: int) -> int:
    return min(MAX_SHARES, max(MIN_SHARES, milli_cpu * 1024 // 1000))


def quota(milli_cpu: int) -> int:
    """Microseconds per period; 0 is no limit."""
    return max(MIN_QUOTA_US, milli_cpu * CPU_PERIOD_US // 1000) if milli_cpu else 0


def oom_score(pod: podspec.Object, container: podspec.Object, memory_capacity: int) -> int:
    match pods.qos_class(pod["spec"]):
        case "Guaranteed":
            return GUARANTEED_OOM_SCORE
        case "BestEffort":
            return BEST_EFFORT_OOM_SCORE
    request = value(container, "requests", "memory")
    score = 1000 - 1000 * request // max(1, memory_capacity)
    return min(BEST_EFFORT_OOM_SCORE - 1, max(1000 + GUARANTEED_OOM_SCORE, score))


def value(container: podspec.Object, what: str, resource: str) -> int:
    text = _amounts(container, what).get(resource)
    return quantity.value(str(text)) if text is not None else 0


def milli(container: podspec.Object, what: str, resource: str) -> int:
    text = _amounts(container, what).get(resource)
    return quantity.milli(str(text)) if text is not None else 0


def container_resources(pod: podspec.Object, container: podspec.Object, memory_capacity: int) -> interface.Resources:
    cpu_limit = milli(container, "limits", "cpu")
    return interface.Resources(
        cpu_shares=shares(milli(container, "requests", "cpu") or cpu_limit),
        cpu_quota_us=quota(cpu_limit),
        cpu_period_us=CPU_PERIOD_US,
        memory_bytes=value(container, "limits", "memory"),
        oom_score_adj=oom_score(pod, container, memory_capacity),
    )


def pod_resources(pod: podspec.Object) -> interface.Resources | None:
    """Limits of the pod's own cgroup: the sum of its containers where every one of them has a limit."""
    if pods.qos_class(pod["spec"]) == "BestEffort":
        return None
    mains = podspec.main_containers(pod)
    sidecars = [container for container in podspec.init_containers(pod) if pods.is_sidecar(container)]
    inits = [container for container in podspec.init_containers(pod) if not pods.is_sidecar(container)]
    together = [*mains, *sidecars]
    pod_level: podspec.Object = {"resources": pod["spec"].get("resources") or {}}
    cpu_limit = milli(pod_level, "limits", "cpu") or _limit(milli(c, "limits", "cpu") for c in together)
    memory_limit = value(pod_level, "limits", "memory") or _limit(value(c, "limits", "memory") for c in together)
    overhead: podspec.Object = {"resources": {"limits": pod["spec"].get("overhead") or {}}}
    if cpu_limit:
        cpu_limit = milli(overhead, "limits", "cpu") + max([cpu_limit, *(milli(c, "limits", "cpu") for c in inits)])
    if memory_limit:
        memory_limit = value(overhead, "limits", "memory") + max(
            [memory_limit, *(value(c, "limits", "memory") for c in inits)]
        )
    requested = milli(pod_level, "requests", "cpu") or pod_request(pod, "cpu")
    return interface.Resources(
        cpu_shares=shares(requested),
        cpu_quota_us=quota(cpu_limit),
        cpu_period_us=CPU_PERIOD_US,
        memory_bytes=memory_limit,
    )


def sandbox_resources(pod: podspec.Object, pids: int) -> interface.Resources:
    """Limits of the group that all processes of a pod are in."""
    return dataclasses.replace(pod_resources(pod) or interface.Resources(cpu_shares=MIN_SHARES), pids=pids)


BEST_EFFORT_GROUP = "besteffort"
BURSTABLE_GROUP = "burstable"
_GROUPS = {"BestEffort": BEST_EFFORT_GROUP, "Burstable": BURSTABLE_GROUP, "Guaranteed": ""}


def group(pod: podspec.Object) -> str:
    """The group of pods that its own lies in: guaranteed ones beside the groups of the others, as upstream has it."""
    return _GROUPS[pods.qos_class(pod["spec"])]


def group_resources(pods: Iterable[podspec.Object]) -> dict[str, interface.Resources]:
    """What weighs how much when the CPUs are wanted: burstable pods together what they request, best-effort ones next to nothing."""
    requested = sum(pod_request(pod, "cpu") for pod in pods if group(pod) == BURSTABLE_GROUP)
    return {
        BURSTABLE_GROUP: interface.Resources(cpu_shares=shares(requested)),
        BEST_EFFORT_GROUP: interface.Resources(cpu_shares=MIN_SHARES),
    }


def widest(left: interface.Resources, right: interface.Resources) -> interface.Resources:
    """Limits of a group in which what either of the two allows may run."""

    def larger(a: int, b: int) -> int:
        return max(a, b) if a and b else 0

    return dataclasses.replace(
        right,
        cpu_shares=max(left.cpu_shares, right.cpu_shares),
        cpu_quota_us=larger(left.cpu_quota_us, right.cpu_quota_us),
        memory_bytes=larger(left.memory_bytes, right.memory_bytes),
    )


def _limit(amounts: Iterable[int]) -> int:
    """The sum, or 0 (no limit) when one of them has none."""
    known = list(amounts)
    return sum(known) if all(known) else 0


def pod_request(pod: podspec.Object, resource: str) -> int:
    """What the scheduler counts for a pod: milli-units for cpu, whole units for the rest."""
    found = pods.requests(pod["spec"]).get(resource)
    return 0 if found is None else pods.units(resource, found)
