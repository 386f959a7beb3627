"""`autoscaling`: HorizontalPodAutoscalers (stored as v2, whichever version they come in) and Scale."""

import dataclasses
from typing import Any

import orjson

from pinnace.api.rules import base
from pinnace.api.tables import workloads
from pinnace.api.validation import policy
from pinnace.api.warnings import unserved

Object = base.Object

_SCALE_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def _defaults_v1(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)


def _defaults_v2(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = _scaling_rules(_SCALE_UP, behavior.get("scaleUp"))
        behavior["scaleDown"] = _scaling_rules(_SCALE_DOWN, behavior.get("scaleDown"))


def _scaling_rules(defaults: Object, given: Object | None) -> Object:
    made = {**defaults, **(given or {})}
    made["policies"] = [dict(policy) for policy in made["policies"]]
    return made


_CPU_V1 = "targetCPUUtilizationPercentage"


def _to_v2(obj: Object) -> Object:
    """v1 -> v2: the one percentage becomes a metric; what v1 cannot say waits in annotations."""
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = orjson.loads(annotations.pop("autoscaling.alpha.kubernetes.io/metrics", "[]"))
    behavior = annotations.pop("autoscaling.alpha.kubernetes.io/behavior", None)
    conditions = annotations.pop("autoscaling.alpha.kubernetes.io/conditions", None)
    current = annotations.pop("autoscaling.alpha.kubernetes.io/current-metrics", None)
    percentage = spec.pop(_CPU_V1, None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if behavior is not None:
        spec["behavior"] = orjson.loads(behavior)
    seen = orjson.loads(current) if current is not None else []
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    if percentage is not None:
        seen.insert(0, {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percentage}}})
    if seen:
        status["currentMetrics"] = seen
    if conditions is not None:
        status["conditions"] = orjson.loads(conditions)
    _set_annotations(metadata, annotations)
    return {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": status}


def _to_v1(obj: Object) -> Object:
    metadata, spec, status = dict(obj["metadata"]), dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = spec.pop("metrics", None) or []
    percentages = [found for found in metrics if _cpu_utilization(found, "target") is not None]
    if percentages:
        spec[_CPU_V1] = _cpu_utilization(percentages[0], "target")
    rest = [found for found in metrics if not (percentages and found is percentages[0])]
    if rest:
        annotations["autoscaling.alpha.kubernetes.io/metrics"] = orjson.dumps(rest).decode()
    if spec.get("behavior") is not None:
        annotations["autoscaling.alpha.kubernetes.io/behavior"] = orjson.dumps(spec["behavior"]).decode()
    spec.pop("behavior", None)
    current = status.pop("currentMetrics", None) or []
    shown = [found for found in current if _cpu_utilization(found, "current") is not None]
    if shown:
        status["currentCPUUtilizationPercentage"] = _cpu_utilization(shown[0], "current")
    if current:
        annotations["autoscaling.alpha.kubernetes.io/current-metrics"] = orjson.dumps(current).decode()
    # v1 always says both.
    status = {"currentReplicas": 0, "desiredReplicas": 0, **status}
    conditions = status.pop("conditions", None)
    if conditions:
        annotations["autoscaling.alpha.kubernetes.io/conditions"] = orjson.dumps(conditions).decode()
    _set_annotations(metadata, annotations)
    return {**obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def _cpu_utilization(metric: Object, where: str) -> Any:
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    return (resource.get(where) or {}).get("averageUtilization")


def _set_annotations(metadata: Object, annotations: Object) -> None:
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)


_CONVERTER = base.Functions({"autoscaling/v2": _to_v2, "autoscaling/v1": _to_v1})
V2_RULES = base.Rules(
    warnings=unserved.kind,
    defaults=_defaults_v2,
    validate_create=policy.autoscaler,
    update=base.Part(validate=policy.autoscaler_update),
    printer=workloads.HORIZONTAL_POD_AUTOSCALER,
)
V1_RULES = dataclasses.replace(V2_RULES, defaults=_defaults_v1, stored=base.Stored("autoscaling", "v2", _CONVERTER))
SCALE = base.Rules(printer=workloads.SCALE)


def _autoscaler(rules: base.Rules) -> base.Rows:
    return (
        base.Row(
            "HorizontalPodAutoscaler", "horizontalpodautoscalers", base.NAMESPACED, "hpa", "all", base.STATUS, rules
        ),
    )


V2 = _autoscaler(V2_RULES)
V1 = _autoscaler(V1_RULES)
