"""What becomes of a StatefulSet's claims when it is scaled down or deleted: its retention policy, written as owner references.

Pure; upstream's stateful_set_utils. A claim that somebody else controls, or that belonged to an earlier set or pod of the
same name, is left alone.
"""

from collections.abc import Sequence
from typing import Any

from pinnace.api import resources
from pinnace.controllers.framework import objects

Object = dict[str, Any]


def references(stateful: Object, claim: Object, pod: Object, *, is_wanted: bool) -> list[Object] | None:
    """The owner references that `claim` should have instead of its own; None: it is to stay as it is.

    `is_wanted`: the set still asks for this pod."""
    present = claim["metadata"].get("ownerReferences") or []
    if _is_stale(present, stateful, resources.STATEFUL_SETS) or _is_stale(present, pod, resources.PODS):
        return None
    ours = {objects.uid_of(stateful), objects.uid_of(pod)}
    others = [each for each in present if each["uid"] not in ours]
    if has_other_controller(stateful, claim, pod):
        return others if len(others) < len(present) else None
    wanted = owners(stateful, pod, is_wanted=is_wanted)
    kept = {each["uid"] for each in present if each["uid"] in ours and each.get("controller")}
    is_right = kept == {each["uid"] for each in wanted} and len(kept) == len(present) - len(others)
    return None if is_right else [*others, *wanted]


def owners(stateful: Object, pod: Object | None, *, is_wanted: bool) -> list[Object]:
    """Who takes the claims of one identity along by the policy; nobody by default."""
    when_scaled, when_deleted = _policy(stateful)
    if when_scaled == "Delete" and not is_wanted and pod is not None:
        return [objects.owner_reference(pod, resources.PODS)]
    if when_deleted == "Delete" and (is_wanted or when_scaled != "Delete"):
        return [objects.owner_reference(stateful, resources.STATEFUL_SETS)]
    return []


def has_other_controller(stateful: Object, claim: Object, pod: Object) -> bool:
    """Whether somebody else manages the claim, so that the policy cannot."""
    if _policy(stateful) == ("Retain", "Retain"):
        return False
    return any(
        each.get("controller")
        and not _names(each, stateful, resources.STATEFUL_SETS)
        and not _names(each, pod, resources.PODS)
        for each in claim["metadata"].get("ownerReferences") or ()
    )


def waits_for_collection(stateful: Object, claim: Object, pod_name: str) -> bool:
    """Whether the claim still belongs to an earlier pod of this name, with which it is about to go."""
    if _policy(stateful)[0] != "Delete":
        return False
    earlier = {"metadata": {"name": pod_name}}
    return any(_names(each, earlier, resources.PODS) for each in claim["metadata"].get("ownerReferences") or ())


def _policy(stateful: Object) -> tuple[str, str]:
    """(when scaled, when deleted)."""
    policy = stateful["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenScaled") or "Retain", policy.get("whenDeleted") or "Retain"


def _is_stale(present: Sequence[Object], owner: Object, resource: resources.Resource) -> bool:
    return any(_names(each, owner, resource) and each["uid"] != objects.uid_of(owner) for each in present)


def _names(reference: Object, owner: Object, resource: resources.Resource) -> bool:
    return (
        reference.get("apiVersion") == resource.api_version
        and reference.get("kind") == resource.kind
        and reference.get("name") == objects.name_of(owner)
    )
