"""Pods by their labels: which ones a selector takes in, without a look at every pod of the namespace."""

from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import resources, selectors
from pinnace.controllers.framework import lister as views
from pinnace.controllers.framework import objects

Object = dict[str, Any]


def value(namespace: str, key: str, text: str) -> str:
    """Under which an index by labels holds the objects of `namespace` that have the label."""
    return f"{namespace}/{key}={text}"


def _labels(pod: Object) -> Iterable[str]:
    namespace = objects.namespace_of(pod)
    return [value(namespace, key, text) for key, text in objects.labels_of(pod).items()]


PODS: views.Index = (resources.PODS, "label", _labels)
"""For the `indexes` of every controller that calls `pods_of`."""


def pods_of(view: views.View, namespace: str, selector: selectors.LabelSelector) -> Sequence[Object]:
    """The pods of `namespace` that `selector` matches."""
    found = [
        view.by_index(resources.PODS, "label", value(namespace, each.key, each.values[0]))
        for each in selector.requirements
        if each.operator in ("=", "==", "in") and len(each.values) == 1
    ]
    # Without a label that every match must have, there is nothing to look up.
    candidates = min(found, key=len) if found else view.list(resources.PODS, namespace)
    return [pod for pod in candidates if selector.matches(objects.labels_of(pod))]
