"""What happens to an object between admission and validation: which fields a request may set at all, and what the server adds.

Pure: uid, name and creationTimestamp are in the metadata already. `new` and `obj` are changed in place; `old` never is, but
parts of it may become parts of `new`.
"""

import base64
from collections.abc import Callable
from typing import Any

from pinnace.api import defaults, kinds, labels, qos, services
from pinnace.api.defaults import pods as pod_defaults

Object = dict[str, Any]

_HEAD = ("apiVersion", "kind", "metadata")

# Kinds whose metadata.generation counts changes of what is wanted.
_GENERATION = frozenset(
    {
        ("", "Pod"),
        ("", "PodTemplate"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("batch", "CronJob"),
        ("batch", "Job"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "IngressClass"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("networking.k8s.io", "IPAddress"),
        ("policy", "PodDisruptionBudget"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
        ("resource.k8s.io", "ResourceSlice"),
        ("scheduling.k8s.io", "PriorityClass"),
    }
)

# A status that clients may write with the object itself.
_STATUS_ON_CREATE = frozenset({("", "Node"), ("", "Namespace")})


def prepare_create(kind: kinds.Kind, obj: Object) -> None:
    metadata = obj["metadata"]
    if kind.subresource("status") is not None and (kind.group, kind.kind) not in _STATUS_ON_CREATE:
        obj.pop("status", None)
    if not kind.definition or (kind.group, kind.kind) in _GENERATION:
        metadata["generation"] = 1
    special = _CREATE.get((kind.group, kind.kind))
    if special is not None:
        special(obj)
    if kind.definition and kind.subresource("status") is not None:
        # The status that every object has from its first moment.
        defaults.apply(kind, obj)


def prepare_update(kind: kinds.Kind, new: Object, old: Object, subresource: str) -> None:
    """`subresource`: "" for the object itself, else as in the path: what it does not cover stays as it was."""
    _restore_metadata(new, old)
    if subresource == "status":
        _prepare_status_update(kind, new, old)
    elif subresource in _NARROW:
        _NARROW[subresource](new, old)
    elif kind.subresource("status") is not None:
        _keep(new, old, "status")
    special = _UPDATE.get((kind.group, kind.kind))
    if special is not None:
        special(new, old, subresource)
    if subresource != "status":
        _count_generation(kind, new, old)


def wanted(kind: kinds.Kind, obj: Object) -> Object:
    """What of an object counts for its generation: everything but metadata and a status that is written on its own."""
    left_out = _HEAD if not kind.definition and kind.subresource("status") is None else (*_HEAD, "status")
    return {name: value for name, value in obj.items() if name not in left_out}


def _restore_metadata(new: Object, old: Object) -> None:
    metadata, before = new["metadata"], old["metadata"]
    for name in ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in before:
            metadata[name] = before[name]
    for name in ("uid", "name", "namespace"):
        if not metadata.get(name) and name in before:
            metadata[name] = before[name]
    metadata.pop("selfLink", None)
    _keep(metadata, before, "generation")


def _prepare_status_update(kind: kinds.Kind, new: Object, old: Object) -> None:
    for name in {*new, *old} - {*_HEAD, "status"}:
        _keep(new, old, name)
    if not kind.definition:
        # A custom resource's status is the only thing that its status subresource writes.
        managed = new["metadata"].get("managedFields")
        new["metadata"] = {**old["metadata"]}
        if managed is not None:
            new["metadata"]["managedFields"] = managed
    elif (kind.group, kind.kind) == ("apps", "Deployment"):
        _keep(new["metadata"], old["metadata"], "labels")
    elif (kind.group, kind.kind) == ("", "Pod"):
        _keep(new["metadata"], old["metadata"], "ownerReferences")


def _count_generation(kind: kinds.Kind, new: Object, old: Object) -> None:
    if kind.definition and (kind.group, kind.kind) not in _GENERATION:
        return
    changed = wanted(kind, new) != wanted(kind, old)
    if not changed and (kind.group, kind.kind) == ("apps", "Deployment"):
        # Its annotations are copied to its replica sets, so the controller has to see them too.
        changed = (new["metadata"].get("annotations") or {}) != (old["metadata"].get("annotations") or {})
    if changed:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _keep(new: Object, old: Object, name: str) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


# Narrow subresources: `new` becomes `old` but for the part that the subresource is about.


def _only(new: Object, old: Object, *paths: tuple[str, str]) -> None:
    """Keep everything of `old` but metadata and the fields `paths`, each (section, field)."""
    parts = [(section, field, (new.get(section) or {}).get(field)) for section, field in paths]
    for name in {*new, *old} - set(_HEAD):
        _keep(new, old, name)
    for section, field, value in parts:
        owner = new[section] = dict(new.get(section) or {})
        if value is None:
            owner.pop(field, None)
        else:
            owner[field] = value


def _ephemeral_containers(new: Object, old: Object) -> None:
    _only(new, old, ("spec", "ephemeralContainers"))


def _resize(new: Object, old: Object) -> None:
    wanted_spec = new.get("spec") or {}
    _only(new, old)
    spec = new["spec"] = dict(new["spec"])
    for name in ("containers", "initContainers"):
        if name in spec:
            known = {container.get("name"): container for container in spec[name]}
            # What was renamed, added, left out or put in another order stays so: validation refuses it.
            spec[name] = [
                _resized(known[given.get("name")], given) if given.get("name") in known else given
                for given in wanted_spec.get(name, ())
            ]

    _keep(spec, wanted_spec, "resources")


def _resized(container: Object, given: Object) -> Object:
    made = dict(container)
    for name in ("resources", "resizePolicy"):
        _keep(made, given, name)
    return made


def _finalize(new: Object, old: Object) -> None:
    _only(new, old, ("spec", "finalizers"))


def _approval(new: Object, old: Object) -> None:
    _only(new, old, ("status", "conditions"))


_VERDICTS = ("Approved", "Denied")

_NARROW: dict[str, Callable[[Object, Object], None]] = {
    "ephemeralcontainers": _ephemeral_containers,
    "resize": _resize,
    "finalize": _finalize,
    "approval": _approval,
}


# Kinds with rules of their own.


def _create_pod(obj: Object) -> None:
    spec = obj["spec"]
    pod_defaults.service_account(spec)
    _positive_grace(spec)
    status: Object = {"phase": "Pending", "qosClass": qos.of(spec)}
    if spec.get("schedulingGates"):
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": obj["metadata"].get("creationTimestamp"),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    obj["status"] = status


def _update_pod(new: Object, old: Object, subresource: str) -> None:
    if subresource == "status":
        status = new.setdefault("status", {})
        _one_and_many(status, "podIP", "podIPs")
        _one_and_many(status, "hostIP", "hostIPs")
        if not status.get("qosClass") and "qosClass" in old.get("status", {}):
            status["qosClass"] = old["status"]["qosClass"]
    elif subresource == "":
        pod_defaults.service_account(new["spec"])
        _positive_grace(new["spec"])


def _positive_grace(spec: Object) -> None:
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1


def _one_and_many(status: Object, one: str, many: str) -> None:
    """An address that is given alone is also the first of the list, and the first of the list is the one."""
    if status.get(one) and not status.get(many):
        status[many] = [{"ip": status[one]}]
    elif status.get(many) and not status.get(one):
        status[one] = status[many][0]["ip"]


def _create_namespace(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    finalizers = spec.setdefault("finalizers", [])
    if labels.FINALIZER_KUBERNETES not in finalizers:
        finalizers.append(labels.FINALIZER_KUBERNETES)
    obj["status"] = {"phase": "Active"}
    _label_namespace(obj)


def _update_namespace(new: Object, old: Object, subresource: str) -> None:
    if subresource == "":
        _keep(new, old, "spec")
    _label_namespace(new)


def _label_namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})[labels.METADATA_NAME] = obj["metadata"].get("name", "")


def _create_secret(obj: Object) -> None:
    _encode_string_data(obj)


def _update_secret(new: Object, old: Object, subresource: str) -> None:
    del subresource
    _encode_string_data(new)
    if not new.get("type"):
        _keep(new, old, "type")


def _encode_string_data(obj: Object) -> None:
    """`stringData` is for writing only: it goes into `data`, and wins."""
    texts = obj.pop("stringData", None)
    if texts:
        data = obj.setdefault("data", {})
        for name, text in texts.items():
            data[name] = base64.b64encode(text.encode()).decode()


def _create_service(obj: Object) -> None:
    services.normalize(obj["spec"])


def _update_service(new: Object, old: Object, subresource: str) -> None:
    if subresource == "":
        services.carry_over(new["spec"], old["spec"])


def _create_volume(obj: Object) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": obj["metadata"].get("creationTimestamp")}
    if obj["status"]["lastPhaseTransitionTime"] is None:
        del obj["status"]["lastPhaseTransitionTime"]


def _create_claim(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}
    _data_source(obj["spec"])


def _data_source(spec: Object) -> None:
    """`dataSource` and `dataSourceRef` say the same unless another namespace is meant."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)


def _create_job(obj: Object) -> None:
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("manualSelector") is True or "template" not in spec:
        return
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    template = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
    for label in (labels.LEGACY_JOB_NAME, labels.JOB_NAME):
        template.setdefault(label, name)
    for label in (labels.LEGACY_CONTROLLER_UID, labels.CONTROLLER_UID):
        template.setdefault(label, uid)
    selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    selector.setdefault(labels.CONTROLLER_UID, uid)


def _create_daemon_set(obj: Object) -> None:
    given = (obj["metadata"].get("annotations") or {}).get(labels.TEMPLATE_GENERATION, "")
    _set_template_generation(obj, int(given) if given.isdecimal() and int(given) > 0 else 1)


def _update_daemon_set(new: Object, old: Object, subresource: str) -> None:
    """How often the template changed is counted by the server alone."""
    before = (old["metadata"].get("annotations") or {}).get(labels.TEMPLATE_GENERATION, "")
    count = int(before) if before.isdecimal() else 1
    is_changed = subresource == "" and (new.get("spec") or {}).get("template") != old["spec"].get("template")
    _set_template_generation(new, count + 1 if is_changed else count)


def _set_template_generation(obj: Object, count: int) -> None:
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.TEMPLATE_GENERATION: str(count)}


def _create_node(obj: Object) -> None:
    _pod_cidrs(obj.setdefault("spec", {}))


def _update_node(new: Object, old: Object, subresource: str) -> None:
    del old, subresource
    _pod_cidrs(new.setdefault("spec", {}))


def _pod_cidrs(spec: Object) -> None:
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs") and not spec.get("podCIDR"):
        spec["podCIDR"] = spec["podCIDRs"][0]


def _create_attachment(obj: Object) -> None:
    obj["status"] = {"attached": False}


def _update_signing_request(new: Object, old: Object, subresource: str) -> None:
    if subresource == "":
        _keep(new, old, "spec")
    elif subresource == "status":
        _keep_verdict(new, old)


def _keep_verdict(new: Object, old: Object) -> None:
    """Whoever signs neither approves nor denies: such conditions are as they were, after what else there is now."""
    status, before = dict(new.get("status") or {}), old.get("status") or {}
    lasting = [each for each in before.get("conditions") or () if each.get("type") in _VERDICTS]
    kept = iter(lasting)
    conditions = []
    for condition in status.get("conditions") or ():
        if condition.get("type") not in _VERDICTS:
            conditions.append(condition)
        elif (own := next(kept, None)) is not None:
            conditions.append(own)
    conditions += kept
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    new["status"] = status


_CREATE: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "Pod"): _create_pod,
    ("", "Namespace"): _create_namespace,
    ("", "Secret"): _create_secret,
    ("", "Service"): _create_service,
    ("", "PersistentVolume"): _create_volume,
    ("", "PersistentVolumeClaim"): _create_claim,
    ("", "Node"): _create_node,
    ("apps", "DaemonSet"): _create_daemon_set,
    ("batch", "Job"): _create_job,
    ("storage.k8s.io", "VolumeAttachment"): _create_attachment,
}

_UPDATE: dict[tuple[str, str], Callable[[Object, Object, str], None]] = {
    ("", "Pod"): _update_pod,
    ("", "Namespace"): _update_namespace,
    ("", "Secret"): _update_secret,
    ("", "Service"): _update_service,
    ("", "Node"): _update_node,
    ("apps", "DaemonSet"): _update_daemon_set,
    ("certificates.k8s.io", "CertificateSigningRequest"): _update_signing_request,
}
