"""Which nodes a node selector means (v1.NodeSelector, v1.NodeAffinity), one node at a time. Pure."""

from typing import Any

from pinnace.controllers.framework import objects

Object = dict[str, Any]


def matches_selector(selector: Object, node: Object) -> bool:
    """Any of the terms; a term without requirements matches nothing."""
    return any(_matches_term(term, node) for term in selector.get("nodeSelectorTerms") or ())


def matches_pod(spec: Object, node: Object) -> bool:
    """A pod's `nodeSelector` and required node affinity."""
    labels = objects.labels_of(node)
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or matches_selector(required, node)


def matches_volume(volume: Object, node: Object) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    return required is None or matches_selector(required, node)


def _matches_term(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = objects.labels_of(node)
    return all(_holds(each, labels.get(each["key"])) for each in expressions) and all(
        _holds(each, objects.name_of(node) if each["key"] == "metadata.name" else None) for each in fields
    )


def _holds(requirement: Object, value: str | None) -> bool:
    operator: str = requirement["operator"]
    values: list[str] = requirement.get("values") or []
    if operator in ("Gt", "Lt"):
        try:
            left, right = int(value or ""), int(values[0])
        except (ValueError, IndexError):
            return False
        return left > right if operator == "Gt" else left < right
    decided = {
        "In": value is not None and value in values,
        "NotIn": value is None or value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return decided[operator]
