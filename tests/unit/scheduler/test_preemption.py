"""Who has to go so that a more important pod fits, and the words when nobody can."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from pinnace.api import selectors
from pinnace.scheduler import decide, defaults, framework, pods, preemption, snapshot, volumes
from pinnace.testing import scheduling

node, pod, cluster = scheduling.node, scheduling.pod, scheduling.cluster
Object = dict[str, Any]


def preempt(nodes: snapshot.Snapshot, obj: Object, budgets: Sequence[preemption.Budget] = ()) -> preemption.Outcome:
    profile = defaults.profile(volumes.Catalog(), lambda namespace: ())
    one = pods.read(obj)
    decision = decide.Decider(profile, nodes, random.Random(1)).decide(one)
    assert isinstance(decision, framework.Diagnosis), "it fits as it is"
    before = nodes.requested.copy()
    outcome = preemption.plan_preemption(profile, one, decision, nodes, budgets)
    assert (nodes.requested == before).all(), "the snapshot is left as it was"
    return outcome


def chosen(nodes: snapshot.Snapshot, outcome: preemption.Outcome) -> tuple[str, list[str]]:
    assert outcome.candidate is not None
    return nodes.names[outcome.candidate.row], [victim.name for victim in outcome.candidate.victims]


def test_the_least_important_pods_go_and_no_more_than_needed() -> None:
    nodes = cluster(
        node("n1", cpu="4"),
        placed=tuple(pod(f"p{priority}", node="n1", cpu="1", priority=priority) for priority in range(4)),
    )
    assert chosen(nodes, preempt(nodes, pod("new", cpu="2", priority=10))) == ("n1", ["p1", "p0"])


def test_equal_and_higher_priorities_stay() -> None:
    nodes = cluster(
        node("n1", cpu="2"),
        placed=(pod("a", node="n1", cpu="1", priority=10), pod("b", node="n1", cpu="1", priority=11)),
    )
    outcome = preempt(nodes, pod("new", cpu="1", priority=10))
    assert outcome.candidate is None
    assert outcome.message == "0/1 nodes are available: 1 No preemption victims found for incoming pod."


def test_nodes_that_preemption_cannot_help_are_counted_apart() -> None:
    nodes = cluster(
        node("n1", cpu="1"),
        node("n2", taints=["a:NoSchedule"]),
        node("n3", cpu="4"),
        placed=(pod("a", node="n3", cpu="4", priority=99),),
    )
    outcome = preempt(nodes, pod("new", cpu="2", priority=10))
    assert outcome.message == (
        "0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    )


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ([("n1", 5, ""), ("n2", 3, "")], "n2"),
        ([("n1", 5, ""), ("n1", 1, ""), ("n2", 5, ""), ("n2", 0, "")], "n2"),
        ([("n1", 5, "2026-01-01T00:00:00Z"), ("n2", 5, "2026-01-02T00:00:00Z")], "n2"),
    ],
    ids=["the lowest highest priority", "the lowest sum", "who started last"],
)
def test_the_node_with_the_least_harm(placed: list[tuple[str, int, str]], expected: str) -> None:
    per_node = len(placed) // 2
    objects = tuple(
        pod(f"p{n}", node=name, cpu="1", priority=priority, status={"startTime": started} if started else {})
        for n, (name, priority, started) in enumerate(placed)
    )
    nodes = cluster(node("n1", cpu=per_node), node("n2", cpu=per_node), placed=objects)
    assert chosen(nodes, preempt(nodes, pod("new", cpu=str(per_node), priority=10)))[0] == expected


def test_disruption_budgets_are_spared_where_possible() -> None:
    nodes = cluster(
        node("n1", cpu="1"),
        node("n2", cpu="1"),
        placed=(pod("guarded", node="n1", cpu="1", labels={"app": "db"}), pod("free", node="n2", cpu="1", priority=5)),
    )
    budget = preemption.Budget("default", selectors.from_labels({"app": "db"}), 0)
    new = pod("new", cpu="1", priority=10)
    assert chosen(nodes, preempt(nodes, new)) == ("n1", ["guarded"])
    assert chosen(nodes, preempt(nodes, new, [budget])) == ("n2", ["free"])


def test_extended_resources_can_be_made_free() -> None:
    request = {"requests": {"example.com/fakecpu": "1"}}
    nodes = cluster(
        node("n1", extended={"example.com/fakecpu": "1"}),
        placed=(pod("low", node="n1", priority=1, **request),),
    )
    assert chosen(nodes, preempt(nodes, pod("high", priority=2, **request))) == ("n1", ["low"])


def test_who_may_not_preempt_is_told_so() -> None:
    nodes = cluster(node("n1", cpu="1"), placed=(pod("low", node="n1", cpu="1"),))
    outcome = preempt(nodes, pod("high", cpu="1", priority=2, preemptionPolicy="Never"))
    assert outcome.message == "not eligible due to preemptionPolicy=Never."


def test_who_was_promised_room_waits_for_the_victims_to_go() -> None:
    leaving = pod("low", node="n1", cpu="1")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    nodes = cluster(node("n1", cpu="1"), placed=(leaving,))
    outcome = preempt(nodes, pod("high", cpu="1", priority=2, status={"nominatedNodeName": "n1"}))
    assert outcome.message == "not eligible due to a terminating pod on the nominated node."
    assert outcome.keeps_nomination


def test_promised_room_is_not_given_to_less_important_pods() -> None:
    nodes = cluster(node("n1", cpu="1"), node("n2", cpu="1"))
    chooser = decide.Decider(defaults.profile(volumes.Catalog(), lambda namespace: ()), nodes, random.Random(1))
    promised = pods.read(pod("high", cpu="1", priority=9, status={"nominatedNodeName": "n1"}))
    for name in "abc":
        assert chooser.decide(pods.read(pod(name, cpu="1")), [promised]) == nodes.row_of["n2"]
    assert chooser.decide(promised, [promised]) == nodes.row_of["n1"]
