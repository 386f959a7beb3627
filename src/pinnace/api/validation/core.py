"""Kinds of the core group other than pods, services and storage."""

import base64

import orjson

from pinnace.api import labels, quantity, resource_names, selectors
from pinnace.api.validation import field, formats, metadata, placement, pods, resources

Fields = field.Fields
Causes = field.Causes

MAX_DATA_BYTES = 1024 * 1024


# ConfigMaps and Secrets.


def config_map(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _config_map_data(found, obj)


def _config_map_data(found: Causes, obj: Fields) -> None:
    texts, binary = field.part(obj, "data"), field.part(obj, "binaryData")
    size = 0
    for key, value in texts.items():
        found.messages(f"data[{key}]", key, formats.config_key(key))
        if key in binary:
            found.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(value.encode())
    for key, value in binary.items():
        found.messages(f"binaryData[{key}]", key, formats.config_key(key))
        size += _decoded_size(value)
    if size > MAX_DATA_BYTES:
        found.too_long("[]", MAX_DATA_BYTES)


def _decoded_size(text: str) -> int:
    return len(text) * 3 // 4 - text.count("=", -2)


def config_map_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    if old.get("immutable"):
        _immutable_data(found, new, old, ("data", "binaryData"))
    config_map(found, new)


def _immutable_data(found: Causes, new: Fields, old: Fields, names: tuple[str, ...]) -> None:
    message = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        found.forbidden("immutable", message)
    for name in names:
        if (new.get(name) or {}) != (old.get(name) or {}):
            found.forbidden(name, message)


def secret(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    data = field.part(obj, "data")
    for key in data:
        found.messages(f"data[{key}]", key, formats.config_key(key))
    if sum(_decoded_size(value) for value in data.values()) > MAX_DATA_BYTES:
        found.too_long("data", MAX_DATA_BYTES)
    _secret_type(found, obj, data)


def _secret_type(found: Causes, obj: Fields, data: Fields) -> None:
    match obj.get("type"):
        case "kubernetes.io/service-account-token":
            if not field.part(field.part(obj, "metadata"), "annotations").get(labels.SERVICE_ACCOUNT_NAME):
                found.required(f"metadata.annotations[{labels.SERVICE_ACCOUNT_NAME}]")
        case "kubernetes.io/dockercfg":
            _json_entry(found, data, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            _json_entry(found, data, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                found.required("data[username]")
                found.required("data[password]")
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                found.required("data[ssh-privatekey]")
        case "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in data:
                    found.required(f"data[{key}]")


def _json_entry(found: Causes, data: Fields, key: str) -> None:
    if key not in data:
        found.required(f"data[{key}]")
        return
    try:
        parsed = orjson.loads(base64.b64decode(data[key]))
    except ValueError as error:
        found.invalid(f"data[{key}]", "<secret contents redacted>", str(error).partition(":")[0])
        return
    if not isinstance(parsed, dict):
        found.invalid(
            f"data[{key}]",
            "<secret contents redacted>",
            "json: cannot unmarshal value into Go value of type map[string]interface {}",
        )


def secret_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("type", new.get("type"), old.get("type"))
    if old.get("immutable"):
        _immutable_data(found, new, old, ("data",))
    secret(found, new)


# Namespaces, service accounts, events.


def namespace(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_label)
    for name in field.items(field.part(obj, "spec"), "finalizers"):
        found.messages("spec.finalizers", name, formats.qualified_name(name))
        metadata.standard_finalizer(found, name, "spec.finalizers")


def namespace_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for index, name in enumerate(field.items(field.part(new, "spec"), "finalizers")):
        found.messages(f"spec.finalizers[{index}]", name, formats.qualified_name(name))
        metadata.standard_finalizer(found, name, f"spec.finalizers[{index}]")


def namespace_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    phase = field.part(new, "status").get("phase") or ""
    if not new["metadata"].get("deletionTimestamp"):
        if phase != "Active":
            found.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")
    elif phase != "Terminating":
        found.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")


def service_account(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)


_NEW_EVENTS = "events.k8s.io/v1"
# What only the older form of an event may say, by its internal name.
_OLD_EVENT_FIELDS = (
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("deprecatedSource", "source"),
)
_FIXED_EVENT_FIELDS = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def event(found: Causes, obj: Fields) -> None:
    """Both groups' events: the older form is judged leniently, as upstream does."""
    namespace_name = field.part(obj, "metadata").get("namespace") or ""
    is_new = obj.get("apiVersion") == _NEW_EVENTS
    wanted = field.part(obj, "regarding" if is_new else "involvedObject").get("namespace") or ""
    alone = ("default", "kube-system") if obj.get("eventTime") else ("default",)
    if (wanted and wanted != namespace_name) or (not wanted and namespace_name not in alone):
        found.invalid("involvedObject.namespace", wanted, "does not match event.namespace")
    found.messages("metadata.namespace", namespace_name, formats.dns_label(namespace_name))
    name = field.part(obj, "metadata").get("name") or ""
    if not name:
        found.required("metadata.name", "name or generateName is required")
    if obj.get("eventTime"):
        _new_event(found, obj, is_new=is_new)
    if is_new:
        _strict_event(found, obj)


def _new_event(found: Causes, obj: Fields, *, is_new: bool) -> None:
    where = "reportingController" if is_new else "reportingComponent"
    controller = obj.get(where) or ""
    if not controller:
        found.required(where)
    found.messages(where, controller, formats.qualified_name(controller))
    for name, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
        value = obj.get(name) or ""
        if not value:
            found.required(name)
        elif len(value) > limit:
            found.invalid(name, "", f"can have at most {limit} characters")
    if len(obj.get("note" if is_new else "message") or "") > 1024:
        found.invalid("message", "", "can have at most 1024 characters")


def _strict_event(found: Causes, obj: Fields) -> None:
    """What the newer group asks for when an event is made through it."""
    _event_series(found, obj.get("series"))
    if not obj.get("eventTime"):
        found.required("eventTime")
    if obj.get("type") not in ("Normal", "Warning"):
        found.invalid("type", "", f"has invalid value: {obj.get('type') or ''}")
    for name, internal in _OLD_EVENT_FIELDS:
        if obj.get(name):
            found.invalid(internal, "", "needs to be unset")


def event_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    if new.get("apiVersion") != _NEW_EVENTS:
        event(found, new)
        return
    for name, internal in _FIXED_EVENT_FIELDS:
        found.unchanged(internal, new.get(name), old.get(name))
    if new.get("eventTime"):
        _new_event(found, new, is_new=True)
    if new.get("series") != old.get("series"):
        _event_series(found, new.get("series"))


def _event_series(found: Causes, series: Fields | None) -> None:
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        found.invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        found.required("series.lastObservedTime")


# Nodes.


def node(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    spec = field.part(obj, "spec")
    placement.taints(found, field.items(spec, "taints"), "metadata.taints")
    _node_resources(found, obj)
    ranges = field.items(spec, "podCIDRs")
    for index, value in enumerate(ranges):
        found.messages(f"spec.podCIDRs[{index}]", value, formats.cidr(value))
    if len(ranges) > 2:
        found.invalid("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family")


def _node_resources(found: Causes, obj: Fields) -> None:
    for name in ("capacity", "allocatable"):
        for key, value in field.part(field.part(obj, "status"), name).items():
            resources.amount(found, key, value, f"status.{name}.{key}")


def node_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _node_resources(found, new)
    seen: list[Fields] = []
    for index, address in enumerate(field.items(field.part(new, "status"), "addresses")):
        if address in seen:
            found.duplicate(f"status.addresses[{index}]", address)
        seen.append(address)
    before, after = field.part(old, "spec"), field.part(new, "spec")
    if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
        found.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if before.get("providerID") and before["providerID"] != after.get("providerID"):
        found.forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    placement.taints(found, field.items(after, "taints"), "metadata.taints")


# Replication controllers and pod templates.


def replication_controller(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _controller_spec(found, field.part(obj, "spec"))


def replication_controller_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _controller_spec(found, field.part(new, "spec"))


def _controller_spec(found: Causes, spec: Fields) -> None:
    found.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector = field.part(spec, "selector")
    if not selector:
        found.required("spec.selector")
    found.not_negative("spec.replicas", spec.get("replicas"))
    template = spec.get("template")
    path = "spec.template"
    if template is None:
        found.required(path)
        return
    given = field.part(field.part(template, "metadata"), "labels")
    if selector and not selectors.from_labels(selector).matches(given):
        found.invalid(f"{path}.metadata.labels", given, "`selector` does not match template `labels`")
    pods.template(found, template, path)
    always_restarts(found, template, path, "ReplicationController")


def always_restarts(found: Causes, template: Fields, path: str, kind: str) -> None:
    """Pods of controllers that keep a number of them running."""
    spec = field.part(template, "spec")
    if spec.get("restartPolicy") != "Always":
        found.not_supported(f"{path}.spec.restartPolicy", spec.get("restartPolicy") or "", ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        found.forbidden(f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")


def pod_template(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    pods.template(found, field.part(obj, "template"), "template")


# Limit ranges and quotas.

_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


def limit_range(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    types: set[str] = set()
    for index, limit in enumerate(field.items(field.part(obj, "spec"), "limits")):
        path, kind = f"spec.limits[{index}]", limit.get("type") or ""
        messages = formats.qualified_name(kind)
        found.messages(f"{path}.type", kind, messages)
        if not messages and "/" not in kind and kind not in _LIMIT_TYPES:
            found.invalid(f"{path}.type", kind, "must be a standard limit type or fully qualified")
        if kind in types:
            found.duplicate(f"{path}.type", kind)
        types.add(kind)
        _limit(found, limit, kind, path)


def _limit(found: Causes, limit: Fields, kind: str, path: str) -> None:
    names = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
    if kind == "Pod":
        for name in ("default", "defaultRequest"):
            names.remove(name)
            if limit.get(name):
                found.forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'")
    for name in names:
        for key in field.part(limit, name):
            check = resources.container_name if kind in ("Pod", "Container") else resources.name
            check(found, key, f"{path}.{name}[{key}]")
    if kind == "PersistentVolumeClaim" and not any("storage" in field.part(limit, name) for name in ("min", "max")):
        found.required(
            f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided"
        )
    for key in sorted({key for name in names for key in field.part(limit, name)}):
        _limit_order(found, {name: field.part(limit, name).get(key) for name in names}, key, path)


# (smaller, larger, where it is told, what is shown there, in which words)
_LIMIT_ORDER = (
    ("min", "max", "min", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)


def _limit_order(found: Causes, amounts: dict[str, str | None], key: str, path: str) -> None:
    for smaller, larger, where, shown, words in _LIMIT_ORDER:
        small, large = amounts.get(smaller), amounts.get(larger)
        if small is not None and large is not None and quantity.compare(small, large) > 0:
            found.invalid(f"{path}.{where}[{key}]", amounts[shown], words.format(small, large))
    ratio, least, most = amounts.get("maxLimitRequestRatio"), amounts.get("min"), amounts.get("max")
    where = f"{path}.maxLimitRequestRatio[{key}]"
    if ratio is not None and quantity.compare(ratio, "1") < 0:
        found.invalid(where, ratio, f"ratio {ratio} is less than 1")
    if ratio is not None and least is not None and most is not None and quantity.milli(least):
        limit = quantity.milli(most) / quantity.milli(least)
        if quantity.milli(ratio) / 1000 > limit:
            found.invalid(where, ratio, f"ratio {ratio} is greater than max/min = {limit:f}")
    default, request = amounts.get("default"), amounts.get("defaultRequest")
    if (
        default is not None
        and request is not None
        and not resource_names.allows_overcommit(key)
        and quantity.compare(default, request)
    ):
        found.invalid(
            f"{path}.defaultRequest[{key}]",
            request,
            f"default value {default} must equal to defaultRequest value {request} in {key}",
        )


_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)
_POD_RESOURCES = frozenset(
    {
        "pods",
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    }
)
_CONFLICTING = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})


def resource_quota(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _quota_spec(found, field.part(obj, "spec"))


def resource_quota_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _quota_spec(found, field.part(new, "spec"))
    after, before = field.items(field.part(new, "spec"), "scopes"), field.items(field.part(old, "spec"), "scopes")
    if set(after) != set(before):
        found.invalid("spec.scopes", after, field.IMMUTABLE)


def resource_quota_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for name in ("hard", "used"):
        _quota_amounts(found, field.part(field.part(new, "status"), name), f"status.{name}")


def _quota_amounts(found: Causes, amounts: Fields, path: str) -> None:
    for key, value in amounts.items():
        resources.quota_name(found, key, f"{path}[{key}]")
        resources.amount(found, key, value, f"{path}[{key}]")


def _quota_spec(found: Causes, spec: Fields) -> None:
    hard = field.part(spec, "hard")
    _quota_amounts(found, hard, "spec.hard")
    scopes = field.items(spec, "scopes")
    for scope in scopes:
        if scope not in _SCOPES:
            found.invalid("spec.scopes", scopes, "unsupported scope")
        if any(key in resources.STANDARD_QUOTA and not _scope_covers(scope, key) for key in hard):
            found.invalid("spec.scopes", scopes, "unsupported scope applied to resource")
    if any(pair <= set(scopes) for pair in _CONFLICTING):
        found.invalid("spec.scopes", scopes, "conflicting scopes")
    for requirement in field.items(spec.get("scopeSelector"), "matchExpressions"):
        _scope_requirement(found, requirement, "spec.scopeSelector.matchExpressions")


def _scope_covers(scope: str, key: str) -> bool:
    if scope == "BestEffort":
        return key == "pods"
    if scope in ("Terminating", "NotTerminating", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"):
        return key in _POD_RESOURCES
    return True


def _scope_requirement(found: Causes, requirement: Fields, path: str) -> None:
    scope, operator = requirement.get("scopeName") or "", requirement.get("operator") or ""
    values = field.items(requirement, "values")
    if scope not in _SCOPES:
        found.invalid(f"{path}.scopeName", scope, "unsupported scope")
    if scope in _SCOPES and scope not in ("PriorityClass", "VolumeAttributesClass") and operator != "Exists":
        found.invalid(
            f"{path}.operator",
            operator,
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
            "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
            "ResourceQuotaScopeCrossNamespacePodAffinity",
        )
    if operator in ("In", "NotIn"):
        if not values:
            found.required(
                f"{path}.values", "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            found.invalid(
                f"{path}.values",
                values,
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )
    else:
        found.invalid(f"{path}.operator", operator, "not a valid selector operator")


# Bindings.


def binding(found: Causes, obj: Fields) -> None:
    target = field.part(obj, "target")
    if target.get("kind") not in (None, "", "Node"):
        found.not_supported("target.kind", target["kind"], ("Node", "<empty>"))
    if not target.get("name"):
        found.required("target.name")
