"""Finished Jobs with `ttlSecondsAfterFinished` are deleted when their time is over."""

import datetime
from collections.abc import Sequence

from pinnace.api import resources
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    job = view.get(resources.JOBS, *key)
    if job is None or objects.is_deleting(job):
        return []
    lifetime = job["spec"].get("ttlSecondsAfterFinished")
    ends = [
        each["lastTransitionTime"]
        for kind in ("Complete", "Failed")
        if (each := objects.condition(job, kind)) and each["status"] == "True"
    ]
    if lifetime is None or not ends:
        return []
    left = float(lifetime) - objects.seconds_since(ends[0], now)
    if left > 0:
        return [actions.Requeue(left)]
    # With the version that was judged: a lifetime that was prolonged meanwhile saves the job.
    version = job["metadata"]["resourceVersion"]
    uid = objects.uid_of(job)
    return [actions.Delete(resources.JOBS, *key, uid=uid, resource_version=version, propagation_policy="Foreground")]


def controller() -> loop.Controller:
    return loop.Controller(
        name="ttl-after-finished",
        user="ttl-after-finished-controller",
        watches=(loop.Watch(resources.JOBS, loop.own_key),),
        plan=plan,
        workers=2,
    )
