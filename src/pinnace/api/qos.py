"""Quality-of-service class of a pod, from its requests and limits."""

from typing import Any

from pinnace.api import quantity

Fields = dict[str, Any]

_COMPUTE = ("cpu", "memory")


def of(spec: Fields) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort` for a PodSpec."""
    whole = spec.get("resources") or {}
    if whole.get("requests") or whole.get("limits"):
        return _class_of(_amounts(whole, "requests"), _amounts(whole, "limits"), _has_all(_amounts(whole, "limits")))
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    all_limited = True
    for container in (*spec.get("initContainers", ()), *(spec.get("containers") or ())):
        resources = container.get("resources") or {}
        own_limits = _amounts(resources, "limits")
        _add(requests, _amounts(resources, "requests"))
        _add(limits, own_limits)
        all_limited = all_limited and _has_all(own_limits)
    return _class_of(requests, limits, all_limited)


def _class_of(requests: dict[str, int], limits: dict[str, int], all_limited: bool) -> str:
    if not requests and not limits:
        return "BestEffort"
    if all_limited and requests == limits:
        return "Guaranteed"
    return "Burstable"


def _amounts(resources: Fields, name: str) -> dict[str, int]:
    """In thousandths; an amount of zero is none."""
    found = resources.get(name) or {}
    amounts = {key: quantity.milli(found[key]) for key in _COMPUTE if key in found}
    return {key: amount for key, amount in amounts.items() if amount > 0}


def _add(total: dict[str, int], part: dict[str, int]) -> None:
    for key, amount in part.items():
        total[key] = total.get(key, 0) + amount


def _has_all(limits: dict[str, int]) -> bool:
    return len(limits) == len(_COMPUTE)
