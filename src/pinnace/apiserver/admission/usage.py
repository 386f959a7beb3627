"""What an object counts for against a quota. Pure."""

import decimal
from typing import Any

from pinnace.api import pods, quantity

Object = dict[str, Any]
Usage = dict[str, decimal.Decimal]

_ONE = decimal.Decimal(1)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
# Kinds that have a short name in quotas of their own, beside `count/<resource>.<group>`.
_COUNTED = {
    ("", "configmaps"): "configmaps",
    ("", "persistentvolumeclaims"): "persistentvolumeclaims",
    ("", "pods"): "pods",
    ("", "replicationcontrollers"): "replicationcontrollers",
    ("", "resourcequotas"): "resourcequotas",
    ("", "secrets"): "secrets",
    ("", "services"): "services",
}


def of(group: str, plural: str, obj: Object) -> Usage:
    """Every quota resource that `obj` uses some of."""
    used: Usage = {f"count/{plural}.{group}" if group else f"count/{plural}": _ONE}
    if (group, plural) == ("", "pods"):
        return used | _pod(obj)
    if (group, plural) in _COUNTED:
        used[_COUNTED[group, plural]] = _ONE
    if (group, plural) == ("", "services"):
        used |= _service(obj)
    if (group, plural) == ("", "persistentvolumeclaims"):
        used |= _claim(obj)
    return used


def _pod(pod: Object) -> Usage:
    if pods.is_terminal(pod):
        return {}
    used: Usage = {"pods": _ONE}
    spec = pod.get("spec") or {}
    for name, amount in pods.requests(spec).items():
        used[f"requests.{name}"] = amount
        if name in _COMPUTE:
            used[name] = amount
    for name, amount in pods.limits(spec).items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def _service(service: Object) -> Usage:
    spec = service.get("spec") or {}
    ports = decimal.Decimal(len(spec.get("ports") or ()))
    if spec.get("type") == "NodePort":
        return {"services.nodeports": ports}
    if spec.get("type") == "LoadBalancer":
        has_ports = spec.get("allocateLoadBalancerNodePorts") is not False
        return {"services.loadbalancers": _ONE, **({"services.nodeports": ports} if has_ports else {})}
    return {}


def _claim(claim: Object) -> Usage:
    spec = claim.get("spec") or {}
    text = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    amount = quantity.parse(text) if text else decimal.Decimal(0)
    used = {"requests.storage": amount, "persistentvolumeclaims": _ONE}
    name = spec.get("storageClassName")
    if name:
        used[f"{name}.storageclass.storage.k8s.io/requests.storage"] = amount
        used[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = _ONE
    return used


def in_scope(quota: Object, plural: str, obj: Object) -> bool:
    """Whether the quota's scopes take in `obj`: scopes speak of pods alone."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not terms:
        return True
    if plural != "pods":
        return False
    return all(_matches(term, obj.get("spec") or {}) for term in terms)


def _matches(term: Object, spec: Object) -> bool:
    match term.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return pods.qos_class(spec) == "BestEffort"
        case "NotBestEffort":
            return pods.qos_class(spec) != "BestEffort"
        case "PriorityClass":
            return _matches_value(term, spec.get("priorityClassName") or "")
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec)
    return False


def _matches_value(term: Object, value: str) -> bool:
    values = term.get("values") or ()
    match term.get("operator"):
        case "Exists":
            return bool(value)
        case "DoesNotExist":
            return not value
        case "In":
            return value in values
    return value not in values


def _crosses_namespaces(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [item.get("podAffinityTerm") or {} for item in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
