"""ReplicaSets and ReplicationControllers: as many active pods as asked for, no more.

Two controllers with one plan: the older kind differs in the form of its selector alone. Each watches its kind and Pods. Owns
the pods it made or adopted. Guarantees: never more creations than missing pods for any state of the caches that shows its own
last writes; a scale-down removes what hurts least first.
"""

import dataclasses
import datetime
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pinnace.api import conditions, resources, selectors
from pinnace.client import client
from pinnace.controllers.framework import actions, claims, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

BURST = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    resource: resources.Resource
    selector_of: Callable[[Object], selectors.LabelSelector]
    counts_terminating: bool
    """Its status tells how many pods are still ending."""


def _selector_of_older(obj: Object) -> selectors.LabelSelector:
    return selectors.from_labels(obj["spec"].get("selector") or {})


REPLICA_SET = Kind(resources.REPLICA_SETS, objects.selector_of, counts_terminating=True)
REPLICATION_CONTROLLER = Kind(resources.REPLICATION_CONTROLLERS, _selector_of_older, counts_terminating=False)


def plan_of(kind: Kind) -> loop.Plan:
    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        return _plan(kind, view, key, now)

    return plan


def _plan(kind: Kind, view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    replica_set = view.get(kind.resource, *key)
    if replica_set is None:
        return []
    owned = view.by_index(resources.PODS, "controller", objects.uid_of(replica_set))
    claimed = claims.claim(
        replica_set,
        kind.resource,
        kind.selector_of(replica_set),
        [pod for pod in owned if objects.is_pod_active(pod)],
        [pod for pod in view.by_index(resources.PODS, "orphan", key[0]) if objects.is_pod_active(pod)],
        resources.PODS,
    )
    pods = claimed.objects
    terminating = sum(1 for pod in owned if objects.is_deleting(pod) and not objects.is_pod_terminal(pod))
    result = list(claimed.writes)
    if not objects.is_deleting(replica_set):
        result += _manage(kind, view, replica_set, pods, terminating, now)
    result += _update_status(kind, replica_set, _status(kind, replica_set, pods, terminating, None, now))
    waits = [objects.seconds_until_available(pod, _min_ready(replica_set), now) for pod in pods]
    pending = [wait for wait in waits if wait]
    return [*result, actions.Requeue(min(pending) + 0.1)] if pending else result


def _min_ready(replica_set: Object) -> int:
    return int(replica_set["spec"].get("minReadySeconds") or 0)


def _manage(
    kind: Kind, view: views.View, replica_set: Object, pods: Sequence[Object], terminating: int, now: datetime.datetime
) -> list[actions.Action]:
    missing = _wanted(replica_set) - len(pods)

    if missing > 0:
        creations = [create_pod(replica_set, kind.resource) for _ in range(min(missing, BURST))]
        return [actions.Batch(creations, on_error=_Failed("FailedCreate", kind, replica_set, pods, terminating, now))]
    if missing < 0:
        victims = choose_victims(pods, _related_pods(kind, view, replica_set), min(-missing, BURST), now)
        deletions = [delete_pod(replica_set, pod) for pod in victims]
        return [actions.Batch(deletions, on_error=_Failed("FailedDelete", kind, replica_set, pods, terminating, now))]
    return []


@dataclasses.dataclass(frozen=True, slots=True)
class _Failed:
    """The status says why there are not as many pods as asked for."""

    reason: str
    kind: Kind
    replica_set: Object
    pods: Sequence[Object]
    terminating: int
    now: datetime.datetime

    def follow(self, error: client.ApiError) -> Sequence[actions.Action]:
        failure = {"reason": self.reason, "message": str(error)}
        status = _status(self.kind, self.replica_set, self.pods, self.terminating, failure, self.now)
        return _update_status(self.kind, self.replica_set, status)


def _wanted(replica_set: Object) -> int:
    return int(replica_set["spec"].get("replicas", 1))


def create_pod(owner: Object, resource: resources.Resource) -> actions.Create:
    """Creation of a pod from `owner`'s template, with upstream's events."""
    return actions.Create(
        resource=resources.PODS,
        namespace=objects.namespace_of(owner),
        obj=objects.pod_from_template(owner["spec"]["template"], owner, resource),
        then=(actions.normal(owner, "SuccessfulCreate", f"Created pod: {actions.NAME}"),),
        on_error=(actions.warning(owner, "FailedCreate", f"Error creating: {actions.ERROR}"),),
    )


def delete_pod(owner: Object, pod: Object) -> actions.Delete:
    name = objects.name_of(pod)
    return actions.Delete(
        resource=resources.PODS,
        namespace=objects.namespace_of(pod),
        name=name,
        uid=objects.uid_of(pod),
        then=(actions.normal(owner, "SuccessfulDelete", f"Deleted pod: {name}"),),
        on_error=(actions.warning(owner, "FailedDelete", f"Error deleting: {actions.ERROR}"),),
    )


def _related_pods(kind: Kind, view: views.View, replica_set: Object) -> list[Object]:
    """Of all ReplicaSets of the same owner: a node that holds several of them can spare one soonest."""
    owner = objects.controller_of(replica_set)
    siblings = view.by_index(kind.resource, "controller", owner["uid"]) if owner else [replica_set]
    return [pod for sibling in siblings for pod in view.by_index(resources.PODS, "controller", objects.uid_of(sibling))]


# -- which pods go first


def choose_victims(
    pods: Sequence[Object], related: Iterable[Object], count: int, now: datetime.datetime
) -> Sequence[Object]:
    """The `count` pods that are missed least: upstream's ActivePodsWithRanks order."""
    on_node: dict[str, int] = {}
    for pod in related:
        if objects.is_pod_active(pod):
            node = pod["spec"].get("nodeName", "")
            on_node[node] = on_node.get(node, 0) + 1

    def compare(left: Object, right: Object) -> int:
        return _compare(left, right, on_node, now)

    return sorted(pods, key=functools.cmp_to_key(compare))[:count]


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def _compare(left: Object, right: Object, on_node: dict[str, int], now: datetime.datetime) -> int:
    """Negative: `left` goes first."""
    for one, other in zip(_rank(left, on_node), _rank(right, on_node), strict=True):
        if one != other:
            return -1 if one < other else 1
    if objects.is_pod_ready(left) and objects.is_pod_ready(right):
        order = _compare_ages(_ready_since(left), _ready_since(right), left, right, now)
        if order:
            return order
    restarts = _restarts(right) - _restarts(left)
    if restarts:
        return restarts
    return _compare_ages(objects.created(left), objects.created(right), left, right, now)


def _rank(pod: Object, on_node: dict[str, int]) -> tuple[int, ...]:
    node = pod["spec"].get("nodeName", "")
    return (
        1 if node else 0,
        _PHASES.get(objects.status_of(pod).get("phase", ""), 0),
        1 if objects.is_pod_ready(pod) else 0,
        _deletion_cost(pod),
        -on_node.get(node, 0),
    )


def _deletion_cost(pod: Object) -> int:
    try:
        return int(objects.annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _ready_since(pod: Object) -> datetime.datetime | None:
    stamp = (objects.condition(pod, "Ready") or {}).get("lastTransitionTime")
    return clock.parse_rfc3339(stamp) if stamp else None


def _compare_ages(
    left_time: datetime.datetime | None,
    right_time: datetime.datetime | None,
    left: Object,
    right: Object,
    now: datetime.datetime,
) -> int:
    """Younger first, but only by orders of magnitude: within one it is chance (the uid), so that not always the youngest go."""
    if left_time == right_time:
        return 0
    if left_time is None or right_time is None:
        return -1 if left_time is None else 1
    difference = _magnitude(now - left_time) - _magnitude(now - right_time)
    if difference:
        return difference
    return -1 if objects.uid_of(left) < objects.uid_of(right) else 1


def _magnitude(age: datetime.timedelta) -> int:
    nanoseconds = age.total_seconds() * 1e9
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1


def _restarts(pod: Object) -> int:
    return max(
        (status.get("restartCount", 0) for status in objects.status_of(pod).get("containerStatuses") or ()), default=0
    )


# -- status


def _status(
    kind: Kind,
    replica_set: Object,
    pods: Sequence[Object],
    terminating: int,
    failure: Object | None,
    now: datetime.datetime,
) -> Object:
    """`failure`: reason and message of the ReplicaFailure condition, while creating or deleting fails."""
    template_labels = (replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}
    counts = {
        "fullyLabeledReplicas": sum(1 for pod in pods if template_labels.items() <= objects.labels_of(pod).items()),
        "readyReplicas": sum(1 for pod in pods if objects.is_pod_ready(pod)),
        "availableReplicas": sum(1 for pod in pods if objects.is_pod_available(pod, _min_ready(replica_set), now)),
    }
    status: Object = {
        "replicas": len(pods),
        **{field: count for field, count in counts.items() if count},
        **({"terminatingReplicas": terminating} if kind.counts_terminating else {}),
        "observedGeneration": replica_set["metadata"].get("generation", 0),
    }
    shown = list(objects.status_of(replica_set).get("conditions") or ())
    present = conditions.find(shown, "ReplicaFailure")
    if failure is None and present is not None:
        shown.remove(present)
    elif failure is not None and present is None:
        wanted = {"type": "ReplicaFailure", "status": "True", **failure}
        shown = conditions.with_condition(shown, wanted, clock.rfc3339(now))
    if shown:
        status["conditions"] = shown
    return status


def _update_status(kind: Kind, replica_set: Object, status: Object) -> list[actions.Action]:
    if objects.is_same_status(status, replica_set.get("status")):
        return []
    return [actions.Update(resource=kind.resource, obj={**replica_set, "status": status}, subresource="status")]


# -- registration


def orphan_keys(
    resource: resources.Resource,
    kind: str,
    selector_of: Callable[[Object], selectors.LabelSelector] = objects.selector_of,
) -> loop.Map:
    """Pods to keys: their controller's, or of every `resource` object in the namespace that may adopt them."""
    controlled = loop.controller_key(kind)

    def keys(view: views.View, pod: Object) -> Iterable[objects.Key]:
        if objects.controller_of(pod) is not None:
            return controlled(view, pod)
        candidates = view.list(resource, objects.namespace_of(pod))
        labels = objects.labels_of(pod)
        return [objects.key_of(owner) for owner in candidates if selector_of(owner).matches(labels)]

    return keys


def controllers() -> Sequence[loop.Controller]:
    return [
        _controller(REPLICA_SET, name="replicaset", user="replicaset-controller", component="replicaset-controller"),
        _controller(
            REPLICATION_CONTROLLER,
            name="replicationcontroller",
            user="replication-controller",
            component="replication-controller",
        ),
    ]


def _controller(kind: Kind, *, name: str, user: str, component: str) -> loop.Controller:
    return loop.Controller(
        name=name,
        user=user,
        component=component,
        watches=(
            loop.Watch(kind.resource, loop.own_key),
            loop.Watch(resources.PODS, orphan_keys(kind.resource, kind.resource.kind, kind.selector_of)),
        ),
        indexes=(
            (resources.PODS, "controller", objects.index_by_controller),
            (resources.PODS, "orphan", objects.index_orphans),
            (kind.resource, "controller", objects.index_by_controller),
        ),
        plan=plan_of(kind),
    )
