"""Claims of generic ephemeral volumes: made for one pod, owned by it, gone with it."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    pod = view.get(resources.PODS, *key)
    if pod is None or objects.is_deleting(pod):
        return []
    result: list[actions.Action] = []
    for volume in pod["spec"].get("volumes") or ():
        if not volume.get("ephemeral"):
            continue
        name = f"{key[1]}-{volume['name']}"
        present = view.get(resources.PERSISTENT_VOLUME_CLAIMS, key[0], name)
        if present is None:
            result.append(_creation(pod, name, volume["ephemeral"]["volumeClaimTemplate"]))
        elif not objects.is_controlled_by(present, pod):
            message = f"PVC {key[0]}/{name} was not created for pod {key[0]}/{key[1]} (pod is not owner)"
            result.append(actions.warning(pod, "EphemeralVolumeCreationFailed", message))
    return result


def _creation(pod: Object, name: str, template: Object) -> actions.Create:
    namespace = objects.namespace_of(pod)
    metadata = {
        "name": name,
        "namespace": namespace,
        "ownerReferences": [objects.owner_reference(pod, resources.PODS)],
    }
    for field in ("labels", "annotations"):
        if (template.get("metadata") or {}).get(field):
            metadata[field] = template["metadata"][field]
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
    return actions.Create(
        resources.PERSISTENT_VOLUME_CLAIMS,
        namespace,
        made,
        on_error=(
            actions.warning(pod, "EphemeralVolumeCreationFailed", f"create PVC {namespace}/{name}: {actions.ERROR}"),
        ),
    )


def _if_ephemeral(view: views.View, pod: Object) -> Iterable[objects.Key]:
    volumes = pod["spec"].get("volumes") or ()
    return [objects.key_of(pod)] if any(each.get("ephemeral") for each in volumes) else ()


def controller() -> loop.Controller:
    return loop.Controller(
        name="ephemeral-volume",
        user="ephemeral-volume-controller",
        watches=(
            loop.Watch(resources.PODS, _if_ephemeral),
            loop.Watch(resources.PERSISTENT_VOLUME_CLAIMS, loop.controller_key("Pod")),
        ),
        plan=plan,
    )
