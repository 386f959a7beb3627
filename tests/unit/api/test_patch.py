"""Patches: results, errors, and that inputs are never changed."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import errors, schema
from pinnace.api.patch import json_patch, merge, strategic

POD = schema.definition("io.k8s.api.core.v1.Pod")
DEPLOYMENT = schema.definition("io.k8s.api.apps.v1.Deployment")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


@pytest.mark.parametrize(
    ("document", "op", "expected"),
    [
        ({}, {"op": "add", "path": "/a", "value": 1}, {"a": 1}),
        ({"a": [1, 2]}, {"op": "add", "path": "/a/1", "value": 9}, {"a": [1, 9, 2]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 9}, {"a": [1, 9]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-1", "value": 9}, {"a": [1, 9]}),
        ({"a": {"x/y": {"~": 1}}}, {"op": "replace", "path": "/a/x~1y/~0", "value": 2}, {"a": {"x/y": {"~": 2}}}),
        ({"a": 1}, {"op": "replace", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": [1, 2, 3]}, {"op": "remove", "path": "/a/-1"}, {"a": [1, 2]}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a/b", "path": "/c"}, {"a": {}, "c": 1}),
        ({"a": {"b": 1}}, {"op": "copy", "from": "/a", "path": "/c"}, {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": {"b": [1]}}, {"op": "test", "path": "/a", "value": {"b": [1]}}, {"a": {"b": [1]}}),
        ({}, {"op": "test", "path": "/a"}, {}),
        ({"a": 1}, {"op": "replace", "path": "", "value": {}}, {}),
    ],
)
def test_json_patch(document: Any, op: dict[str, Any], expected: Any) -> None:
    before = copy.deepcopy(document)
    assert json_patch.apply(document, [op]) == expected
    assert document == before


@pytest.mark.parametrize(
    "op",
    [
        {"op": "remove", "path": "/x"},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "path": "/a/5", "value": 1},
        {"op": "replace", "path": "/a/5", "value": 1},
        {"op": "test", "path": "/b", "value": 1},
        {"op": "test", "path": "/b", "value": 1.0},
        {"op": "frobnicate", "path": "/a"},
        {"op": "add"},
        {"op": "move", "from": "/x", "path": "/y"},
        {"path": "/a"},
    ],
)
def test_json_patch_that_does_not_apply_is_unprocessable(op: dict[str, Any]) -> None:
    with pytest.raises(errors.StatusError) as raised:
        json_patch.apply({"a": [1], "b": True}, [op])
    assert (raised.value.code, raised.value.reason) == (422, "Invalid")
    assert raised.value.message == "the server rejected our request due to an error in our request"


def test_what_is_no_json_patch_is_a_bad_request() -> None:
    for ops, words in (
        ({}, "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        ([1], "json: cannot unmarshal number into Go value of type jsonpatch.Operation"),
    ):
        with pytest.raises(errors.StatusError) as raised:
            json_patch.apply({}, ops)
        assert (raised.value.code, raised.value.message) == (400, words)


def test_json_patches_are_bounded_in_number_and_in_what_they_copy() -> None:
    with pytest.raises(errors.StatusError) as raised:
        json_patch.apply({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)
    assert raised.value.code == 413
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40
    with pytest.raises(errors.StatusError) as raised:
        json_patch.apply({"a": ["x"]}, doubling)
    assert raised.value.code == 422


@given(OBJECTS, OBJECTS)
def test_merge_patch_reaches_what_it_says_and_is_idempotent(document: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    once = merge.apply(document, patch)
    assert merge.apply(once, patch) == once
    assert document == before
    for key, value in patch.items():
        assert (key in once) is (value is not None)


def test_merge_patch_table() -> None:
    assert merge.apply({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": {"e": None, "f": 1}}}) == {
        "a": {"c": 2, "d": {"f": 1}}
    }
    assert merge.apply({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}
    with pytest.raises(errors.StatusError, match="Invalid JSON Patch"):
        merge.apply({}, [1])


def containers(*names: str, **more: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, **more} for name in names]}}


def names(pod: dict[str, Any]) -> list[str]:
    return [item["name"] for item in pod["spec"]["containers"]]


def test_items_merge_by_their_key() -> None:
    live = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}}
    patch = {"spec": {"containers": [{"name": "b", "image": "z"}, {"name": "c", "image": "w"}]}}
    result = strategic.apply(live, patch, POD)
    assert result["spec"]["containers"] == [
        {"name": "a", "image": "x"},
        {"name": "b", "image": "z"},
        {"name": "c", "image": "w"},
    ]
    assert live["spec"]["containers"][1]["image"] == "y"
    assert result["spec"]["containers"][0] is live["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("live", "patch", "expected"),
    [
        (("a",), ("b",), ["b", "a"]),
        (("a", "b"), ("c",), ["c", "a", "b"]),
        (("a", "b", "c"), ("d", "b"), ["d", "a", "b", "c"]),
        (("a", "b", "c"), ("b", "d"), ["a", "b", "d", "c"]),
        (("a", "b"), ("b", "a"), ["b", "a"]),
    ],
)
def test_new_items_stand_before_what_the_patch_does_not_name(
    live: tuple[str, ...], patch: tuple[str, ...], expected: list[str]
) -> None:
    """As upstream merges without `$setElementOrder`: its own tests patch a second container in and look at the first."""
    assert names(strategic.apply(containers(*live), containers(*patch), POD)) == expected


def test_items_are_deleted_and_lists_replaced_by_directive() -> None:
    live = containers("a", "b", "c")
    assert names(strategic.apply(live, {"spec": {"containers": [{"$patch": "delete", "name": "b"}]}}, POD)) == [
        "a",
        "c",
    ]
    replaced = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    assert strategic.apply(live, replaced, POD) == containers("z")


def test_maps_are_replaced_and_emptied_by_directive() -> None:
    live = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    for patch, expected in (
        ({"$patch": "replace", "c": "3"}, {"c": "3"}),
        ({"$patch": "delete"}, {}),
        ({"b": None, "c": "3"}, {"a": "1", "c": "3"}),
    ):
        assert strategic.apply(live, {"metadata": {"labels": patch}}, POD) == {"metadata": {"labels": expected}}


def test_primitive_lists_merge_without_doubles_and_lose_what_is_listed() -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}}
    added = strategic.apply(live, {"metadata": {"finalizers": ["b", "c"]}}, POD)
    assert added == {"metadata": {"finalizers": ["a", "b", "c"]}}
    removed = strategic.apply(added, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "c"]}}, POD)
    assert removed == {"metadata": {"finalizers": ["b"]}}


def test_lists_without_a_strategy_are_replaced() -> None:
    live = {"spec": {"tolerations": [{"key": "a"}]}}
    assert strategic.apply(live, {"spec": {"tolerations": [{"key": "b"}]}}, POD) == {
        "spec": {"tolerations": [{"key": "b"}]}
    }


def test_retain_keys_clears_what_it_does_not_name() -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(live, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}
    with pytest.raises(errors.StatusError, match="invalid patch format of retainKeys"):
        strategic.apply(live, {"spec": {"strategy": {"$retainKeys": ["x"], "type": "Recreate"}}}, DEPLOYMENT)


def test_element_order_is_followed_and_server_only_items_keep_their_place() -> None:
    live = containers("a", "b", "c", "d")
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "d"}, {"name": "b"}],
            "containers": [{"name": "b", "image": "x"}],
        }
    }
    result = strategic.apply(live, patch, POD)
    assert names(result) == ["a", "c", "d", "b"]
    order_alone = {"spec": {"$setElementOrder/containers": [{"name": n} for n in "dcba"]}}
    assert names(strategic.apply(live, order_alone, POD)) == ["d", "c", "b", "a"]


def test_element_order_must_agree_with_the_patch() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
            "containers": [{"name": "b"}, {"name": "a"}],
        }
    }
    with pytest.raises(errors.StatusError, match=r"^The order in patch list"):
        strategic.apply(containers("a", "b"), patch, POD)


def test_parts_with_nothing_to_merge_with_lose_their_directives_and_nulls() -> None:
    patch = {
        "metadata": {"annotations": {"a": None, "b": "1"}},
        "spec": {
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "env": [{"$patch": "delete", "name": "X"}, {"name": "Y", "value": "1"}]}],
            "$deleteFromPrimitiveList/x": ["1"],
        },
    }
    assert strategic.apply({}, patch, POD) == {
        "metadata": {"annotations": {"b": "1"}},
        "spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "1"}]}]},
    }


def test_an_item_without_its_key_is_upstreams_internal_error() -> None:
    with pytest.raises(errors.StatusError) as raised:
        strategic.apply(containers("a"), {"spec": {"containers": [{"image": "x"}]}}, POD)
    assert raised.value.code == 500
    assert raised.value.message == "map: map[image:x] does not contain declared merge key: name"


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]) | st.none(), max_size=3)
ITEMS = st.lists(st.sampled_from("abcde"), unique=True, max_size=5).map(
    lambda found: [{"name": name, "image": name} for name in found]
)


@given(ITEMS, ITEMS, LABELS)
def test_strategic_merge_is_idempotent_and_changes_no_input(
    live: list[Any], change: list[Any], labels: dict[str, Any]
) -> None:
    pod = {"metadata": {"labels": {"a": "0"}}, "spec": {"containers": live}}
    patch = {"metadata": {"labels": labels}, "spec": {"containers": change}}
    before = copy.deepcopy((pod, patch))
    once = strategic.apply(pod, patch, POD)
    assert strategic.apply(once, patch, POD) == once
    assert (pod, patch) == before
    found = [item["name"] for item in once["spec"]["containers"]]
    assert sorted(found) == sorted({item["name"] for item in live + change})
    wanted = [item["name"] for item in change]
    assert [name for name in found if name in wanted] == wanted
