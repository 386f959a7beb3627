"""Disruption budgets and horizontal autoscalers."""

from pinnace.api import quantity
from pinnace.api.validation import apps, field, formats, metadata

Fields = field.Fields
Causes = field.Causes

_METRICS = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "External": "external",
}
_MAX_STABILIZATION = 3600
_MAX_PERIOD = 1800


def disruption_budget(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _budget_spec(found, field.part(obj, "spec"))


def disruption_budget_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _budget_spec(found, field.part(new, "spec"))


def _budget_spec(found: Causes, spec: Fields) -> None:
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        found.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            apps.int_or_percent(found, spec[name], f"spec.{name}")
            apps.at_most_whole(found, spec[name], f"spec.{name}")
    metadata.label_selector(found, spec.get("selector"), "spec.selector")
    found.maybe_one_of(
        "spec.unhealthyPodEvictionPolicy", spec.get("unhealthyPodEvictionPolicy"), ("AlwaysAllow", "IfHealthyBudget")
    )


def disruption_budget_status(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for name in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        found.not_negative(f"status.{name}", field.part(new, "status").get(name))


def autoscaler(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _autoscaler_spec(found, field.part(obj, "spec"))


def autoscaler_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _autoscaler_spec(found, field.part(new, "spec"))


def _autoscaler_spec(found: Causes, spec: Fields) -> None:
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 1:
        found.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        found.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        found.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    _target_reference(found, field.part(spec, "scaleTargetRef"), "spec.scaleTargetRef")
    for index, metric in enumerate(field.items(spec, "metrics")):
        _metric(found, metric, f"spec.metrics[{index}]")
    behavior = field.part(spec, "behavior")
    for name in ("scaleUp", "scaleDown"):
        if name in behavior:
            _scaling_rules(found, behavior[name], f"spec.behavior.{name}")
    percentage = spec.get("targetCPUUtilizationPercentage")
    if percentage is not None and percentage < 1:
        found.invalid("spec.targetCPUUtilizationPercentage", percentage, "must be greater than 0")


def _target_reference(found: Causes, reference: Fields, path: str) -> None:
    for name in ("kind", "name"):
        value = reference.get(name) or ""
        if not value:
            found.required(f"{path}.{name}")
        else:
            found.messages(f"{path}.{name}", value, formats.path_segment(value))


def _metric(found: Causes, metric: Fields, path: str) -> None:
    kind = metric.get("type") or ""
    if not kind:
        found.required(f"{path}.type", "must specify a metric source type")
        return
    if kind not in _METRICS:
        found.not_supported(f"{path}.type", kind, sorted(_METRICS))
        return
    name = _METRICS[kind]
    source = metric.get(name)
    if source is None:
        found.required(f"{path}.{name}", "must populate information for the given metric source")
        return
    for other in _METRICS.values():
        if other != name and metric.get(other) is not None:
            found.forbidden(f"{path}.{other}", "must populate the given metric source only")
    here = f"{path}.{name}"
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            found.required(f"{here}.name", "must specify a resource name")
        if kind == "ContainerResource" and not source.get("container"):
            found.required(f"{here}.container", "must specify a container")
    else:
        identifier = field.part(source, "metric")
        if not identifier.get("name"):
            found.required(f"{here}.metric.name")
        else:
            found.messages(f"{here}.metric.name", identifier["name"], formats.path_segment(identifier["name"]))
    if kind == "Object":
        _target_reference(found, field.part(source, "describedObject"), f"{here}.describedObject")
    _metric_target(found, field.part(source, "target"), kind, f"{here}.target")


def _metric_target(found: Causes, target: Fields, kind: str, path: str) -> None:
    of_type = target.get("type") or ""
    if not of_type:
        found.required(f"{path}.type", "must specify a metric target type")
    elif of_type not in ("Utilization", "Value", "AverageValue"):
        found.invalid(f"{path}.type", of_type, "must be either Utilization, Value, or AverageValue")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        found.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")
    for name in ("value", "averageValue"):
        if target.get(name) is not None and quantity.parse(target[name]) <= 0:
            found.invalid(f"{path}.{name}", target[name], "must be positive")
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and target.get("averageValue") is None:
            found.required(
                f"{path}.averageUtilization",
                "must set either a target raw value or a target utilization",
            )
        if utilization is not None and target.get("averageValue") is not None:
            found.forbidden(f"{path}.averageValue", "may not set both a target raw value and a target utilization")
    elif kind == "Pods":
        if target.get("averageValue") is None:
            found.required(f"{path}.averageValue", "must specify a positive target averageValue")
    elif target.get("value") is None and target.get("averageValue") is None:
        found.required(f"{path}.averageValue", "must set either a target value for metric or a per-pod target")


def _scaling_rules(found: Causes, rules: Fields, path: str) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None:
        found.not_negative(f"{path}.stabilizationWindowSeconds", window)
        if window > _MAX_STABILIZATION:
            found.invalid(
                f"{path}.stabilizationWindowSeconds", window, f"must be less than or equal to {_MAX_STABILIZATION}"
            )
    found.maybe_one_of(f"{path}.selectPolicy", rules.get("selectPolicy"), ("Disabled", "Max", "Min"))
    policies = field.items(rules, "policies")
    if not policies:
        found.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        here = f"{path}.policies[{index}]"
        found.maybe_one_of(f"{here}.type", policy.get("type") or "", ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if (policy.get(name) or 0) <= 0:
                found.invalid(f"{here}.{name}", policy.get(name) or 0, field.POSITIVE)
        if (policy.get("periodSeconds") or 0) > _MAX_PERIOD:
            found.invalid(
                f"{here}.periodSeconds", policy["periodSeconds"], f"must be less than or equal to {_MAX_PERIOD}"
            )
