"""Who owns whom: the garbage collector's picture of every object, and what shall become of one. Pure.

The graph may be stale; what it says only decides whom to look at. Whether something is deleted is decided by `plan` from what
the API itself answered (`Looked`).
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers.framework import actions, objects

Object = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """One object that was seen. What owns it is known by uid."""

    resource: resources.Resource
    namespace: str
    name: str
    uid: str
    references: Sequence[Object] = ()
    is_deleting: bool = False
    is_foreground: bool = False
    is_orphaning: bool = False

    def is_named_by(self, reference: Object, namespace: str) -> bool:
        """Whether an owner reference in `namespace` means this object, by name and not by uid alone."""
        return (
            reference.get("uid") == self.uid
            and reference.get("kind") == self.resource.kind
            and reference.get("name") == self.name
            and str(reference.get("apiVersion", "")).rpartition("/")[0] == self.resource.group
            and (not self.resource.namespaced or self.namespace == namespace)
        )


class Graph:
    """`update` and `remove` return the uids of objects that should be looked at."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        return self._nodes.get(uid)

    def dependents(self, uid: str) -> list[Node]:
        found = (self._nodes.get(each) for each in sorted(self._dependents.get(uid, ())))
        return [node for node in found if node is not None]

    def update(self, resource: resources.Resource, obj: Object) -> set[str]:
        metadata = obj["metadata"]
        finalizers = metadata.get("finalizers") or ()
        is_deleting = "deletionTimestamp" in metadata
        node = Node(
            resource,
            metadata.get("namespace", ""),
            metadata["name"],
            metadata["uid"],
            metadata.get("ownerReferences") or (),
            is_deleting,
            is_deleting and FOREGROUND in finalizers,
            is_deleting and ORPHAN in finalizers,
        )
        before = self._nodes.get(node.uid)
        self._nodes[node.uid] = node
        self._link(node, before)
        return self._interesting(node, before)

    def remove(self, uid: str) -> set[str]:
        node = self._nodes.pop(uid, None)
        if node is None:
            return set()
        for reference in node.references:
            self._unlink(reference["uid"], uid)
        waiting = {each["uid"] for each in node.references if self._is_foreground(each["uid"])}
        return waiting | self._dependents.get(uid, set())

    def _link(self, node: Node, before: Node | None) -> None:
        after = {reference["uid"] for reference in node.references}
        for reference in before.references if before else ():
            if reference["uid"] not in after:
                self._unlink(reference["uid"], node.uid)
        for uid in after:
            self._dependents.setdefault(uid, set()).add(node.uid)

    def _unlink(self, owner: str, dependent: str) -> None:
        members = self._dependents.get(owner)
        if members is not None:
            members.discard(dependent)
            if not members:
                del self._dependents[owner]

    def _interesting(self, node: Node, before: Node | None) -> set[str]:
        found: set[str] = set()
        if node.is_orphaning or node.is_foreground:
            found.add(node.uid)
        if node.is_foreground and not (before and before.is_foreground):
            found |= self._dependents.get(node.uid, set())
        if before is None or before.references != node.references:
            if any(not self._is_solid(reference, node.namespace) for reference in node.references):
                found.add(node.uid)
            old = before.references if before else ()
            found |= {each["uid"] for each in old if self._is_foreground(each["uid"])}
        return found

    def _is_foreground(self, uid: str) -> bool:
        node = self._nodes.get(uid)
        return node is not None and node.is_foreground

    def _is_solid(self, reference: Object, namespace: str) -> bool:
        node = self._nodes.get(reference["uid"])
        return node is not None and node.is_named_by(reference, namespace) and not node.is_foreground


class Owner(enum.Enum):
    """What the API says about one owner reference."""

    SOLID = "it is there"
    WAITING = "it is being deleted, and waits until its dependents are gone"
    ABSENT = "nothing of that name and uid is there"
    UNKNOWABLE = "it can never be resolved: a cluster-scoped object cannot be owned by a namespaced one"


@dataclasses.dataclass(frozen=True, slots=True)
class Looked:
    """What the API says about one object and its owners, and what the graph says about its dependents."""

    resource: resources.Resource
    obj: Object
    owners: Mapping[str, Owner]
    """By uid, for each owner reference of `obj`."""
    dependents: Sequence[Node] = ()


def plan(looked: Looked) -> Sequence[actions.Action]:
    obj = looked.obj
    finalizers = objects.finalizers_of(obj)
    if objects.is_deleting(obj):
        if ORPHAN in finalizers:
            return _orphan_dependents(looked)
        return _finish_foreground(looked) if FOREGROUND in finalizers else []
    if not looked.owners:
        return []
    states = set(looked.owners.values())
    if states & {Owner.SOLID, Owner.UNKNOWABLE}:
        gone = {uid for uid, state in looked.owners.items() if state in (Owner.ABSENT, Owner.WAITING)}
        return [_without_owners(looked.resource, obj, gone)] if gone else []
    if Owner.WAITING in states and looked.dependents:
        return [*_unblock_cycle(looked), _delete(looked, "Foreground")]
    if ORPHAN in finalizers:
        return [_delete(looked, "Orphan")]
    return [_delete(looked, "Foreground" if FOREGROUND in finalizers else "Background")]


def _delete(looked: Looked, policy: Any) -> actions.Delete:
    # With the version that was judged: an owner that was added meanwhile saves the object.
    version = looked.obj["metadata"]["resourceVersion"]
    key = objects.key_of(looked.obj)
    uid = objects.uid_of(looked.obj)
    return actions.Delete(looked.resource, *key, uid=uid, resource_version=version, propagation_policy=policy)


def _orphan_dependents(looked: Looked) -> list[actions.Action]:
    owner = objects.uid_of(looked.obj)
    result: list[actions.Action] = [
        _release(node, owner) for node in looked.dependents if any(each["uid"] == owner for each in node.references)
    ]
    return [*result, _without_finalizer(looked, ORPHAN)]


def _finish_foreground(looked: Looked) -> list[actions.Action]:
    owner = objects.uid_of(looked.obj)
    if any(_blocks(node, owner) for node in looked.dependents):
        return []
    return [_without_finalizer(looked, FOREGROUND)]


def _blocks(node: Node, owner: str) -> bool:
    return any(each["uid"] == owner and each.get("blockOwnerDeletion") for each in node.references)


def _unblock_cycle(looked: Looked) -> Iterable[actions.Action]:
    """Objects that own each other would wait for each other for ever: one that waits already blocks nobody."""
    if not any(node.is_foreground for node in looked.dependents):
        return []
    references = [{**each, "blockOwnerDeletion": False} for each in looked.obj["metadata"]["ownerReferences"]]
    return [_patch(looked.resource, looked.obj, {"ownerReferences": references})]


def _without_owners(resource: resources.Resource, obj: Object, gone: set[str]) -> actions.Patch:
    kept = [each for each in obj["metadata"].get("ownerReferences") or () if each["uid"] not in gone]
    return _patch(resource, obj, {"ownerReferences": kept})


def _without_finalizer(looked: Looked, name: str) -> actions.Patch:
    kept = [each for each in objects.finalizers_of(looked.obj) if each != name]
    return _patch(looked.resource, looked.obj, {"finalizers": kept})


def _patch(resource: resources.Resource, obj: Object, metadata: Object) -> actions.Patch:
    version = {"uid": objects.uid_of(obj), "resourceVersion": obj["metadata"]["resourceVersion"]}
    return actions.Patch(resource, *objects.key_of(obj), {"metadata": {**version, **metadata}})


def _release(node: Node, owner: str) -> actions.Patch:
    """Take the reference to `owner` out. Without a version: whatever else changed meanwhile, that one must go; but the list
    is replaced as a whole, so a test guards it."""
    kept = [each for each in node.references if each["uid"] != owner]
    return actions.Patch(
        node.resource,
        node.namespace,
        node.name,
        [
            {"op": "test", "path": "/metadata/uid", "value": node.uid},
            {"op": "test", "path": "/metadata/ownerReferences", "value": list(node.references)},
            {"op": "replace", "path": "/metadata/ownerReferences", "value": kept},
        ],
        kind="json",
    )
