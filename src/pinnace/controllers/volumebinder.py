"""Claims and volumes find each other: static matching, dynamic provisioning, binding, release and reclaim.

Two controllers over the same caches: one plans claims, one plans volumes, as upstream's PV controller does with two queues.
Guarantees: a volume is bound to one claim at a time, by uid; a binding is written to the volume first, so that two claims
racing for it are decided by the volume's resourceVersion; data is given up only when the claim is gone from the API itself.
"""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import conditions, pods, quantity, resources, selectors
from pinnace.client import client
from pinnace.controllers import local_provisioner
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_STORAGE_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
IS_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
NO_PROVISIONER = "kubernetes.io/no-provisioner"
CLAIMS = resources.PERSISTENT_VOLUME_CLAIMS
VOLUMES = resources.PERSISTENT_VOLUMES


def class_of(obj: Object) -> str:
    """Of a claim or a volume; "" is the class of what has none."""
    annotated = objects.annotations_of(obj).get(BETA_CLASS)
    return annotated if annotated is not None else obj["spec"].get("storageClassName") or ""


def _has_class(claim: Object) -> bool:
    """Even "" is one: it asks for volumes without a class."""
    return BETA_CLASS in objects.annotations_of(claim) or claim["spec"].get("storageClassName") is not None


def _is_default(storage: Object) -> bool:
    return any(objects.annotations_of(storage).get(name) == "true" for name in IS_DEFAULT)


def default_class(view: views.View) -> Object | None:
    """The class of claims that name none: of several the newest, then the first by name."""
    found = [each for each in view.list(resources.STORAGE_CLASSES) if _is_default(each)]
    return max(sorted(found, key=objects.name_of), key=objects.created, default=None)


# -- claims


def plan_claim(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    claim = view.get(CLAIMS, *key)
    if claim is None:
        return []
    if BIND_COMPLETED in objects.annotations_of(claim):
        return _plan_bound(view, claim)
    if objects.is_deleting(claim):
        return []
    name = claim["spec"].get("volumeName")
    if not name:
        return _plan_unbound(view, claim)
    volume = view.get(VOLUMES, None, name)
    if volume is None:
        return _set_phase(claim, "Pending")
    reference = volume["spec"].get("claimRef")
    if reference is None:
        why = _mismatch(volume, claim)
        if why:
            message = f'Cannot bind to requested volume "{name}": {why}'
            return [actions.warning(claim, "VolumeMismatch", message), *_set_phase(claim, "Pending")]
        return _bind(volume, claim)
    return _bind(volume, claim) if _is_for(reference, claim) else _set_phase(claim, "Pending")


def _plan_bound(view: views.View, claim: Object) -> list[actions.Action]:
    name = claim["spec"].get("volumeName")
    if not name:
        return _lose(
            claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        )
    volume = view.get(VOLUMES, None, name)
    if volume is None:
        return _lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
    reference = volume["spec"].get("claimRef")
    if reference is None or _is_for(reference, claim):
        return _bind(volume, claim)
    return _lose(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")


def _lose(claim: Object, reason: str, message: str) -> list[actions.Action]:
    if objects.status_of(claim).get("phase") == "Lost":
        return []
    updated = {**claim, "status": {"phase": "Lost"}}
    told = actions.warning(claim, reason, message)
    return [actions.Update(CLAIMS, updated, subresource="status", then=(told,))]


def _set_phase(claim: Object, phase: str) -> list[actions.Action]:
    status = objects.status_of(claim)
    if status.get("phase") == phase:
        return []
    return [actions.Update(CLAIMS, {**claim, "status": {**status, "phase": phase}}, subresource="status")]


def _plan_unbound(view: views.View, claim: Object) -> list[actions.Action]:
    storage = view.get(resources.STORAGE_CLASSES, None, class_of(claim)) if class_of(claim) else None
    is_waiting = (
        storage is not None
        and storage.get("volumeBindingMode") == "WaitForFirstConsumer"
        and SELECTED_NODE not in objects.annotations_of(claim)
    )
    volume = find_match(view, claim, only_reserved=is_waiting)
    if volume is not None:
        return _bind(volume, claim)
    default = None if _has_class(claim) else default_class(view)
    if default is not None:
        wanted = {**claim["spec"], "storageClassName": objects.name_of(default)}
        return [actions.Update(CLAIMS, {**claim, "spec": wanted})]
    if is_waiting:
        told = _waiting(view, claim)
    elif storage is not None:
        return [*_provision(view, claim, storage), *_set_phase(claim, "Pending")]
    elif class_of(claim):
        message = f'storageclass.storage.k8s.io "{class_of(claim)}" not found'
        told = actions.warning(claim, "ProvisioningFailed", message)
    else:
        message = "no persistent volumes available for this claim and no storage class is set"
        told = actions.normal(claim, "FailedBinding", message)
    return [told, *_set_phase(claim, "Pending"), actions.Requeue(15.0)]


def _waiting(view: views.View, claim: Object) -> actions.Record:
    name = f"{objects.namespace_of(claim)}/{objects.name_of(claim)}"
    unscheduled = [
        objects.name_of(pod) for pod in view.by_index(resources.PODS, "claim", name) if not pod["spec"].get("nodeName")
    ]
    if unscheduled:
        message = f"waiting for pod {','.join(sorted(unscheduled))} to be scheduled"
        return actions.normal(claim, "WaitForPodScheduled", message)
    message = "waiting for first consumer to be created before binding"
    return actions.normal(claim, "WaitForFirstConsumer", message)


# -- matching


def find_match(view: views.View, claim: Object, *, only_reserved: bool) -> Object | None:
    """The volume reserved for this claim, else the smallest free one that satisfies it.

    `only_reserved`: the node is not known yet, so free volumes must wait for the scheduler's choice."""
    node_name = objects.annotations_of(claim).get(SELECTED_NODE)
    node = view.get(resources.NODES, None, node_name) if node_name else None
    best: Object | None = None
    for volume in view.list(VOLUMES):
        reference = volume["spec"].get("claimRef")
        if reference is not None:
            if _is_for(reference, claim) and not objects.is_deleting(volume) and not _mismatch(volume, claim):
                return volume
            continue
        if only_reserved or objects.is_deleting(volume) or objects.status_of(volume).get("phase") != "Available":
            continue
        if _mismatch(volume, claim) or not _selects(claim, volume):
            continue
        if node is not None and not _fits(volume, node):
            continue
        if best is None or _size(volume) < _size(best):
            best = volume
    return best


def _mismatch(volume: Object, claim: Object) -> str:
    """Why the volume cannot satisfy the claim; "" when it can."""
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    if requests.get("storage") and _size(volume) < quantity.value(requests["storage"]):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if volume["spec"].get("volumeMode", "Filesystem") != claim["spec"].get("volumeMode", "Filesystem"):
        return "incompatible volumeMode"
    if not set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
        return "incompatible accessMode"
    return ""


def _selects(claim: Object, volume: Object) -> bool:
    selector = claim["spec"].get("selector")
    return selector is None or selectors.from_object(selector).matches(objects.labels_of(volume))


def _fits(volume: Object, node: Object) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or pods.selects(required, node)


def _size(volume: Object) -> int:
    return quantity.value((volume["spec"].get("capacity") or {}).get("storage", "0"))


def _is_for(reference: Object, claim: Object) -> bool:
    """A reference without a uid reserves the volume for whatever claim comes by that name."""
    return (
        reference.get("namespace") == objects.namespace_of(claim)
        and reference.get("name") == objects.name_of(claim)
        and reference.get("uid") in (None, "", objects.uid_of(claim))
    )


# -- binding


def _bind(volume: Object, claim: Object) -> list[actions.Action]:
    """The next write of four: volume's spec and status, claim's spec and status. Each is planned when the one before shows."""
    reference = volume["spec"].get("claimRef") or {}
    if reference.get("uid") != objects.uid_of(claim):
        annotations = dict(objects.annotations_of(volume))
        if not reference:
            annotations[BOUND_BY_CONTROLLER] = "yes"
        bound = {**volume["spec"], "claimRef": local_provisioner.claim_reference(claim)}
        return [actions.Update(VOLUMES, _with_annotations({**volume, "spec": bound}, annotations))]
    if objects.status_of(volume).get("phase") != "Bound":
        return _set_volume_phase(volume, "Bound")
    annotations = dict(objects.annotations_of(claim))
    if claim["spec"].get("volumeName") != objects.name_of(volume) or BIND_COMPLETED not in annotations:
        if not claim["spec"].get("volumeName"):
            annotations[BOUND_BY_CONTROLLER] = "yes"
        annotations[BIND_COMPLETED] = "yes"
        bound = {**claim["spec"], "volumeName": objects.name_of(volume)}
        return [actions.Update(CLAIMS, _with_annotations({**claim, "spec": bound}, annotations))]
    status = objects.status_of(claim)
    if status.get("phase") == "Bound" and status.get("capacity"):
        return []
    updated = {
        **status,
        "phase": "Bound",
        "accessModes": volume["spec"].get("accessModes"),
        "capacity": volume["spec"].get("capacity"),
    }
    return [actions.Update(CLAIMS, {**claim, "status": updated}, subresource="status")]


def _with_annotations(obj: Object, annotations: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


# -- provisioning


def _provision(view: views.View, claim: Object, storage: Object) -> list[actions.Action]:
    provisioner = storage.get("provisioner", "")
    if provisioner == NO_PROVISIONER:
        return [actions.normal(claim, "FailedBinding", "no volume plugin matched"), actions.Requeue(15.0)]
    annotations = objects.annotations_of(claim)
    if annotations.get(STORAGE_PROVISIONER) != provisioner:
        marked = {**annotations, STORAGE_PROVISIONER: provisioner, BETA_STORAGE_PROVISIONER: provisioner}
        return [actions.Update(CLAIMS, _with_annotations(claim, marked))]
    if provisioner != local_provisioner.PROVISIONER:
        message = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is delayed, "
            "please verify that the provisioner is running and correctly registered."
        )
        return [actions.normal(claim, "ExternalProvisioning", message), actions.Requeue(15.0)]
    try:
        made = local_provisioner.volume_for(claim, storage, _node_for(view, claim))
    except local_provisioner.CannotProvision as error:
        message = f'failed to provision volume with StorageClass "{objects.name_of(storage)}": {error}'
        return [actions.warning(claim, "ProvisioningFailed", message), *_choose_again(view, claim)]
    name = objects.name_of(made)
    done = actions.normal(claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name}")
    return [actions.Create(VOLUMES, None, made, then=(done,))]


def _node_for(view: views.View, claim: Object) -> Object:
    """Where the volume will be: on the scheduler's choice, or, for a class that does not wait, on any node that is ready."""
    chosen = objects.annotations_of(claim).get(SELECTED_NODE)
    if chosen:
        node = view.get(resources.NODES, None, chosen)
        if node is None:
            raise local_provisioner.CannotProvision(f'node "{chosen}" not found')
        return node
    for node in sorted(view.list(resources.NODES), key=objects.name_of):
        has_folder = local_provisioner.VOLUME_DIR in objects.annotations_of(node)
        if has_folder and conditions.is_true(node, "Ready"):
            return node
    raise local_provisioner.CannotProvision("no node is ready to hold it")


def _choose_again(view: views.View, claim: Object) -> list[actions.Action]:
    """A choice that cannot be carried out is taken back: the scheduler makes another."""
    annotations = dict(objects.annotations_of(claim))
    if annotations.pop(SELECTED_NODE, None) is None:
        return [actions.Requeue(15.0)]
    return [actions.Update(CLAIMS, _with_annotations(claim, annotations))]


# -- volumes


async def observe_volume(api: client.Client, view: views.View, key: objects.Key) -> bool:
    """Whether the claim of a volume is really gone: asked of the API before data is given up."""
    volume = view.get(VOLUMES, *key)
    reference = volume["spec"].get("claimRef") if volume else None
    if not reference or not reference.get("uid"):
        return False
    cached = view.get(CLAIMS, reference["namespace"], reference["name"])
    if cached is not None and objects.uid_of(cached) == reference["uid"]:
        return False
    try:
        live = await api.get(CLAIMS, reference["namespace"], reference["name"])
    except client.NotFound:
        return True
    return bool(live["metadata"]["uid"] != reference["uid"])


def plan_volume(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    volume = view.get(VOLUMES, *key)
    if volume is None:
        return []
    if objects.is_deleting(volume):
        # What keeps it is its claim: when that is gone, the volume is let go, and only then.
        return [*(_release(volume) if view.live else ()), *_give_up_node(view, volume)]
    reference = volume["spec"].get("claimRef")
    if not reference or not reference.get("uid"):
        return _set_volume_phase(volume, "Available")
    if view.live:
        return _release(volume)
    claim = view.get(CLAIMS, reference["namespace"], reference["name"])
    if claim is None or objects.uid_of(claim) != reference["uid"]:
        return []  # The cache has not seen it yet.
    bound = claim["spec"].get("volumeName")
    if not bound:
        return []  # The claim's own plan goes on from here.
    if bound == objects.name_of(volume):
        return _set_volume_phase(volume, "Bound")
    if local_provisioner.PROVISIONED_BY in objects.annotations_of(volume) and _policy(volume) == "Delete":
        return _release(volume)
    return _unbind(volume)


def _set_volume_phase(volume: Object, phase: str) -> list[actions.Action]:
    status = objects.status_of(volume)
    if status.get("phase") == phase:
        return []
    return [actions.Update(VOLUMES, {**volume, "status": {**status, "phase": phase}}, subresource="status")]


def _policy(volume: Object) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy", "Retain"))


def _release(volume: Object) -> list[actions.Action]:
    if objects.status_of(volume).get("phase") not in ("Released", "Failed"):
        return _set_volume_phase(volume, "Released")
    provisioner = objects.annotations_of(volume).get(local_provisioner.PROVISIONED_BY)
    if objects.is_deleting(volume) or _policy(volume) != "Delete":
        return []  # Kept for a person.
    if provisioner is None:
        return _fail_to_delete(volume)
    if provisioner != local_provisioner.PROVISIONER:
        return []  # Deleted by whoever provisioned it.
    return [actions.Delete(VOLUMES, None, objects.name_of(volume), uid=objects.uid_of(volume))]


def _fail_to_delete(volume: Object) -> list[actions.Action]:
    """A volume that a person made: nobody knows how its data could be removed."""
    message = f'error getting deleter volume plugin for volume "{objects.name_of(volume)}": no deletable volume plugin matched'
    status = objects.status_of(volume)
    if status.get("phase") == "Failed":
        return []
    failed = {**volume, "status": {**status, "phase": "Failed", "message": message}}
    told = actions.warning(volume, "VolumeFailedDelete", message)
    return [actions.Update(VOLUMES, failed, subresource="status", then=(told,))]


def _unbind(volume: Object) -> list[actions.Action]:
    """The claim went elsewhere: a reservation stays a reservation, our own choice is taken back."""
    annotations = dict(objects.annotations_of(volume))
    spec = dict(volume["spec"])
    if annotations.pop(BOUND_BY_CONTROLLER, None) is not None:
        del spec["claimRef"]
    else:
        kept = {key: value for key, value in spec["claimRef"].items() if key not in ("uid", "resourceVersion")}
        spec["claimRef"] = kept
    return [actions.Update(VOLUMES, _with_annotations({**volume, "spec": spec}, annotations))]


def _give_up_node(view: views.View, volume: Object) -> list[actions.Action]:
    """The node that should remove the folder is itself gone: nobody will ever take the finalizer away."""
    finalizers = objects.finalizers_of(volume)
    node = objects.annotations_of(volume).get(local_provisioner.LOCAL_VOLUME)
    if not node or local_provisioner.LOCAL_VOLUME not in finalizers:
        return []
    if view.get(resources.NODES, None, node) is not None:
        return []
    kept = [each for each in finalizers if each != local_provisioner.LOCAL_VOLUME]
    return [actions.Update(VOLUMES, {**volume, "metadata": {**volume["metadata"], "finalizers": kept}})]


# -- registration


def _claims_of_volume(view: views.View, volume: Object) -> Iterable[objects.Key]:
    reference = volume["spec"].get("claimRef")
    if reference:
        return [(reference.get("namespace", ""), reference.get("name", ""))]
    wanted = class_of(volume)
    return [
        objects.key_of(claim)
        for claim in view.list(CLAIMS)
        if class_of(claim) == wanted and BIND_COMPLETED not in objects.annotations_of(claim)
    ]


def _claims_of_class(view: views.View, storage: Object) -> Iterable[objects.Key]:
    name = objects.name_of(storage)
    return [
        objects.key_of(claim)
        for claim in view.list(CLAIMS)
        if not claim["spec"].get("volumeName")
        and (class_of(claim) == name or (_is_default(storage) and not _has_class(claim)))
    ]


def _volumes_of_claim(view: views.View, claim: Object) -> Iterable[objects.Key]:
    name = f"{objects.namespace_of(claim)}/{objects.name_of(claim)}"
    return [objects.key_of(volume) for volume in view.by_index(VOLUMES, "claim", name)]


def _volumes_of_node(view: views.View, node: Object) -> Iterable[objects.Key]:
    return [objects.key_of(volume) for volume in view.by_index(VOLUMES, "node", objects.name_of(node))]


def _index_volume_claim(volume: Object) -> Iterable[str]:
    reference = volume["spec"].get("claimRef")
    return [f"{reference.get('namespace', '')}/{reference.get('name', '')}"] if reference else ()


def _index_volume_node(volume: Object) -> Iterable[str]:
    node = objects.annotations_of(volume).get(local_provisioner.LOCAL_VOLUME)
    return [node] if node else ()


def claims_of_pod(pod: Object) -> Iterable[str]:
    """`namespace/name` of every claim that a pod mounts."""
    namespace, name = objects.key_of(pod)
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield f"{namespace}/{volume['persistentVolumeClaim']['claimName']}"
        elif volume.get("ephemeral"):
            yield f"{namespace}/{name}-{volume['name']}"


def controllers() -> Sequence[loop.Controller]:
    claim_controller = loop.Controller(
        name="persistentvolume-binder",
        user="persistent-volume-binder",
        component="persistentvolume-controller",
        watches=(
            loop.Watch(CLAIMS, loop.own_key),
            loop.Watch(VOLUMES, _claims_of_volume),
            loop.Watch(resources.STORAGE_CLASSES, _claims_of_class),
        ),
        reads=(resources.NODES, resources.PODS),
        indexes=((resources.PODS, "claim", claims_of_pod),),
        plan=plan_claim,
    )
    volume_controller = loop.Controller(
        name="persistentvolume-reclaimer",
        user="persistent-volume-binder",
        component="persistentvolume-controller",
        watches=(
            loop.Watch(VOLUMES, loop.own_key),
            loop.Watch(CLAIMS, _volumes_of_claim),
            loop.Watch(resources.NODES, _volumes_of_node),
        ),
        indexes=((VOLUMES, "claim", _index_volume_claim), (VOLUMES, "node", _index_volume_node)),
        observe=observe_volume,
        plan=plan_volume,
    )
    return [claim_controller, volume_controller]
