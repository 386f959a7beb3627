"""Defaults of `storage.k8s.io/v1` and `scheduling.k8s.io/v1`."""

from typing import Any

Object = dict[str, Any]


def storage_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def csi_driver(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    for flag in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
        spec.setdefault(flag, False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def priority_class(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


TABLE = {
    ("storage.k8s.io", "v1", "StorageClass"): storage_class,
    ("storage.k8s.io", "v1", "CSIDriver"): csi_driver,
    ("scheduling.k8s.io", "v1", "PriorityClass"): priority_class,
}
