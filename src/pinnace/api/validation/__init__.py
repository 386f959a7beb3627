"""Validation: what is wrong with an object that is decoded and defaulted, in upstream's words, paths and order.

`create`, `update` and `update_status` are pure and return every cause; an empty list means that the object may be stored.
"""

from collections.abc import Callable

from pinnace.api import errors, kinds
from pinnace.api.validation import (
    addresses,
    admission_policies,
    apps,
    batch,
    certificates,
    core,
    csi,
    field,
    flowcontrol,
    formats,
    job_status,
    metadata,
    networking,
    pods,
    policy,
    rbac,
    services,
    smaller,
    storage,
    structural,
)

Object = kinds.Object
Create = Callable[[field.Causes, Object], None]
Update = Callable[[field.Causes, Object, Object], None]

_ADMISSION = "admissionregistration.k8s.io"
_FLOW_CONTROL = "flowcontrol.apiserver.k8s.io"
_STORAGE = "storage.k8s.io"


def create(kind: kinds.Kind, obj: Object) -> list[errors.Cause]:
    found = field.Causes()
    rule = _CREATE.get((kind.group, kind.kind))
    if rule is not None:
        rule(found, obj)
    else:
        if not kind.is_virtual:
            metadata.create(found, obj, namespaced=kind.namespaced, name_rule=formats.dns_subdomain)
        _by_schema(found, kind, obj)
    return _told_once(found)


def update(kind: kinds.Kind, new: Object, old: Object, subresource: str = "") -> list[errors.Cause]:
    """`subresource`: `ephemeralcontainers`, `resize`, `approval` …, where other things may change than in the object itself."""
    found = field.Causes()
    if (kind.group, kind.kind) == ("", "Pod"):
        pods.update(found, new, old, subresource)
        return _told_once(found)
    rule = _UPDATE.get((kind.group, kind.kind))
    if rule is not None:
        rule(found, new, old)
        return _told_once(found)
    metadata.update(found, new, old)
    create_rule = _CREATE.get((kind.group, kind.kind))
    if create_rule is not None:
        create_rule(found, new)
    else:
        _by_schema(found, kind, new)
    return _told_once(found)


def update_status(kind: kinds.Kind, new: Object, old: Object) -> list[errors.Cause]:
    found = field.Causes()
    rule = _STATUS.get((kind.group, kind.kind))
    if rule is not None:
        rule(found, new, old)
    else:
        metadata.update(found, new, old)
        if not kind.definition:
            _by_schema(found, kind, new)
    return _told_once(found)


def _by_schema(found: field.Causes, kind: kinds.Kind, obj: Object) -> None:
    check = structural.required if kind.definition else structural.custom
    check(found, kind.schema, obj, "")


def _told_once(found: field.Causes) -> list[errors.Cause]:
    """An update looks at some things twice, as part of the object and as a change."""
    return list(dict.fromkeys(found))


_CREATE: dict[tuple[str, str], Create] = {
    ("", "Pod"): pods.create,
    ("", "PodTemplate"): core.pod_template,
    ("", "ReplicationController"): core.replication_controller,
    ("", "ConfigMap"): core.config_map,
    ("", "Secret"): core.secret,
    ("", "Namespace"): core.namespace,
    ("", "ServiceAccount"): core.service_account,
    ("", "Event"): core.event,
    ("events.k8s.io", "Event"): core.event,
    ("", "Node"): core.node,
    ("", "LimitRange"): core.limit_range,
    ("", "ResourceQuota"): core.resource_quota,
    ("", "Binding"): core.binding,
    ("", "Service"): services.service,
    ("", "Endpoints"): services.endpoints,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    ("", "PersistentVolume"): storage.persistent_volume,
    ("", "PersistentVolumeClaim"): storage.claim,
    (_STORAGE, "StorageClass"): storage.storage_class,
    (_STORAGE, "CSINode"): storage.csi_node,
    (_STORAGE, "CSIDriver"): csi.driver,
    (_STORAGE, "CSIStorageCapacity"): csi.capacity,
    (_STORAGE, "VolumeAttributesClass"): storage.attributes_class,
    (_STORAGE, "VolumeAttachment"): csi.attachment,
    ("apps", "Deployment"): apps.deployment,
    ("apps", "ReplicaSet"): apps.replica_set,
    ("apps", "DaemonSet"): apps.daemon_set,
    ("apps", "StatefulSet"): apps.stateful_set,
    ("apps", "ControllerRevision"): apps.controller_revision,
    ("batch", "Job"): batch.job,
    ("batch", "CronJob"): batch.cron_job,
    ("networking.k8s.io", "NetworkPolicy"): networking.network_policy,
    ("networking.k8s.io", "Ingress"): networking.ingress,
    ("networking.k8s.io", "IngressClass"): networking.ingress_class,
    ("networking.k8s.io", "IPAddress"): addresses.ip_address,
    ("networking.k8s.io", "ServiceCIDR"): addresses.service_cidr,
    ("policy", "PodDisruptionBudget"): policy.disruption_budget,
    ("autoscaling", "HorizontalPodAutoscaler"): policy.autoscaler,
    (rbac.GROUP, "Role"): rbac.role,
    (rbac.GROUP, "ClusterRole"): rbac.cluster_role,
    (rbac.GROUP, "RoleBinding"): rbac.role_binding,
    (rbac.GROUP, "ClusterRoleBinding"): rbac.cluster_role_binding,
    ("coordination.k8s.io", "Lease"): smaller.lease,
    ("scheduling.k8s.io", "PriorityClass"): smaller.priority_class,
    ("node.k8s.io", "RuntimeClass"): smaller.runtime_class,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.create,
    ("authentication.k8s.io", "TokenRequest"): smaller.token_request,
    (_ADMISSION, "ValidatingWebhookConfiguration"): smaller.webhooks,
    (_ADMISSION, "MutatingWebhookConfiguration"): smaller.webhooks,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission_policies.validating,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission_policies.validating_binding,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission_policies.mutating,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission_policies.mutating_binding,
    (_FLOW_CONTROL, "FlowSchema"): flowcontrol.flow_schema,
    (_FLOW_CONTROL, "PriorityLevelConfiguration"): flowcontrol.priority_level,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): smaller.definition,
    ("apiregistration.k8s.io", "APIService"): smaller.api_service,
}

_UPDATE: dict[tuple[str, str], Update] = {
    ("", "ReplicationController"): core.replication_controller_update,
    ("", "ConfigMap"): core.config_map_update,
    ("", "Secret"): core.secret_update,
    ("", "Namespace"): core.namespace_update,
    ("", "Event"): core.event_update,
    ("events.k8s.io", "Event"): core.event_update,
    ("", "Node"): core.node_update,
    ("", "ResourceQuota"): core.resource_quota_update,
    ("", "Service"): services.service_update,
    ("", "Endpoints"): services.endpoints_update,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice_update,
    ("", "PersistentVolume"): storage.persistent_volume_update,
    ("", "PersistentVolumeClaim"): storage.claim_update,
    (_STORAGE, "StorageClass"): storage.storage_class_update,
    (_STORAGE, "CSIDriver"): csi.driver_update,
    (_STORAGE, "CSIStorageCapacity"): csi.capacity_update,
    (_STORAGE, "CSINode"): storage.csi_node_update,
    (_STORAGE, "VolumeAttributesClass"): storage.attributes_class_update,
    (_STORAGE, "VolumeAttachment"): csi.attachment_update,
    ("apps", "Deployment"): apps.deployment_update,
    ("apps", "ReplicaSet"): apps.replica_set_update,
    ("apps", "DaemonSet"): apps.daemon_set_update,
    ("apps", "StatefulSet"): apps.stateful_set_update,
    ("apps", "ControllerRevision"): apps.controller_revision_update,
    ("batch", "Job"): batch.job_update,
    ("batch", "CronJob"): batch.cron_job_update,
    ("networking.k8s.io", "NetworkPolicy"): networking.network_policy_update,
    ("networking.k8s.io", "Ingress"): networking.ingress_update,
    ("networking.k8s.io", "IngressClass"): networking.ingress_class_update,
    ("networking.k8s.io", "IPAddress"): addresses.ip_address_update,
    ("networking.k8s.io", "ServiceCIDR"): addresses.service_cidr_update,
    ("policy", "PodDisruptionBudget"): policy.disruption_budget_update,
    ("autoscaling", "HorizontalPodAutoscaler"): policy.autoscaler_update,
    (rbac.GROUP, "Role"): rbac.role_update,
    (rbac.GROUP, "ClusterRole"): rbac.cluster_role_update,
    (rbac.GROUP, "RoleBinding"): rbac.role_binding_update,
    (rbac.GROUP, "ClusterRoleBinding"): rbac.cluster_role_binding_update,
    ("coordination.k8s.io", "Lease"): smaller.lease_update,
    ("scheduling.k8s.io", "PriorityClass"): smaller.priority_class_update,
    ("node.k8s.io", "RuntimeClass"): smaller.runtime_class_update,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.update,
    (_ADMISSION, "ValidatingWebhookConfiguration"): smaller.webhooks_update,
    (_ADMISSION, "MutatingWebhookConfiguration"): smaller.webhooks_update,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission_policies.validating_update,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission_policies.validating_binding_update,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission_policies.mutating_update,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission_policies.mutating_binding_update,
    (_FLOW_CONTROL, "FlowSchema"): flowcontrol.flow_schema_update,
    (_FLOW_CONTROL, "PriorityLevelConfiguration"): flowcontrol.priority_level_update,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): smaller.definition_update,
    ("apiregistration.k8s.io", "APIService"): smaller.api_service_update,
}

_STATUS: dict[tuple[str, str], Update] = {
    ("", "Pod"): pods.update_status,
    ("", "Namespace"): core.namespace_status,
    ("", "Node"): core.node_update,
    ("", "ResourceQuota"): core.resource_quota_status,
    ("", "Service"): services.service_status,
    ("", "PersistentVolumeClaim"): storage.claim_status,
    ("apps", "Deployment"): apps.deployment_status,
    ("apps", "ReplicaSet"): apps.replica_set_status,
    ("apps", "DaemonSet"): apps.daemon_set_status,
    ("apps", "StatefulSet"): apps.stateful_set_status,
    ("", "ReplicationController"): apps.replica_set_status,
    ("batch", "Job"): job_status.update,
    ("policy", "PodDisruptionBudget"): policy.disruption_budget_status,
    ("certificates.k8s.io", "CertificateSigningRequest"): certificates.update,
}
