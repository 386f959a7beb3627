"""The core group. Pods have a file of their own (`rules.pods`)."""

import base64
from collections.abc import Mapping
from typing import Any

from pinnace.api import labels, selectable, selectors
from pinnace.api import services as service_fields
from pinnace.api.defaults import core as defaults
from pinnace.api.rules import base, pods
from pinnace.api.tables import cluster, network, workloads
from pinnace.api.validation import apps, core, services, storage
from pinnace.api.warnings import configuration
from pinnace.api.warnings import network as network_warnings
from pinnace.api.warnings import nodes as node_warnings
from pinnace.api.warnings import storage as storage_warnings
from pinnace.api.warnings import workloads as workload_warnings

Object = base.Object
Part = base.Part

_SHOWN_WHEN_DELETED = base.Deletion(returns_object=True)

BINDING = base.Rules(validate_create=core.binding)
COMPONENT_STATUS = base.Rules(
    printer=cluster.COMPONENT_STATUS, deprecation="v1 ComponentStatus is deprecated in v1.19+"
)
CONFIG_MAP = base.Rules(
    validate_create=core.config_map, update=Part(validate=core.config_map_update), printer=cluster.CONFIG_MAP
)
ENDPOINTS = base.Rules(
    warnings=network_warnings.endpoints,
    defaults=defaults.endpoints,
    validate_create=services.endpoints,
    update=Part(validate=services.endpoints_update),
    creates_on_update=True,
    printer=network.ENDPOINTS,
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
)

# Events.

EVENT_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _source(event: Mapping[str, Any]) -> str:
    """The old component field, or the reporting controller of events in the new shape."""
    source = event.get("source") or event.get("deprecatedSource") or {}
    return selectable.text(source.get("component")) or _reporter(event)


def _reporter(event: Mapping[str, Any]) -> str:
    return selectable.text(event.get("reportingComponent") or event.get("reportingController"))


def _involved(step: str) -> selectable.Read:
    def read(event: Mapping[str, Any]) -> str:
        return selectable.text((event.get("involvedObject") or event.get("regarding") or {}).get(step))

    return read


EVENT_FIELDS = selectable.Fields(
    {
        **{f"involvedObject.{step}": _involved(step) for step in EVENT_REFERENCE},
        **selectable.paths("reason", "type"),
        "reportingComponent": _reporter,
        "source": _source,
    }
)
"""Of events in either shape."""
EVENT = base.Rules(
    validate_create=core.event,
    update=Part(validate=core.event_update),
    creates_on_update=True,
    printer=cluster.EVENT,
    fields=EVENT_FIELDS,
)

LIMIT_RANGE = base.Rules(
    defaults=defaults.limit_range,
    validate_create=core.limit_range,
    update=Part(validate=base.as_new(core.limit_range)),
    creates_on_update=True,
)

# Namespaces.


def _new_namespace(obj: Object) -> None:
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    if labels.FINALIZER_KUBERNETES not in finalizers:
        finalizers.append(labels.FINALIZER_KUBERNETES)
    obj["status"] = {"phase": "Active"}
    _label_namespace(obj)


def _namespace_update(new: Object, old: Object) -> None:
    base.keep(new, old, "spec")
    _label_namespace(new)


def _namespace_status(new: Object, old: Object) -> None:
    base.status_alone(new, old)
    _label_namespace(new)


_finalizers_alone = base.one_field("spec", "finalizers")


def _finalize_namespace(new: Object, old: Object) -> None:
    _finalizers_alone(new, old)
    _label_namespace(new)


def _label_namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})[labels.METADATA_NAME] = obj["metadata"].get("name", "")


def _has_content(obj: Object) -> bool:
    return bool((obj.get("spec") or {}).get("finalizers"))


NAMESPACE = base.Rules(
    defaults=defaults.namespace,
    prepare_create=_new_namespace,
    first_status=base.FirstStatus.GIVEN,
    validate_create=core.namespace,
    update=Part(_namespace_update, core.namespace_update),
    status=Part(_namespace_status, core.namespace_status),
    parts={"finalize": Part(_finalize_namespace, core.namespace_update)},
    deletion=base.Deletion(is_held=_has_content, phase="Terminating"),
    printer=cluster.NAMESPACE,
    fields=selectable.Fields(
        {"status.phase": selectable.at("status.phase"), "name": selectable.at("metadata.name")}, has_namespace=False
    ),
)

# Nodes.


def _pod_cidrs(spec: Object) -> None:
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]


def _new_node(obj: Object) -> None:
    _pod_cidrs(obj.setdefault("spec", {}))


def _node_update(new: Object, old: Object) -> None:
    _pod_cidrs(new.setdefault("spec", {}))


NODE = base.Rules(
    warnings=node_warnings.node,
    defaults=defaults.node,
    prepare_create=_new_node,
    first_status=base.FirstStatus.GIVEN,
    validate_create=core.node,
    update=Part(_node_update, core.node_update),
    status=Part(base.status_alone, core.node_update),
    printer=cluster.NODE,
    fields=selectable.Fields({"spec.unschedulable": selectable.at("spec.unschedulable", "false")}, has_namespace=False),
)

# Volumes and claims.


def _new_volume(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}
    created = obj["metadata"].get("creationTimestamp")
    if created is not None:
        obj["status"]["lastPhaseTransitionTime"] = created


PERSISTENT_VOLUME = base.Rules(
    warnings=storage_warnings.persistent_volume,
    defaults=defaults.persistent_volume,
    prepare_create=_new_volume,
    validate_create=storage.persistent_volume,
    update=Part(validate=storage.persistent_volume_update),
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.PERSISTENT_VOLUME,
)


def _new_claim(obj: Object) -> None:
    """`dataSource` and `dataSourceRef` say the same unless another namespace is meant."""
    obj["status"] = {"phase": "Pending"}
    spec = obj["spec"]
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


PERSISTENT_VOLUME_CLAIM = base.Rules(
    warnings=storage_warnings.claim,
    defaults=defaults.persistent_volume_claim,
    prepare_create=_new_claim,
    validate_create=storage.claim,
    update=Part(validate=storage.claim_update),
    status=Part(base.status_alone, storage.claim_status),
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.PERSISTENT_VOLUME_CLAIM,
)


def _labels_selector(obj: Object) -> str:
    """A ReplicationController selects by labels alone."""
    return str(selectors.from_labels((obj.get("spec") or {}).get("selector")))


REPLICATION_CONTROLLER = base.Rules(
    warnings=workload_warnings.replicated,
    defaults=defaults.replication_controller,
    generation_of=base.but_status,
    validate_create=core.replication_controller,
    update=Part(validate=core.replication_controller_update),
    status=Part(base.status_alone, apps.replica_set_status),
    deletion=base.Deletion(orphans_by_default=True),
    printer=workloads.REPLICATION_CONTROLLER,
    fields=selectable.Fields({"status.replicas": selectable.at("status.replicas", "0")}),
    scale=base.Scale(("spec", "replicas"), ("status", "replicas"), _labels_selector),
)
RESOURCE_QUOTA = base.Rules(
    warnings=configuration.resource_quota,
    defaults=defaults.resource_quota,
    validate_create=core.resource_quota,
    update=Part(validate=core.resource_quota_update),
    status=Part(base.status_alone, core.resource_quota_status),
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.RESOURCE_QUOTA,
)

# Secrets.


def _encode_string_data(obj: Object) -> None:
    """`stringData` is for writing only: it goes into `data`, and wins."""
    texts = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        for name, text in texts.items():
            data[name] = base64.b64encode(text.encode()).decode()


def _secret_update(new: Object, old: Object) -> None:
    _encode_string_data(new)
    if not new.get("type"):
        base.keep(new, old, "type")


SECRET = base.Rules(
    warnings=configuration.secret,
    defaults=defaults.secret,
    prepare_create=_encode_string_data,
    validate_create=core.secret,
    update=Part(_secret_update, core.secret_update),
    printer=cluster.SECRET,
    fields=selectable.Fields(selectable.paths("type")),
)

SERVICE_ACCOUNT = base.Rules(
    warnings=configuration.service_account,
    validate_create=core.service_account,
    update=Part(validate=base.as_new(core.service_account)),
    deletion=_SHOWN_WHEN_DELETED,
    printer=cluster.SERVICE_ACCOUNT,
)

# Services.


def _new_service(obj: Object) -> None:
    service_fields.normalize(obj["spec"])


def _service_update(new: Object, old: Object) -> None:
    service_fields.carry_over(new["spec"], old["spec"])


SERVICE = base.Rules(
    warnings=network_warnings.service,
    defaults=defaults.service,
    prepare_create=_new_service,
    validate_create=services.service,
    update=Part(_service_update, services.service_update),
    status=Part(base.status_alone, services.service_status),
    creates_on_update=True,
    deletion=_SHOWN_WHEN_DELETED,
    printer=network.SERVICE,
    fields=selectable.Fields(selectable.paths("spec.clusterIP", "spec.type")),
)

_NO_COLLECTION = tuple(verb for verb in base.ALL_VERBS if verb != "deletecollection")

V1: base.Rows = (
    base.Row("Binding", "bindings", base.NAMESPACED, rules=BINDING, verbs=base.CREATE, is_virtual=True),
    base.Row(
        "ComponentStatus",
        "componentstatuses",
        base.CLUSTER,
        "cs",
        rules=COMPONENT_STATUS,
        verbs=("get", "list"),
        is_virtual=True,
    ),
    base.Row("ConfigMap", "configmaps", base.NAMESPACED, "cm", rules=CONFIG_MAP),
    base.Row("Endpoints", "endpoints", base.NAMESPACED, "ep", rules=ENDPOINTS, folder="services/endpoints"),
    base.Row("Event", "events", base.NAMESPACED, "ev", rules=EVENT),
    base.Row("LimitRange", "limitranges", base.NAMESPACED, "limits", rules=LIMIT_RANGE),
    base.Row(
        "Namespace",
        "namespaces",
        base.CLUSTER,
        "ns",
        subs=(base.Sub("finalize", ("update",)), base.Sub("status")),
        rules=NAMESPACE,
        verbs=_NO_COLLECTION,
    ),
    base.Row(
        "Node",
        "nodes",
        base.CLUSTER,
        "no",
        subs=(base.Sub("proxy", base.PROXY, "NodeProxyOptions"), base.Sub("status")),
        rules=NODE,
        folder="minions",
    ),
    base.Row(
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        base.NAMESPACED,
        "pvc",
        subs=base.STATUS,
        rules=PERSISTENT_VOLUME_CLAIM,
    ),
    base.Row("PersistentVolume", "persistentvolumes", base.CLUSTER, "pv", subs=base.STATUS, rules=PERSISTENT_VOLUME),
    pods.POD_ROW,
    pods.POD_TEMPLATE_ROW,
    base.Row(
        "ReplicationController",
        "replicationcontrollers",
        base.NAMESPACED,
        "rc",
        "all",
        base.SCALE_STATUS,
        REPLICATION_CONTROLLER,
        folder="controllers",
    ),
    base.Row("ResourceQuota", "resourcequotas", base.NAMESPACED, "quota", subs=base.STATUS, rules=RESOURCE_QUOTA),
    base.Row("Secret", "secrets", base.NAMESPACED, rules=SECRET),
    base.Row(
        "ServiceAccount",
        "serviceaccounts",
        base.NAMESPACED,
        "sa",
        subs=(base.Sub("token", base.CREATE, "TokenRequest", "authentication.k8s.io", "v1"),),
        rules=SERVICE_ACCOUNT,
    ),
    base.Row(
        "Service",
        "services",
        base.NAMESPACED,
        "svc",
        "all",
        (base.Sub("proxy", base.PROXY, "ServiceProxyOptions"), base.Sub("status")),
        SERVICE,
        folder="services/specs",
    ),
)
