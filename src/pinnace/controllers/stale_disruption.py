"""Pods that were to be disrupted and were not: after a while they say so no more.

Watches Pods. Whoever takes a pod away says why in its status first (condition DisruptionTarget) and deletes it then; when the second
step never comes, the condition would be a lie. What the node itself ends takes as long as it takes, and is left alone.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

STALE_SECONDS = 120.0
_CONDITION = "DisruptionTarget"
_BY_KUBELET = "TerminationByKubelet"


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    pod = view.get(resources.PODS, *key)
    if pod is None or not _is_announced(pod):
        return []
    announced = objects.condition(pod, _CONDITION) or {}
    left = STALE_SECONDS - objects.seconds_since(announced["lastTransitionTime"], now)
    if left > 0:
        return [actions.Requeue(left)]
    withdrawn = {
        "type": _CONDITION,
        "status": "False",
        "lastTransitionTime": clock.rfc3339(now),
        "observedGeneration": pod["metadata"].get("generation", 0),
    }
    status = objects.status_of(pod)
    conditions = [withdrawn if each is announced else each for each in status["conditions"]]
    updated = {**pod, "status": {**status, "conditions": conditions}}
    return [actions.Update(resources.PODS, updated, subresource="status")]


def _is_announced(pod: Object) -> bool:
    found = objects.condition(pod, _CONDITION)
    return (
        found is not None
        and found.get("status") == "True"
        and found.get("reason") != _BY_KUBELET
        and bool(found.get("lastTransitionTime"))
        and objects.is_pod_active(pod)
    )


def _keys(view: views.View, pod: Object) -> Iterable[objects.Key]:
    return [objects.key_of(pod)] if _is_announced(pod) else ()


def controller() -> loop.Controller:
    return loop.Controller(
        name="stale-disruption",
        user="disruption-controller",
        component="controllermanager",
        watches=(loop.Watch(resources.PODS, _keys),),
        plan=plan,
        workers=1,
    )
