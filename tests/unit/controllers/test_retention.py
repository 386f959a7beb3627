"""Which owner references the claims of a StatefulSet get: every combination of policy and what is there already."""

from typing import Any

import pytest

from pinnace.controllers import retention

Object = dict[str, Any]

POD: Object = {"metadata": {"name": "db-1", "uid": "pod"}}


def reference(to: str, *, controller: bool | None = True, uid: str = "") -> Object:
    """To the set, to the pod, or to a config map."""
    kinds = {
        "set": ("apps/v1", "StatefulSet", "db"),
        "pod": ("v1", "Pod", "db-1"),
        "other": ("v1", "ConfigMap", "other"),
    }
    version, kind, name = kinds[to]
    made: Object = {"apiVersion": version, "kind": kind, "name": name, "uid": uid or to}
    if controller is not None:
        made |= {"controller": controller, "blockOwnerDeletion": True}
    return made


def stateful(scaled: str, deleted: str) -> Object:
    policy = {"whenScaled": scaled, "whenDeleted": deleted}
    return {"metadata": {"name": "db", "uid": "set"}, "spec": {"persistentVolumeClaimRetentionPolicy": policy}}


@pytest.mark.parametrize("present", [[], ["set"], ["pod"], ["set", "pod"]])
@pytest.mark.parametrize(
    ("scaled", "deleted", "is_wanted", "expected"),
    [
        ("Retain", "Retain", True, []),
        ("Retain", "Retain", False, []),
        ("Retain", "Delete", True, ["set"]),
        ("Retain", "Delete", False, ["set"]),
        ("Delete", "Retain", True, []),
        ("Delete", "Retain", False, ["pod"]),
        ("Delete", "Delete", True, ["set"]),
        ("Delete", "Delete", False, ["pod"]),
    ],
)
def test_the_policy_decides_who_takes_a_claim_along(
    scaled: str, deleted: str, is_wanted: bool, expected: list[str], present: list[str]
) -> None:
    claim = {"metadata": {"name": "c", "ownerReferences": [reference(each) for each in present]}}
    found = retention.references(stateful(scaled, deleted), claim, POD, is_wanted=is_wanted)
    wanted = [reference(each) for each in expected]
    assert found == (None if present == expected else wanted)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        # An owner that controls nothing stays beside ours.
        ([reference("other", controller=None)], [reference("other", controller=None), reference("set")]),
        # Who owns without controlling is made to control.
        ([reference("set", controller=False)], [reference("set")]),
        # Somebody else's claim, or one of an earlier set or pod of the name, is not touched …
        ([reference("other")], None),
        ([reference("set", uid="earlier")], None),
        ([reference("pod", uid="earlier")], None),
        # … but ours is taken out of somebody else's.
        ([reference("other"), reference("set")], [reference("other")]),
    ],
)
def test_claims_of_others_are_respected(present: list[Object], expected: list[Object] | None) -> None:
    claim = {"metadata": {"name": "c", "ownerReferences": present}}
    assert retention.references(stateful("Retain", "Delete"), claim, POD, is_wanted=True) == expected


def test_a_claim_of_an_earlier_pod_is_waited_for_only_when_scaling_deletes() -> None:
    claim = {"metadata": {"name": "c", "ownerReferences": [reference("pod", uid="earlier")]}}
    assert retention.waits_for_collection(stateful("Delete", "Retain"), claim, "db-1")
    assert not retention.waits_for_collection(stateful("Delete", "Retain"), claim, "db-2")
    assert not retention.waits_for_collection(stateful("Retain", "Delete"), claim, "db-1")
