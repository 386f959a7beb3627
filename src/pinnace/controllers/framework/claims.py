"""Adoption and release: which of several candidates a workload controls (upstream's controller_ref_manager). Pure."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from pinnace.api import resources, selectors
from pinnace.controllers.framework import actions, objects

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Claimed:
    objects: list[Object]
    """What the owner controls once the writes are through."""
    writes: list[actions.Action]


def claim(
    owner: Object,
    owner_resource: resources.Resource,
    selector: selectors.LabelSelector,
    owned: Iterable[Object],
    orphans: Iterable[Object],
    resource: resources.Resource,
    finalizer: str = "",
) -> Claimed:
    """`owned`: what carries the owner's reference; `orphans`: what carries nobody's, in the owner's namespace.

    What no longer matches is released, what matches and is nobody's is adopted; an owner that is being deleted does
    neither. `finalizer` is set on what is adopted and taken from what is released."""
    result = Claimed([], [])
    is_going = objects.is_deleting(owner)
    for obj in owned:
        if selector.matches(objects.labels_of(obj)):
            result.objects.append(obj)
        elif not is_going:
            result.writes.append(_release(obj, owner, resource, finalizer))
    if is_going or selector.is_everything:
        return result
    for obj in orphans:
        if selector.matches(objects.labels_of(obj)) and not objects.is_deleting(obj):
            result.writes.append(_adopt(obj, owner, owner_resource, resource, finalizer))
            result.objects.append(obj)
    return result


def _adopt(
    obj: Object, owner: Object, owner_resource: resources.Resource, resource: resources.Resource, finalizer: str
) -> actions.Patch:
    # The uid makes the patch fail on an object that merely has the same name.
    metadata: Object = {
        "ownerReferences": [objects.owner_reference(owner, owner_resource)],
        "uid": objects.uid_of(obj),
    }
    if finalizer:
        metadata["finalizers"] = [finalizer]
    return actions.Patch(
        resource,
        objects.namespace_of(obj),
        objects.name_of(obj),
        {"metadata": metadata},
        kind="strategic",
        only_if=actions.Exists(
            owner_resource, objects.namespace_of(owner), objects.name_of(owner), objects.uid_of(owner)
        ),
    )


def _release(obj: Object, owner: Object, resource: resources.Resource, finalizer: str) -> actions.Patch:
    gone = {"$patch": "delete", "uid": objects.uid_of(owner)}
    metadata: Object = {"ownerReferences": [gone], "uid": objects.uid_of(obj)}
    if finalizer:
        metadata["$deleteFromPrimitiveList/finalizers"] = [finalizer]
    return actions.Patch(
        resource,
        objects.namespace_of(obj),
        objects.name_of(obj),
        {"metadata": metadata},
        kind="strategic",
        is_optional=True,
    )
