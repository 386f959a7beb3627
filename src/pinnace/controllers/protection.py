"""Claims and classes in use and volumes bound are not taken away under their users: the protection finalizers.

Three controllers. Admission sets the finalizers; they are taken away here when the object is being deleted and nobody uses it.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.client import client
from pinnace.controllers import volumebinder
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
CLASS_FINALIZER = "kubernetes.io/vac-protection"


def _set_finalizers(resource: resources.Resource, obj: Object, finalizers: Sequence[str]) -> actions.Update:
    return actions.Update(resource, {**obj, "metadata": {**obj["metadata"], "finalizers": list(finalizers)}})


def _toggle(resource: resources.Resource, obj: Object, finalizer: str, *, is_used: bool) -> list[actions.Action]:
    present = objects.finalizers_of(obj)
    if objects.is_deleting(obj):
        if finalizer not in present or is_used:
            return []
        return [_set_finalizers(resource, obj, [each for each in present if each != finalizer])]
    return [] if finalizer in present else [_set_finalizers(resource, obj, [*present, finalizer])]


def _uses(pod: Object, claim_name: str) -> bool:
    """Only a pod that has a node: no other will be started with a claim that is going."""
    return bool(pod["spec"].get("nodeName")) and claim_name in volumebinder.claims_of_pod(pod)


async def observe_claim(api: client.Client, view: views.View, key: objects.Key) -> bool:
    """Whether some pod uses the claim; the API itself is asked when the cache knows of none."""
    claim = view.get(resources.PERSISTENT_VOLUME_CLAIMS, *key)
    if claim is None or not objects.is_deleting(claim):
        return False
    name = "/".join(key)
    if any(_uses(pod, name) for pod in view.by_index(resources.PODS, "claim", name)):
        return True
    return any(_uses(pod, name) for pod in (await api.list(resources.PODS, key[0])).items)


def plan_claim(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    claim = view.get(resources.PERSISTENT_VOLUME_CLAIMS, *key)
    if claim is None:
        return []
    return _toggle(resources.PERSISTENT_VOLUME_CLAIMS, claim, CLAIM_FINALIZER, is_used=bool(view.live))


def plan_volume(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    volume = view.get(resources.PERSISTENT_VOLUMES, *key)
    if volume is None:
        return []
    is_used = objects.status_of(volume).get("phase") == "Bound"
    return _toggle(resources.PERSISTENT_VOLUMES, volume, VOLUME_FINALIZER, is_used=is_used)


def plan_class(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    """Of the attributes that a volume shall have or has; a change from one class to another holds both."""
    found = view.get(resources.VOLUME_ATTRIBUTES_CLASSES, *key)
    if found is None:
        return []
    users = (*view.list(resources.PERSISTENT_VOLUME_CLAIMS), *view.list(resources.PERSISTENT_VOLUMES))
    is_used = any(key in _classes_of(view, user) for user in users)
    return _toggle(resources.VOLUME_ATTRIBUTES_CLASSES, found, CLASS_FINALIZER, is_used=is_used)


def _classes_of(view: views.View, user: Object) -> Iterable[objects.Key]:
    """Of a claim or a volume."""
    status = objects.status_of(user)
    change = status.get("modifyVolumeStatus") or {}
    names = (
        user["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        change.get("targetVolumeAttributesClassName"),
    )
    return {("", name) for name in names if name}


def _claims_of_pod(view: views.View, pod: Object) -> Iterable[objects.Key]:
    for name in volumebinder.claims_of_pod(pod):
        namespace, _, claim = name.partition("/")
        yield namespace, claim


def controllers() -> Sequence[loop.Controller]:
    claims = loop.Controller(
        name="persistentvolumeclaim-protection",
        user="pvc-protection-controller",
        watches=(
            loop.Watch(resources.PERSISTENT_VOLUME_CLAIMS, loop.own_key),
            loop.Watch(resources.PODS, _claims_of_pod),
        ),
        indexes=((resources.PODS, "claim", volumebinder.claims_of_pod),),
        observe=observe_claim,
        plan=plan_claim,
    )
    volumes = loop.Controller(
        name="persistentvolume-protection",
        user="pv-protection-controller",
        watches=(loop.Watch(resources.PERSISTENT_VOLUMES, loop.own_key),),
        plan=plan_volume,
    )
    classes = loop.Controller(
        name="volumeattributesclass-protection",
        user="volumeattributesclass-protection-controller",
        watches=(
            loop.Watch(resources.VOLUME_ATTRIBUTES_CLASSES, loop.own_key),
            loop.Watch(resources.PERSISTENT_VOLUME_CLAIMS, _classes_of),
            loop.Watch(resources.PERSISTENT_VOLUMES, _classes_of),
        ),
        plan=plan_class,
        workers=1,
    )
    return [claims, volumes, classes]
