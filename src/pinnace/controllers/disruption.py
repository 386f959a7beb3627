"""PodDisruptionBudgets: how many of the pods they protect may be taken away now.

Watches budgets, Pods and the workloads that say how many pods are expected. Owns the budgets' status, from which evictions
subtract. Guarantees: `disruptionsAllowed` counts no pod that was promised to an eviction and is still there.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import conditions, resources, selectors
from pinnace.controllers.framework import actions, labelled, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

# An eviction that was granted must have led to a deletion within so many seconds, or it is forgotten.
DELETION_SECONDS = 120.0
_SCALES = {
    "ReplicaSet": resources.REPLICA_SETS,
    "Deployment": resources.DEPLOYMENTS,
    "StatefulSet": resources.STATEFUL_SETS,
    "ReplicationController": resources.REPLICATION_CONTROLLERS,
}


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    budget = view.get(resources.POD_DISRUPTION_BUDGETS, *key)
    if budget is None:
        return []
    selector = selectors.from_object(budget["spec"].get("selector"))
    pods = labelled.pods_of(view, key[0], selector)
    promised, wait = _promised(budget, pods, now)
    healthy = sum(
        1
        for pod in pods
        if objects.is_pod_ready(pod) and not objects.is_deleting(pod) and objects.name_of(pod) not in promised
    )
    try:
        expected, desired = _numbers(view, budget, pods)
    except _UnknownScale as error:
        told = actions.warning(
            budget, "CalculateExpectedPodCountFailed", f"Failed to calculate the number of expected pods: {error}"
        )
        return [told, *_update(budget, _failed_status(budget, str(error), now))]
    allowed = max(0, healthy - desired) if expected > 0 else 0
    status: Object = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": [_condition(budget, allowed, now)],
    }
    if promised:
        status["disruptedPods"] = promised
    empty = [] if pods else [actions.normal(budget, "NoPods", "No matching pods found")]
    result = [*empty, *_update(budget, status)]
    return [*result, actions.Requeue(wait)] if wait else result


def _promised(budget: Object, pods: Sequence[Object], now: datetime.datetime) -> tuple[Object, float]:
    """Pods whose eviction was granted and that are not being deleted yet, and seconds until the next is forgotten."""
    there = {objects.name_of(pod) for pod in pods if not objects.is_deleting(pod)}
    promised: Object = {}
    waits = []
    for name, stamp in (objects.status_of(budget).get("disruptedPods") or {}).items():
        left = DELETION_SECONDS - objects.seconds_since(stamp, now)
        if name in there and left > 0:
            promised[name] = stamp
            waits.append(left)
    return promised, min(waits, default=0.0)


class _UnknownScale(Exception):
    """A pod's controller does not say how many pods it wants."""


def _numbers(view: views.View, budget: Object, pods: Sequence[Object]) -> tuple[int, int]:
    """(expected, desired healthy). Raises _UnknownScale."""
    spec = budget["spec"]
    limit = spec.get("maxUnavailable")
    if limit is not None:
        expected = _expected(view, pods)
        return expected, max(0, expected - objects.scaled_value(limit, expected, round_up=True))
    minimum = spec.get("minAvailable", 1)
    if isinstance(minimum, int):
        return len(pods), minimum
    expected = _expected(view, pods)
    return expected, objects.scaled_value(minimum, expected, round_up=True)


def _expected(view: views.View, pods: Sequence[Object]) -> int:
    """The sum of what the pods' controllers want; a pod without one has no such number."""
    wanted: dict[str, int] = {}
    for pod in pods:
        reference = objects.controller_of(pod)
        if reference is None:
            continue
        owner = _owner(view, objects.namespace_of(pod), reference)
        if owner is None:
            raise _UnknownScale(f"{reference['kind']} {reference['name']} does not tell how many pods it wants")
        parent = objects.controller_of(owner)
        if parent is not None and parent["kind"] == "Deployment":
            owner = _owner(view, objects.namespace_of(pod), parent) or owner
        wanted[objects.uid_of(owner)] = int(owner["spec"].get("replicas", 1))
    return sum(wanted.values())


def _owner(view: views.View, namespace: str, reference: Object) -> Object | None:
    resource = _SCALES.get(reference["kind"])
    found = view.get(resource, namespace, reference["name"]) if resource else None
    return found if found is not None and objects.uid_of(found) == reference["uid"] else None


def _condition(budget: Object, allowed: int, now: datetime.datetime) -> Object:
    status, reason = ("True", "SufficientPods") if allowed > 0 else ("False", "InsufficientPods")
    return _with_time(budget, status, reason, "", now)


def _failed_status(budget: Object, why: str, now: datetime.datetime) -> Object:
    """Nothing may be disrupted while nobody knows what is expected."""
    return {
        **objects.status_of(budget),
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": 0,
        "conditions": [_with_time(budget, "False", "SyncFailed", why, now)],
    }


def _with_time(budget: Object, status: str, reason: str, message: str, now: datetime.datetime) -> Object:
    made = {
        "type": "DisruptionAllowed",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"].get("generation", 0),
    }
    return conditions.stamped(objects.condition(budget, "DisruptionAllowed"), made, clock.rfc3339(now))


def _update(budget: Object, status: Object) -> list[actions.Action]:
    if objects.is_same_status(status, budget.get("status")):
        return []
    return [actions.Update(resources.POD_DISRUPTION_BUDGETS, {**budget, "status": status}, subresource="status")]


def _budgets_of_pod(view: views.View, pod: Object) -> Iterable[objects.Key]:
    labels = objects.labels_of(pod)
    for budget in view.list(resources.POD_DISRUPTION_BUDGETS, objects.namespace_of(pod)):
        if selectors.from_object(budget["spec"].get("selector")).matches(labels):
            yield objects.key_of(budget)


def _budgets_in_namespace(view: views.View, owner: Object) -> Iterable[objects.Key]:
    found = view.list(resources.POD_DISRUPTION_BUDGETS, objects.namespace_of(owner))
    return [objects.key_of(budget) for budget in found]


def controller() -> loop.Controller:
    return loop.Controller(
        name="disruption",
        user="disruption-controller",
        component="controllermanager",
        watches=(
            loop.Watch(resources.POD_DISRUPTION_BUDGETS, loop.own_key),
            loop.Watch(resources.PODS, _budgets_of_pod),
            *(loop.Watch(resource, _budgets_in_namespace) for resource in _SCALES.values()),
        ),
        indexes=(labelled.PODS,),
        plan=plan,
    )
