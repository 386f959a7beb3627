"""`storage.k8s.io`: classes of volumes, CSI drivers and what they attach."""

from pinnace.api.rules import base
from pinnace.api.tables import cluster
from pinnace.api.validation import csi, storage
from pinnace.api.warnings import storage as warnings
from pinnace.api.warnings import unserved

Object = base.Object

_SHOWN_WHEN_DELETED = base.Deletion(returns_object=True)


def _storage_class_defaults(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


STORAGE_CLASS = base.Rules(
    warnings=warnings.storage_class,
    defaults=_storage_class_defaults,
    validate_create=storage.storage_class,
    update=base.Part(validate=storage.storage_class_update),
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.STORAGE_CLASS,
)


def _csi_driver_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    for flag in ("podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"):
        spec.setdefault(flag, False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


CSI_DRIVER = base.Rules(
    warnings=unserved.kind,
    defaults=_csi_driver_defaults,
    validate_create=csi.driver,
    update=base.Part(validate=csi.driver_update),
    is_conditional_only=True,
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.CSI_DRIVER,
)
CSI_NODE = base.Rules(
    validate_create=storage.csi_node,
    update=base.Part(validate=storage.csi_node_update),
    is_conditional_only=True,
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.CSI_NODE,
)
CSI_STORAGE_CAPACITY = base.Rules(
    warnings=warnings.storage_capacity,
    validate_create=csi.capacity,
    update=base.Part(validate=csi.capacity_update),
    printer=cluster.CSI_STORAGE_CAPACITY,
)
ATTRIBUTES_CLASS = base.Rules(
    validate_create=storage.attributes_class,
    update=base.Part(validate=storage.attributes_class_update),
    printer=cluster.VOLUME_ATTRIBUTES_CLASS,
)


def _new_attachment(obj: Object) -> None:
    obj["status"] = {"attached": False}


VOLUME_ATTACHMENT = base.Rules(
    warnings=unserved.kind,
    prepare_create=_new_attachment,
    validate_create=csi.attachment,
    update=base.Part(validate=csi.attachment_update),
    is_conditional_only=True,
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.VOLUME_ATTACHMENT,
)

_ATTRIBUTES_CLASS = base.Row(
    "VolumeAttributesClass", "volumeattributesclasses", base.CLUSTER, "vac", rules=ATTRIBUTES_CLASS
)

V1: base.Rows = (
    base.Row("CSIDriver", "csidrivers", base.CLUSTER, rules=CSI_DRIVER),
    base.Row("CSINode", "csinodes", base.CLUSTER, rules=CSI_NODE),
    base.Row("CSIStorageCapacity", "csistoragecapacities", base.NAMESPACED, rules=CSI_STORAGE_CAPACITY),
    base.Row("StorageClass", "storageclasses", base.CLUSTER, "sc", rules=STORAGE_CLASS),
    base.Row("VolumeAttachment", "volumeattachments", base.CLUSTER, subs=base.STATUS, rules=VOLUME_ATTACHMENT),
    _ATTRIBUTES_CLASS,
)
V1BETA1: base.Rows = (_ATTRIBUTES_CLASS,)
