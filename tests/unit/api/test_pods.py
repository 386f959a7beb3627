"""Facts about pods: one telling for scheduler, kubelet, quotas, limit ranges and controllers."""

import decimal
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.api import conditions, pods, quantity
from pinnace.kubelet.pod import qos
from pinnace.scheduler import nodeselector
from pinnace.scheduler import pods as compiled

AMOUNTS = {"cpu": ("100m", "1", "2500u", "0"), "memory": ("64Mi", "1G", "100m", "0"), "hugepages-2Mi": ("2Mi",)}
AMOUNT_LISTS = st.fixed_dictionaries({}, optional={name: st.sampled_from(texts) for name, texts in AMOUNTS.items()})
RESOURCES = st.fixed_dictionaries({}, optional={"requests": AMOUNT_LISTS, "limits": AMOUNT_LISTS})
CONTAINER = st.fixed_dictionaries({"name": st.just("c")}, optional={"resources": RESOURCES})
INIT = st.fixed_dictionaries(
    {"name": st.just("i")}, optional={"resources": RESOURCES, "restartPolicy": st.just("Always")}
)
SPECS = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINER, max_size=3)},
    optional={"initContainers": st.lists(INIT, max_size=4), "overhead": AMOUNT_LISTS, "resources": RESOURCES},
)


def _phases(spec: dict[str, Any], field: str, name: str) -> decimal.Decimal | None:
    """The most that is needed at any moment of the pod's life, moment by moment."""

    def of(container: dict[str, Any]) -> str | None:
        found: str | None = container.get("resources", {}).get(field, {}).get(name)
        return found

    inits = spec.get("initContainers", [])
    moments = [[*(c for c in inits if c.get("restartPolicy") == "Always"), *spec["containers"]]]
    for position, init in enumerate(inits):
        moments.append([*(c for c in inits[:position] if c.get("restartPolicy") == "Always"), init])
    if not any(of(container) for moment in moments for container in moment):
        return None
    return max(sum((quantity.parse(of(c) or "0") for c in moment), decimal.Decimal(0)) for moment in moments)


@settings(deadline=None)
@given(SPECS)
def test_a_pod_asks_for_the_most_that_it_needs_at_any_moment(spec: dict[str, Any]) -> None:
    for name in AMOUNTS:
        wanted = _phases(spec, "requests", name)
        whole = spec.get("resources", {}).get("requests", {}).get(name)
        if whole is not None:
            wanted = quantity.parse(whole)
        assert pods.requests(spec, with_overhead=False).get(name) == wanted
        if (extra := spec.get("overhead", {}).get(name)) is not None:
            wanted = (wanted or decimal.Decimal(0)) + quantity.parse(extra)
        assert pods.requests(spec).get(name) == wanted


@settings(deadline=None)
@given(SPECS)
def test_scheduler_and_kubelet_count_the_same(spec: dict[str, Any]) -> None:
    exact = pods.requests(spec)
    counted, scored = compiled.pod_requests(spec)
    for name, amount in exact.items():
        units = math.ceil(amount * 1000) if name == "cpu" else math.ceil(amount)
        assert counted[name] == units
        assert qos.pod_request({"spec": spec}, name) == units
    assert scored["cpu"] >= counted.get("cpu", 0)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        (
            {"containers": [{"resources": {"limits": {"cpu": "1"}}}], "overhead": {"cpu": "1", "memory": "1"}},
            {"cpu": 2},
        ),
        ({"containers": [{"resources": {"limits": {"cpu": "0"}}}], "overhead": {"cpu": "1"}}, {"cpu": 0}),
        ({"containers": [{}], "overhead": {"cpu": "1"}}, {}),
    ],
)
def test_overhead_limits_nothing_by_itself(spec: dict[str, Any], wanted: dict[str, int]) -> None:
    assert pods.limits(spec) == wanted


FULL = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"containers": [{}]}, "BestEffort"),
        ({"containers": [{"resources": {"requests": {"cpu": "0"}}}]}, "BestEffort"),
        ({"containers": [{"resources": {"requests": {"ephemeral-storage": "1"}}}]}, "BestEffort"),
        ({"containers": [{"resources": {"limits": FULL, "requests": FULL}}]}, "Guaranteed"),
        (
            {"containers": [{"resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": FULL}}]},
            "Guaranteed",
        ),
        ({"containers": [{"resources": {"limits": FULL, "requests": FULL}}], "initContainers": [{}]}, "Burstable"),
        ({"containers": [{}], "resources": {"limits": FULL, "requests": FULL}}, "Guaranteed"),
        ({"containers": [{"resources": {"limits": FULL}}], "resources": {"requests": {"cpu": "1"}}}, "Burstable"),
    ],
)
def test_quality_of_service(spec: dict[str, Any], wanted: str) -> None:
    assert pods.qos_class(spec) == wanted


TOLERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(("", "a", "b")),
        "operator": st.sampled_from(("", "Equal", "Exists", "Lt", "Gt")),
        "value": st.sampled_from(("", "5", "x")),
        "effect": st.sampled_from(("", "NoSchedule", "NoExecute")),
    },
)
TAINTS = st.fixed_dictionaries(
    {"key": st.sampled_from(("a", "b")), "effect": st.sampled_from(("NoSchedule", "NoExecute"))},
    optional={"value": st.sampled_from(("", "3", "7", "x"))},
)


@given(TOLERATIONS, TAINTS)
def test_the_schedulers_tolerations_are_the_same(toleration: dict[str, str], taint: dict[str, str]) -> None:
    pod = compiled.read(
        {"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [], "tolerations": [toleration]}}
    )
    (read,) = pod.demand.tolerations
    found = read.tolerates(compiled.Taint(taint["key"], taint.get("value", ""), taint["effect"]))
    assert found is pods.tolerates(toleration, taint)


@pytest.mark.parametrize(
    ("operator", "value", "wanted"), [("Lt", "5", True), ("Gt", "5", False), ("Gt", "2", True), ("Lt", "x", False)]
)
def test_numbers_of_taints_are_compared(operator: str, value: str, wanted: bool) -> None:
    toleration = {"key": "k", "operator": operator, "value": value}
    assert pods.tolerates(toleration, {"key": "k", "value": "3", "effect": "NoExecute"}) is wanted


REQUIREMENTS = st.fixed_dictionaries(
    {
        "key": st.sampled_from(("a", "b")),
        "operator": st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")),
        "values": st.lists(st.sampled_from(("1", "2", "x")), max_size=2),
    }
)
NAMES = st.fixed_dictionaries(
    {
        "key": st.just("metadata.name"),
        "operator": st.sampled_from(("In", "NotIn")),
        "values": st.lists(st.sampled_from(("n", "m")), min_size=1, max_size=1),
    }
)
TERMS = st.fixed_dictionaries(
    {},
    optional={"matchExpressions": st.lists(REQUIREMENTS, max_size=2), "matchFields": st.lists(NAMES, max_size=1)},
)
LABELS = st.dictionaries(st.sampled_from(("a", "b")), st.sampled_from(("1", "2", "x")))


@settings(deadline=None)
@given(LABELS, LABELS, st.none() | st.lists(TERMS, max_size=3))
def test_the_schedulers_node_selectors_are_the_same(
    labels: dict[str, str], wanted: dict[str, str], terms: list[dict[str, Any]] | None
) -> None:
    required = None if terms is None else {"nodeSelectorTerms": terms}
    spec: dict[str, Any] = {"nodeSelector": wanted}
    if required is not None:
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    node = {"metadata": {"name": "n", "labels": labels}}
    one = np.zeros(1, dtype=np.int32)
    selector = nodeselector.required(wanted, required)
    mask = selector is None or selector.mask(
        lambda key: nodeselector.LabelColumn(one, (labels.get(key),)), nodeselector.LabelColumn(one, ("n",))
    )
    assert pods.may_run_on(spec, node) is bool(np.all(mask))


def test_the_time_of_a_condition_moves_with_its_status_alone() -> None:
    first = conditions.with_condition(None, {"type": "A", "status": "True", "reason": "x"}, "1")
    assert first == [{"type": "A", "status": "True", "reason": "x", "lastTransitionTime": "1"}]
    other = [*first, {"type": "B", "status": "True"}]
    same = conditions.with_condition(other, {"type": "A", "status": "True", "reason": "y"}, "2")
    assert same == [{"type": "A", "status": "True", "reason": "y", "lastTransitionTime": "1"}, other[1]]
    changed = conditions.with_condition(same, {"type": "A", "status": "False"}, "3")
    assert changed[0] == {"type": "A", "status": "False", "lastTransitionTime": "3"}
    without_time = conditions.with_condition(other, {"type": "B", "status": "True"}, "4")
    assert without_time[1]["lastTransitionTime"] == "4"
    assert first[0]["reason"] == "x"
    assert conditions.is_true({"status": {"conditions": same}}, "B")
    assert not conditions.is_true({}, "B")
