"""Nodes, and whatever selects nodes by labels that have other names now (pkg/api/node/util.go)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pinnace.api.warnings import addresses

Object = Mapping[str, Any]

DEPRECATED_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def node(new: Object, old: Object | None, subresource: str) -> list[str]:
    spec = new.get("spec") or {}
    if subresource or (old is not None and spec == (old.get("spec") or {})):
        return []
    found = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    return [*found, *addresses.cidrs("spec.podCIDRs", spec.get("podCIDRs"))]


def runtime_class(new: Object, old: Object | None, subresource: str) -> list[str]:
    selector = (new.get("scheduling") or {}).get("nodeSelector") or {}
    return [
        f"scheduling.nodeSelector: {DEPRECATED_LABELS[key]}" for key in sorted(selector) if key in DEPRECATED_LABELS
    ]


def label_key(path: str, key: str) -> Iterator[str]:
    """A key that stands in a field of its own, at `path`."""
    if key in DEPRECATED_LABELS:
        yield f"{path}: {key} is {DEPRECATED_LABELS[key]}"


def expressions(path: str, found: Iterable[Object] | None) -> Iterator[str]:
    for index, expression in enumerate(found or ()):
        yield from label_key(f"{path}[{index}].key", expression.get("key", ""))


def selector_terms(path: str, terms: Iterable[Object] | None) -> Iterator[str]:
    for index, term in enumerate(terms or ()):
        yield from expressions(f"{path}[{index}].matchExpressions", term.get("matchExpressions"))
