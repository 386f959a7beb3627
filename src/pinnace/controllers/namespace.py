"""Namespaces that are being deleted: first their pods, then everything else, then the namespace itself.

Watches Namespaces; what is in one is read from the API itself (`observe`). Guarantees: the namespace goes only when nothing
of any served kind is left in it, and its conditions say what it waits for.
"""

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.client import client
from pinnace.controllers.framework import actions, discovery, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

FINALIZER = "kubernetes"
LOOK_AGAIN_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """What is left in a namespace."""

    namespace: Object
    """As the API has it now."""
    left: Mapping[discovery.Served, Sequence[Object]] = dataclasses.field(default_factory=dict)
    """Only resources of which something is left."""
    failed: tuple[str, ...] = ()
    """Groups whose resources nobody could name."""
    unlisted: tuple[str, ...] = ()
    """Why some resources could not be listed: whatever is of them is not known, so the namespace stays."""


async def observe(api: client.Client, view: views.View, key: objects.Key) -> Content | None:
    cached = view.get(resources.NAMESPACES, *key)
    if cached is None or not objects.is_deleting(cached):
        return None
    name = key[1]
    try:
        namespace = await api.get(resources.NAMESPACES, None, name)
    except client.NotFound:
        return None
    if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
        return Content(namespace)
    found = await discovery.discover(api)
    left, unlisted = {}, []
    for served in found.served:
        if not served.resource.namespaced or not {"list", "delete"} <= served.verbs:
            continue
        try:
            items = (await api.list(served.resource, name)).items
        except client.NotFound:
            continue  # Served no more.
        except client.ApiError as error:
            # One resource that is not answered for must not keep the others from being deleted.
            unlisted.append(str(error))
            continue
        if items:
            left[served] = items
    return Content(namespace, left, found.failed, tuple(unlisted))


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    content = view.live
    if not isinstance(content, Content) or not objects.is_deleting(content.namespace):
        return []
    namespace = content.namespace
    if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
        return []
    result = _deletions(content)
    status = {**objects.status_of(namespace), "phase": "Terminating"}
    status["conditions"] = _conditions(content, status.get("conditions") or (), now)
    if content.left or content.failed or content.unlisted:
        if not objects.is_same_status(status, namespace.get("status")):
            updated = {**namespace, "status": status}
            result.append(actions.Update(resources.NAMESPACES, updated, subresource="status"))
        return [*result, actions.Requeue(LOOK_AGAIN_SECONDS)]
    kept = [each for each in namespace["spec"]["finalizers"] if each != FINALIZER]
    finalized = {**namespace, "spec": {**namespace["spec"], "finalizers": kept}}
    return [actions.Update(resources.NAMESPACES, finalized, subresource="finalize")]


def _deletions(content: Content) -> list[actions.Action]:
    """Pods before anything else: they may need their secrets, policies and volumes to the end."""
    first = [served for served in content.left if served.resource.kind == "Pod" and not served.resource.group]
    name = objects.name_of(content.namespace)
    result: list[actions.Action] = []
    for served in first or content.left:
        fresh = [obj for obj in content.left[served] if not objects.is_deleting(obj)]
        if not fresh:
            continue
        if "deletecollection" in served.verbs:
            result.append(actions.DeleteCollection(served.resource, name, is_optional=True))
        else:
            result += [
                actions.Delete(served.resource, name, objects.name_of(obj), uid=objects.uid_of(obj), is_optional=True)
                for obj in fresh
            ]
    return result


def _conditions(content: Content, present: Sequence[Object], now: datetime.datetime) -> list[Object]:
    failed, left, unlisted = content.failed, content.left, content.unlisted
    texts = [
        (
            "NamespaceDeletionDiscoveryFailure",
            f"Discovery failed for some groups, {len(failed)} failing: {', '.join(failed)}" if failed else "",
            ("DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            ("GroupVersionParsingFailed", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            f"Failed to delete all resource types, {len(unlisted)} remaining: {', '.join(unlisted)}"
            if unlisted
            else "",
            (
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            _remaining(left),
            ("SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            _finalizers(left),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ]
    result = []
    for kind, trouble, (bad, good, fine) in texts:
        status, reason, message = ("True", bad, trouble) if trouble else ("False", good, fine)
        made = {"type": kind, "status": status, "reason": reason, "message": message}
        result.append(conditions.stamped(conditions.find(present, kind), made, clock.rfc3339(now)))
    others = [each for each in present if each["type"] not in {each["type"] for each in result}]
    return [*others, *result]


def _remaining(left: Mapping[discovery.Served, Sequence[Object]]) -> str:
    parts = sorted(
        f"{served.resource.plural}.{served.resource.group} has {len(items)} resource instances"
        for served, items in left.items()
    )
    return f"Some resources are remaining: {', '.join(parts)}" if parts else ""


def _finalizers(left: Mapping[discovery.Served, Sequence[Object]]) -> str:
    counts = Counter(name for items in left.values() for obj in items for name in objects.finalizers_of(obj))
    parts = sorted(f"{name} in {count} resource instances" for name, count in counts.items())
    return f"Some content in the namespace has finalizers remaining: {', '.join(parts)}" if parts else ""


def controller() -> loop.Controller:
    return loop.Controller(
        name="namespace",
        watches=(loop.Watch(resources.NAMESPACES, loop.own_key),),
        observe=observe,
        plan=plan,
    )
