"""History of a template in ControllerRevisions, as StatefulSets and DaemonSets keep it. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from pinnace.api import gojson, omitempty, resources
from pinnace.controllers.framework import actions, claims, hashing, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

HASH_LABEL = "controller.kubernetes.io/hash"
POD_LABEL = "controller-revision-hash"


_TEMPLATE = "io.k8s.api.core.v1.PodTemplateSpec"


def data_of(owner: Object) -> Object:
    """What a revision remembers: a patch that brings the template back.

    Upstream's controllers look for a revision by the bytes of its data, so these must be theirs: what Go prints of the template, keys sorted.
    """
    return _canonical(owner["spec"]["template"])


def _canonical(template: Object) -> Object:
    # Copied: the owner belongs to all that look at it.
    whole: Object = orjson.loads(orjson.dumps(template))
    omitempty.complete(_TEMPLATE, whole)
    made: Object = orjson.loads(gojson.dumps_map({"spec": {"template": {**whole, "$patch": "replace"}}}))
    return made


def template_of(revision: Object) -> Object:
    template = dict(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def number_of(revision: Object) -> int:
    return int(revision.get("revision") or 0)


def claim(view: views.View, owner: Object, resource: resources.Resource) -> claims.Claimed:
    """The owner's own; those that an earlier owner of the same selector left are adopted."""
    return claims.claim(
        owner,
        resource,
        objects.selector_of(owner),
        view.by_index(resources.CONTROLLER_REVISIONS, "controller", objects.uid_of(owner)),
        view.by_index(resources.CONTROLLER_REVISIONS, "orphan", objects.namespace_of(owner)),
        resources.CONTROLLER_REVISIONS,
    )


def sort(found: Iterable[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(found, key=lambda each: (number_of(each), objects.created(each), objects.name_of(each)))


def find_same(owner: Object, history: Iterable[Object]) -> list[Object]:
    """Revisions that hold the owner's present template, in the order of `history`; whoever wrote them down, and in which form."""
    wanted = data_of(owner)
    return [revision for revision in history if _canonical(template_of(revision)) == wanted]


def make(owner: Object, resource: resources.Resource, number: int, hash_label: str = HASH_LABEL) -> Object:
    """`hash_label`: the label of the revision itself that tells its hash, which differs from kind to kind."""
    collisions = objects.status_of(owner).get("collisionCount") or 0
    digest = hashing.revision_hash(data_of(owner), collisions)
    labels = (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": resources.CONTROLLER_REVISIONS.api_version,
        "kind": resources.CONTROLLER_REVISIONS.kind,
        "metadata": {
            "name": f"{objects.name_of(owner)}-{digest}",
            "namespace": objects.namespace_of(owner),
            "labels": {**labels, hash_label: digest},
            "annotations": dict(objects.annotations_of(owner)),
            "ownerReferences": [objects.owner_reference(owner, resource)],
        },
        "data": data_of(owner),
        "revision": number,
    }


def record(view: views.View, owner: Object, resource: resources.Resource, made: Object) -> list[actions.Action]:
    """Keep the revision `made`. Where another template has its name, the next hash counts one collision more."""
    key = objects.key_of(made)
    if view.get(resources.CONTROLLER_REVISIONS, *key) is None:
        return [actions.Create(resources.CONTROLLER_REVISIONS, key[0], made)]
    status = objects.status_of(owner)
    status = {**status, "collisionCount": (status.get("collisionCount") or 0) + 1}
    return [actions.Update(resource, {**owner, "status": status}, subresource="status")]


def renumbered(revision: Object, number: int) -> actions.Update:
    """An old template is wanted again: its revision becomes the newest."""
    return actions.Update(resources.CONTROLLER_REVISIONS, {**revision, "revision": number})


def surplus(history: Sequence[Object], live: set[str], limit: int) -> list[actions.Action]:
    """Deletions of what nobody uses (`live`: names in use) beyond `limit`, the oldest first."""
    unused = [each for each in history if objects.name_of(each) not in live]
    return [
        actions.Delete(resources.CONTROLLER_REVISIONS, *objects.key_of(each), uid=objects.uid_of(each))
        for each in unused[: max(0, len(unused) - limit)]
    ]
