"""Small decisions as tables: which pod goes first, indexes, back-off, tolerations, ownership."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import pods, resources
from pinnace.controllers import eviction, job_rules, ownership, replicaset
from pinnace.controllers.framework import objects

Object = dict[str, Any]
NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def pod(
    name: str, *, node: str = "n", phase: str = "Running", ready: str = "", cost: str = "", restarts: int = 0
) -> Object:
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": ready}] if ready else []
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {replicaset.DELETION_COST: cost} if cost else {},
        },
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]},
    }


OLD, YOUNG = "2026-01-01T00:00:00Z", "2026-01-01T23:59:50Z"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("z", node="", phase="Pending"), pod("a", phase="Pending")),
        (pod("z", phase="Pending"), pod("a")),
        (pod("z"), pod("a", ready=OLD)),
        (pod("z", ready=OLD, cost="-1"), pod("a", ready=OLD)),
        (pod("z", ready=OLD, cost="1"), pod("a", ready=OLD, cost="2")),
        (pod("z", ready=YOUNG), pod("a", ready=OLD)),
        (pod("z", ready=OLD, restarts=3), pod("a", ready=OLD, restarts=1)),
    ],
)
def test_which_pod_goes_first(first: Object, second: Object) -> None:
    for both in ([first, second], [second, first]):
        assert replicaset.choose_victims(both, (), 1, NOW) == [first]


def test_a_node_with_several_pods_gives_up_one_first() -> None:
    alone, double, other = (
        pod("a", node="n1", ready=OLD),
        pod("b", node="n2", ready=OLD),
        pod("c", node="n2", ready=OLD),
    )
    assert replicaset.choose_victims([alone, double], [alone, double, other], 1, NOW) == [double]


@given(st.sets(st.integers(0, 200)))
def test_indexes_round_trip(indexes: set[int]) -> None:
    assert job_rules.parse_indexes(job_rules.format_indexes(indexes)) == indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [(set(), ""), ({1}, "1"), ({1, 2}, "1,2"), ({1, 2, 3, 7}, "1-3,7"), ({0, 2, 4, 5, 6}, "0,2,4-6")],
)
def test_indexes_are_written_as_upstream_does(indexes: set[int], text: str) -> None:
    assert job_rules.format_indexes(indexes) == text


def ended(seconds: float) -> Object:
    stamp = (NOW - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": {}, "status": {"containerStatuses": [{"state": {"terminated": {"finishedAt": stamp}}}]}}


@pytest.mark.parametrize(
    ("failed", "succeeded", "expected"),
    [
        ([], [], 0),
        ([4], [], 6),
        ([12], [], 0),
        ([30, 4], [], 16),
        ([60, 30, 4], [], 36),
        ([60, 30, 4], [20], 6),
        ([4] * 20, [], 596),
    ],
)
def test_back_off_doubles_since_the_last_success(failed: list[float], succeeded: list[float], expected: float) -> None:
    assert job_rules.backoff_left(list(map(ended, failed)), list(map(ended, succeeded)), NOW) == expected


TAINT = {"key": "k", "value": "v", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Equal", "value": "v"}, True),
        ({"key": "k", "value": "v", "effect": "NoExecute"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False),
    ],
)
def test_tolerations(toleration: Object, expected: bool) -> None:
    assert pods.tolerates(toleration, TAINT) is expected


@pytest.mark.parametrize(
    ("tolerations", "expected"),
    [
        ([], 0.0),
        ([{"operator": "Exists"}], None),
        (
            [
                {"operator": "Exists", "tolerationSeconds": 30},
                {"key": "k", "operator": "Exists", "tolerationSeconds": 10},
            ],
            10.0,
        ),
        ([{"operator": "Exists", "tolerationSeconds": -5}], 0.0),
    ],
)
def test_how_long_a_pod_may_stay(tolerations: list[Object], expected: float | None) -> None:
    assert eviction.seconds_allowed({"spec": {"tolerations": tolerations}}, [TAINT]) == expected


OWNERS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(list(ownership.Owner)), max_size=3)


@given(OWNERS, st.booleans())
def test_nothing_is_deleted_while_an_owner_is_there_or_unknown(owners: dict[str, ownership.Owner], going: bool) -> None:
    metadata: Object = {
        "name": "it",
        "uid": "u",
        "resourceVersion": "1",
        "ownerReferences": [{"uid": uid, "kind": "X", "name": uid, "apiVersion": "v1"} for uid in owners],
    }
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    actions = ownership.plan(ownership.Looked(resources.PODS, {"metadata": metadata}, owners))
    deletes = any(type(action).__name__ == "Delete" for action in actions)
    is_held = {ownership.Owner.SOLID, ownership.Owner.UNKNOWABLE} & set(owners.values())
    assert deletes == (bool(owners) and not is_held and not going)


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [(3, 10, 3, 3), ("25%", 10, 3, 2), ("100%", 7, 7, 7), ("0%", 7, 0, 0), (None, 7, 0, 0), ("10%", 5, 1, 0)],
)
def test_numbers_and_percentages(value: int | str | None, total: int, up: int, down: int) -> None:
    assert objects.scaled_value(value, total, round_up=True) == up
    assert objects.scaled_value(value, total, round_up=False) == down
