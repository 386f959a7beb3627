"""The built-in provisioner: a folder on the node where the claim is first used.

Called by the volume binder. Only the node can make and remove the folder: it does so when a pod first mounts the volume, and
when the volume is deleted, after which it takes the finalizer away. Folder, annotation and finalizer are what both agree on.
"""

from typing import Any

from pinnace.controllers.framework import objects

Object = dict[str, Any]

PROVISIONER = "pinnace.dev/local"
LOCAL_VOLUME = "pinnace.dev/local-volume"
"""Annotation (its value is the node's name) and finalizer of every volume made here."""
VOLUME_DIR = "pinnace.dev/volume-dir"
"""Annotation of a node: the folder below which its volumes are."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
HOST_NAME = "kubernetes.io/hostname"


class CannotProvision(Exception):
    """The message says why; it is shown to the user."""


def volume_for(claim: Object, storage: Object, node: Object) -> Object:
    """Raises CannotProvision."""
    folder = objects.annotations_of(node).get(VOLUME_DIR)
    if not folder:
        raise CannotProvision(f"node {objects.name_of(node)} has no folder for local volumes")
    spec = claim["spec"]
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        raise CannotProvision(f"{PROVISIONER} provides file systems, no volumes of mode {spec['volumeMode']}")
    if spec.get("selector"):
        raise CannotProvision("claim.spec.selector is not supported for dynamic provisioning")
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        raise CannotProvision(f"{PROVISIONER} cannot fill a volume from a data source")
    name = f"pvc-{objects.uid_of(claim)}"
    host = objects.labels_of(node).get(HOST_NAME, objects.name_of(node))
    term = {"matchExpressions": [{"key": HOST_NAME, "operator": "In", "values": [host]}]}
    made_spec = {
        "capacity": {"storage": spec["resources"]["requests"]["storage"]},
        "accessModes": spec["accessModes"],
        "volumeMode": "Filesystem",
        "persistentVolumeReclaimPolicy": storage.get("reclaimPolicy", "Delete"),
        "storageClassName": objects.name_of(storage),
        "claimRef": claim_reference(claim),
        "local": {"path": f"{folder.rstrip('/')}/{name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
    }
    if storage.get("mountOptions"):
        made_spec["mountOptions"] = storage["mountOptions"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: PROVISIONER, LOCAL_VOLUME: objects.name_of(node)},
            "finalizers": [LOCAL_VOLUME],
        },
        "spec": made_spec,
    }


def claim_reference(claim: Object) -> Object:
    metadata = claim["metadata"]
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
