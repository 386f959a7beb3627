"""Pods that must go: from nodes with NoExecute taints, from nodes that are gone, and finished ones beyond the limit.

Two controllers: taint eviction plans pods one by one, pod garbage collection goes round all of them by a timer.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.api import pods as facts
from pinnace.client import client
from pinnace.controllers import node
from pinnace.controllers import settings as settings_module
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
# A node that vanished from the cache may be about to come back: its pods are spared for so long.
QUARANTINE_SECONDS = 40.0


# -- taints


def seconds_allowed(pod: Object, taints: Sequence[Object]) -> float | None:
    """How long the pod may stay with these NoExecute taints: 0 when one is not tolerated, None: for ever."""
    tolerations = pod["spec"].get("tolerations") or ()
    used = []
    for taint in taints:
        matching = [each for each in tolerations if facts.tolerates(each, taint)]
        if not matching:
            return 0.0
        used += matching
    limits = [float(each["tolerationSeconds"]) for each in used if each.get("tolerationSeconds") is not None]
    return max(0.0, min(limits)) if limits else None


def no_execute_taints(found: Object) -> list[Object]:
    return [taint for taint in found["spec"].get("taints") or () if taint["effect"] == "NoExecute"]


class Stays:
    """Since when each pod has been on a node with NoExecute taints, by our own clock."""

    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._since: dict[str, float] = {}

    async def observe(self, api: client.Client, view: views.View, key: objects.Key) -> float:
        pod = view.get(resources.PODS, *key)
        if pod is None:
            return 0.0
        uid = objects.uid_of(pod)
        found = view.get(resources.NODES, None, pod["spec"].get("nodeName", ""))
        if found is None or not no_execute_taints(found):
            self._since.pop(uid, None)
            return 0.0
        now = self._clock.monotonic()
        return now - self._since.setdefault(uid, now)


def plan_taints(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    pod = view.get(resources.PODS, *key)
    if pod is None or objects.is_deleting(pod):
        return []
    found = view.get(resources.NODES, None, pod["spec"].get("nodeName", ""))
    taints = no_execute_taints(found) if found is not None else []
    if not taints:
        return []
    allowed = seconds_allowed(pod, taints)
    if allowed is None:
        return []
    if view.live < allowed:
        return [actions.Requeue(allowed - view.live)]
    name = "/".join(key)
    return [
        actions.normal(pod, "TaintManagerEviction", f"Marking for deletion Pod {name}"),
        _disrupted(pod, now, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        actions.Delete(resources.PODS, *key, uid=objects.uid_of(pod)),
    ]


def _disrupted(
    pod: Object, now: datetime.datetime, reason: str, message: str, *, is_failed: bool = False
) -> actions.Patch:
    """Tell in the pod's status why it goes, before it goes."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": clock.rfc3339(now),
        "observedGeneration": pod["metadata"].get("generation", 0),
    }
    status: Object = {"conditions": [condition]}
    if is_failed:
        status["phase"] = "Failed"
    patch = {"metadata": {"uid": objects.uid_of(pod)}, "status": status}
    return actions.Patch(
        resources.PODS, *objects.key_of(pod), patch, kind="strategic", subresource="status", is_optional=True
    )


# -- collection


@dataclasses.dataclass(frozen=True, slots=True)
class Gone:
    """Nodes that pods name and that are not there, asked of the API itself."""

    nodes: frozenset[str]


class MissingNodes:
    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._since: dict[str, float] = {}

    async def observe(self, api: client.Client, view: views.View, key: objects.Key) -> Gone:
        present = {objects.name_of(each) for each in view.list(resources.NODES)}
        named = {pod["spec"]["nodeName"] for pod in view.list(resources.PODS) if pod["spec"].get("nodeName")}
        missing = named - present
        now = self._clock.monotonic()
        self._since = {name: self._since.get(name, now) for name in missing}
        gone = set()
        for name, since in self._since.items():
            if now - since < QUARANTINE_SECONDS:
                continue
            try:
                await api.get(resources.NODES, None, name)
            except client.NotFound:
                gone.add(name)
        return Gone(frozenset(gone))


def plan_collection_for(limit: int) -> loop.Plan:
    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        nodes = {objects.name_of(each): each for each in view.list(resources.NODES)}
        pods = view.list(resources.PODS)
        writes: list[actions.Action] = [_force(pod) for pod in _surplus(pods, limit)]
        for pod in pods:
            name = pod["spec"].get("nodeName", "")
            if name in view.live.nodes:
                writes += _collect(pod, now, "PodGC: node no longer exists")
            elif objects.is_deleting(pod) and not name:
                writes.append(_force(pod))
            elif objects.is_deleting(pod) and _is_out_of_service(nodes, name):
                writes += _collect(pod, now, "PodGC: node is out of service")
        return writes

    return plan


def _surplus(pods: Sequence[Object], limit: int) -> Sequence[Object]:
    finished = [pod for pod in pods if objects.is_pod_terminal(pod)]
    excess = len(finished) - limit
    if limit <= 0 or excess <= 0:
        return []
    return sorted(finished, key=lambda pod: (objects.created(pod), objects.key_of(pod)))[:excess]


def _is_out_of_service(nodes: Mapping[str, Object], name: str) -> bool:
    found = nodes.get(name)
    if found is None or conditions.is_true(found, "Ready"):
        return False
    return any(taint["key"] == OUT_OF_SERVICE for taint in found["spec"].get("taints") or ())


def _collect(pod: Object, now: datetime.datetime, message: str) -> list[actions.Action]:
    if objects.is_pod_terminal(pod):
        return [_force(pod)]
    return [_disrupted(pod, now, "DeletionByPodGC", message, is_failed=True), _force(pod)]


def _force(pod: Object) -> actions.Delete:
    return actions.Delete(
        resources.PODS, *objects.key_of(pod), uid=objects.uid_of(pod), grace_period_seconds=0, is_optional=True
    )


# -- registration


def _own_if_bound(view: views.View, pod: Object) -> Iterable[objects.Key]:
    return [objects.key_of(pod)] if pod["spec"].get("nodeName") else ()


def _pods_of_tainted_node(view: views.View, found: Object) -> Iterable[objects.Key]:
    if not no_execute_taints(found):
        return ()
    return [objects.key_of(pod) for pod in view.by_index(resources.PODS, "node", objects.name_of(found))]


def controllers(settings: settings_module.Settings, time: clock.Clock) -> Sequence[loop.Controller]:
    taints = loop.Controller(
        name="taint-eviction-controller",
        user="node-controller",
        component="taint-eviction-controller",
        watches=(
            loop.Watch(resources.PODS, _own_if_bound),
            loop.Watch(resources.NODES, _pods_of_tainted_node),
        ),
        indexes=((resources.PODS, "node", node.index_by_node),),
        observe=Stays(time).observe,
        plan=plan_taints,
    )
    collection = loop.Controller(
        name="pod-garbage-collector",
        user="pod-garbage-collector",
        component="pod-garbage-collector-controller",
        watches=(),
        reads=(resources.PODS, resources.NODES),
        observe=MissingNodes(time).observe,
        plan=plan_collection_for(settings.terminated_pod_limit),
        resync_seconds=settings.pod_gc_period,
        timer_keys=(("", ""),),
        workers=1,
    )
    return [taints, collection]
