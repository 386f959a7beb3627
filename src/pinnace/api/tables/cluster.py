"""Cells of nodes, namespaces, configuration, storage, events, quotas and what else belongs to the cluster itself."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import quantity
from pinnace.api.tables import duration, printers

_ROLE_LABEL = "node-role.kubernetes.io/"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def _node(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    info = printers.at(obj, "status.nodeInfo", {})
    addresses = printers.at(obj, "status.addresses", ())
    return [
        printers.name(obj),
        _node_status(obj),
        ",".join(_roles(obj["metadata"].get("labels") or {})) or printers.NONE,
        printers.age(obj, now),
        info.get("kubeletVersion") or "",
        _address(addresses, "InternalIP"),
        _address(addresses, "ExternalIP"),
        info.get("osImage") or printers.UNKNOWN,
        info.get("kernelVersion") or printers.UNKNOWN,
        info.get("containerRuntimeVersion") or printers.UNKNOWN,
    ]


def _node_status(obj: printers.Object) -> str:
    ready = [item for item in printers.at(obj, "status.conditions", ()) if item.get("type") == "Ready"]
    shown = "Unknown" if not ready else ("Ready" if ready[-1].get("status") == "True" else "NotReady")
    return f"{shown},SchedulingDisabled" if printers.at(obj, "spec.unschedulable") else shown


def _roles(labels: Mapping[str, str]) -> list[str]:
    roles = {label.removeprefix(_ROLE_LABEL) for label in labels if label.startswith(_ROLE_LABEL)}
    roles.add(labels.get("kubernetes.io/role", ""))
    return sorted(roles - {""})


def _address(addresses: Sequence[Mapping[str, str]], kind: str) -> str:
    return next((item["address"] for item in addresses if item.get("type") == kind), printers.NONE)


def _namespace(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.at(obj, "status.phase", ""), printers.age(obj, now)]


def _config_map(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "data", "binaryData"), printers.age(obj, now)]


def _secret(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), obj.get("type") or "", printers.length(obj, "data"), printers.age(obj, now)]


def _service_account(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "secrets"), printers.age(obj, now)]


def _event(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series = obj.get("series") or {}
    first_time = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last_time = (
        series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first_time
    )
    count = series.get("count") or obj.get("count") or obj.get("deprecatedCount") or 1
    target = about.get("kind", "").lower()
    return [
        duration.since(last_time, now),
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{target}/{about['name']}" if about.get("name") else target,
        about.get("fieldPath") or "",
        _event_source(obj),
        (obj.get("message") or obj.get("note") or "").strip(),
        duration.since(first_time, now),
        count,
        printers.name(obj),
    ]


def _event_source(obj: printers.Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def _persistent_volume(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    claim = printers.at(obj, "spec.claimRef")
    return [
        printers.name(obj),
        _amount(printers.at(obj, "spec.capacity.storage")),
        _modes(printers.at(obj, "spec.accessModes", ())),
        printers.at(obj, "spec.persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class(obj),
        printers.at(obj, "spec.volumeAttributesClassName", printers.UNSET),
        printers.at(obj, "status.reason", ""),
        printers.age(obj, now),
        printers.at(obj, "spec.volumeMode", printers.UNSET),
    ]


def _persistent_volume_claim(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    volume = printers.at(obj, "spec.volumeName", "")
    return [
        printers.name(obj),
        _phase(obj),
        volume,
        _amount(printers.at(obj, "status.capacity.storage")) if volume else "",
        _modes(printers.at(obj, "status.accessModes", ())) if volume else "",
        _storage_class(obj),
        printers.at(obj, "spec.volumeAttributesClassName", printers.UNSET),
        printers.age(obj, now),
        printers.at(obj, "spec.volumeMode", printers.UNSET),
    ]


def _phase(obj: printers.Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(printers.at(obj, "status.phase", ""))


def _storage_class(obj: printers.Object) -> str:
    annotated = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    return annotated if annotated is not None else str(printers.at(obj, "spec.storageClassName", ""))


def _modes(modes: Sequence[str]) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes)


def _amount(value: Any) -> str:
    return "0" if value is None else quantity.canonical(str(value))


def _storage(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    annotations = obj["metadata"].get("annotations") or {}
    is_default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
    return [
        printers.name(obj) + (" (default)" if is_default else ""),
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or printers.UNSET,
        bool(obj.get("allowVolumeExpansion")),
        printers.age(obj, now),
    ]


def _volume_attachment(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.at(obj, "spec.attacher", ""),
        printers.at(obj, "spec.source.persistentVolumeName", ""),
        printers.at(obj, "spec.nodeName", ""),
        printers.at(obj, "status.attached", False),
        printers.age(obj, now),
    ]


def _csi_driver(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    spec = obj.get("spec") or {}
    tokens = [item.get("audience", "") for item in spec.get("tokenRequests") or ()]
    return [
        printers.name(obj),
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        ",".join(tokens) or printers.UNSET,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or printers.NONE,
        printers.age(obj, now),
    ]


def _csi_node(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.length(obj, "spec.drivers"), printers.age(obj, now)]


def _csi_capacity(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    capacity = obj.get("capacity")
    shown = printers.UNSET if capacity is None else quantity.canonical(str(capacity))
    return [printers.name(obj), obj.get("storageClassName") or "", shown]


def _volume_attributes_class(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), obj.get("driverName") or "", printers.age(obj, now)]


def _resource_quota(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    hard, used = printers.at(obj, "status.hard", {}), printers.at(obj, "status.used", {})
    shown = {key: f"{key}: {_amount(used.get(key))}/{_amount(hard[key])}" for key in sorted(hard)}
    limits = ", ".join(text for key, text in shown.items() if key.startswith("limits"))
    requests = ", ".join(text for key, text in shown.items() if not key.startswith("limits"))
    return [printers.name(obj), requests, limits, printers.age(obj, now)]


def _priority_class(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        printers.count(obj, "value"),
        bool(obj.get("globalDefault")),
        printers.age(obj, now),
        obj.get("preemptionPolicy") or "PreemptLowerPriority",
    ]


def _runtime_class(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), obj.get("handler") or "", printers.age(obj, now)]


def _lease(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.at(obj, "spec.holderIdentity", ""), printers.age(obj, now)]


def _component_status(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    healthy = next((item for item in obj.get("conditions") or () if item.get("type") == "Healthy"), None)
    if healthy is None:
        return [printers.name(obj), "Unknown", "", ""]
    status = "Healthy" if healthy.get("status") == "True" else "Unhealthy"
    return [printers.name(obj), status, healthy.get("message") or "", healthy.get("error") or ""]


_EVENT_COLUMNS = (
    *printers.columns("Last Seen", "Type", "Reason", "Object", wide=("Subobject", "Source")),
    *printers.columns("Message", wide=("First Seen", "Count:integer", "Name")),
)

NODE = printers.Printer(
    printers.columns(
        "Name",
        "Status",
        "Roles",
        "Age",
        "Version",
        wide=("Internal-IP", "External-IP", "OS-Image", "Kernel-Version", "Container-Runtime"),
    ),
    _node,
)
NAMESPACE = printers.Printer(printers.columns("Name", "Status", "Age"), _namespace)
CONFIG_MAP = printers.Printer(printers.columns("Name", "Data:integer", "Age"), _config_map)
SECRET = printers.Printer(printers.columns("Name", "Type", "Data:integer", "Age"), _secret)
SERVICE_ACCOUNT = printers.Printer(printers.columns("Name", "Secrets:integer", "Age"), _service_account)
EVENT = printers.Printer(_EVENT_COLUMNS, _event)
PERSISTENT_VOLUME = printers.Printer(
    printers.columns(
        "Name",
        "Capacity",
        "Access Modes",
        "Reclaim Policy",
        "Status",
        "Claim",
        "StorageClass",
        "VolumeAttributesClass",
        "Reason",
        "Age",
        wide=("VolumeMode",),
    ),
    _persistent_volume,
)
PERSISTENT_VOLUME_CLAIM = printers.Printer(
    printers.columns(
        "Name",
        "Status",
        "Volume",
        "Capacity",
        "Access Modes",
        "StorageClass",
        "VolumeAttributesClass",
        "Age",
        wide=("VolumeMode",),
    ),
    _persistent_volume_claim,
)
STORAGE_CLASS = printers.Printer(
    printers.columns(
        "Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion:boolean", "Age"
    ),
    _storage,
)
VOLUME_ATTACHMENT = printers.Printer(
    printers.columns("Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"), _volume_attachment
)
CSI_DRIVER = printers.Printer(
    printers.columns(
        "Name",
        "AttachRequired:boolean",
        "PodInfoOnMount:boolean",
        "StorageCapacity:boolean",
        "TokenRequests",
        "RequiresRepublish:boolean",
        "Modes",
        "Age",
    ),
    _csi_driver,
)
CSI_NODE = printers.Printer(printers.columns("Name", "Drivers:integer", "Age"), _csi_node)
CSI_STORAGE_CAPACITY = printers.Printer(printers.columns("Name", "StorageClassName", "Capacity"), _csi_capacity)
VOLUME_ATTRIBUTES_CLASS = printers.Printer(printers.columns("Name", "DriverName", "Age"), _volume_attributes_class)
RESOURCE_QUOTA = printers.Printer(printers.columns("Name", "Request", "Limit", "Age"), _resource_quota)
PRIORITY_CLASS = printers.Printer(
    printers.columns("Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"), _priority_class
)
RUNTIME_CLASS = printers.Printer(printers.columns("Name", "Handler", "Age"), _runtime_class)
LEASE = printers.Printer(printers.columns("Name", "Holder", "Age"), _lease)
COMPONENT_STATUS = printers.Printer(printers.columns("Name", "Status", "Message", "Error"), _component_status)
