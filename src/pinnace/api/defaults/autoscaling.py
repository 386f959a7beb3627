"""Defaults of `autoscaling/v1` and `autoscaling/v2`."""

from typing import Any

Object = dict[str, Any]

_SCALE_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_SCALE_DOWN: Object = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


def autoscaler_v1(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)


def autoscaler_v2(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        behavior["scaleUp"] = _rules(_SCALE_UP, behavior.get("scaleUp"))
        behavior["scaleDown"] = _rules(_SCALE_DOWN, behavior.get("scaleDown"))


def _rules(defaults: Object, given: Object | None) -> Object:
    made = {**defaults, **(given or {})}
    made["policies"] = [dict(policy) for policy in made["policies"]]
    return made


TABLE = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): autoscaler_v1,
    ("autoscaling", "v2", "HorizontalPodAutoscaler"): autoscaler_v2,
}
