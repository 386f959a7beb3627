"""In-place resize: what of a pod's new requests and limits the node grants, and what is left to be done about them. Pure.

The API's pod says what is *wanted*; the pod that everything else in the agent sees has what was *granted*; what a running container got is
its *actual* share. Requests that do not fit stay pending (`PodResizePending`), granted ones are in progress until they are actual.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pinnace.api import pods, quantity
from pinnace.kubelet.node import admission
from pinnace.kubelet.pod import model, podspec, qos

LISTS = ("initContainers", "containers")
INFEASIBLE, DEFERRED = "Infeasible", "Deferred"


@dataclasses.dataclass(frozen=True, slots=True)
class Allocation:
    pod: model.Object
    """As the API has it, with the resources that are granted."""
    pending: model.Waiting | None = None
    """Why the wanted ones are not."""


def allocate(
    wanted: model.Object, granted: model.Object, node: model.Object, others: Sequence[model.Object]
) -> Allocation:
    """`others`: the other pods of the node, with what they were granted."""
    if same_pod_resources(wanted, granted):
        return Allocation(wanted)
    refusal = _too_large(wanted, node) or _no_room(wanted, node, others)
    return Allocation(wanted) if refusal is None else Allocation(with_resources(wanted, granted), refusal)


def _too_large(pod: model.Object, node: model.Object) -> model.Waiting | None:
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    for resource in pods.COMPUTE:
        read = quantity.milli if resource == "cpu" else quantity.value
        requested, capacity = qos.pod_request(pod, resource), read(str(allocatable.get(resource, "0")))
        if requested > capacity:
            text = f"Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
            return model.Waiting(INFEASIBLE, text)
    return None


def _no_room(pod: model.Object, node: model.Object, others: Sequence[model.Object]) -> model.Waiting | None:
    shortage = admission.shortage(pod, node, others)
    return None if shortage is None else model.Waiting(DEFERRED, shortage.message)


def as_actual(pod: model.Object) -> model.Object:
    """The pod with the resources that its status says its containers have: what was granted before this agent began."""
    shown: dict[str, Any] = {}
    for field in ("initContainerStatuses", "containerStatuses"):
        for entry in (pod.get("status") or {}).get(field) or ():
            if "running" in (entry.get("state") or {}) and "resources" in entry:
                shown[entry["name"]] = entry["resources"]
    made = _replaced(pod, shown)
    whole = (pod.get("status") or {}).get("resources")
    if whole and "resources" in made["spec"]:
        made["spec"]["resources"] = whole
    return made


def with_resources(pod: model.Object, source: model.Object) -> model.Object:
    """`pod` with the containers' (and the pod's own) resources of `source`."""
    known = {each["name"]: each.get("resources") or {} for field in LISTS for each in source["spec"].get(field) or ()}
    made = _replaced(pod, known)
    if "resources" in source["spec"]:
        made["spec"]["resources"] = source["spec"]["resources"]
    return made


def _replaced(pod: model.Object, resources: Mapping[str, Any]) -> model.Object:
    spec = dict(pod["spec"])
    for field in LISTS:
        if spec.get(field):
            spec[field] = [
                {**each, "resources": resources[each["name"]]} if each["name"] in resources else each
                for each in spec[field]
            ]
    return {**pod, "spec": spec}


# ---------------------------------------------------------------- what is the same


def same_pod_resources(left: model.Object, right: model.Object) -> bool:
    if not same(left["spec"].get("resources"), right["spec"].get("resources")):
        return False
    known = {each["name"]: each.get("resources") for field in LISTS for each in right["spec"].get(field) or ()}
    return all(
        same(each.get("resources"), known.get(each["name"]))
        for field in LISTS
        for each in left["spec"].get(field) or ()
    )


def same(left: model.Object | None, right: model.Object | None) -> bool:
    return not changed(left, right)


def changed(left: model.Object | None, right: model.Object | None) -> set[str]:
    """The resources (`cpu`, `memory` …) of which a request or limit differs."""
    found = set()
    for what in ("requests", "limits"):
        before, after = (left or {}).get(what) or {}, (right or {}).get(what) or {}
        for name in {*before, *after}:
            both = name in before and name in after
            if not both or quantity.compare(str(before[name]), str(after[name])) != 0:
                found.add(name)
    return found


# ---------------------------------------------------------------- what is left to do


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """Names of running containers whose actual resources are not the granted ones."""

    live: tuple[str, ...] = ()
    """To be changed while they run."""
    restart: tuple[str, ...] = ()
    """Their resizePolicy wants a restart."""

    @property
    def is_any(self) -> bool:
        return bool(self.live or self.restart)


def left(pod: model.Object, observed: model.Observed, actual: Mapping[str, model.Object]) -> Left:
    """`actual`: by container id."""
    live: list[str] = []
    restart: list[str] = []
    for role, container in podspec.containers(pod):
        if role is podspec.Role.EPHEMERAL:
            continue
        latest = observed.latest(container["name"])
        if latest is None or not latest.is_alive or latest.id not in actual:
            continue
        differing = changed(actual[latest.id], container.get("resources"))
        if differing:
            (restart if _wants_restart(container, differing) else live).append(container["name"])
    return Left(tuple(live), tuple(restart))


def _wants_restart(container: model.Object, differing: set[str]) -> bool:
    return any(
        policy.get("resourceName") in differing and policy.get("restartPolicy") == "RestartContainer"
        for policy in container.get("resizePolicy") or ()
    )


def summary(pod: model.Object, error: str = "") -> str:
    """What events say of a resize."""
    found: dict[str, Any] = {
        field: [{"name": each["name"], "resources": each.get("resources") or {}} for each in pod["spec"][field]]
        for field in LISTS
        if pod["spec"].get(field)
    }
    found["generation"] = podspec.generation(pod)
    if error:
        found["error"] = error
    return orjson.dumps(found).decode()
