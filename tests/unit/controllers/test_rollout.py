"""The arithmetic of rolling updates: properties from any state, and upstream's worked examples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.controllers import deployment, rollout


@st.composite
def states(draw: st.DrawFn) -> tuple[rollout.Limits, rollout.Revision, list[rollout.Revision]]:
    replicas = draw(st.integers(0, 20))
    surge = draw(st.integers(0, 5))
    unavailable = draw(st.integers(0 if surge else 1, 5))

    def revision(name: str, created: str) -> rollout.Revision:
        size = draw(st.integers(0, 20))
        return rollout.Revision(name, size, draw(st.integers(0, size)), created)

    old = [revision(f"old{number}", f"2026-01-0{number + 1}") for number in range(draw(st.integers(0, 4)))]
    return rollout.Limits(replicas, surge, min(unavailable, replicas)), revision("new", "2026-02-01"), old


State = tuple[rollout.Limits, rollout.Revision, list[rollout.Revision]]


@given(states())
def test_growing_never_goes_beyond_the_surge(state: State) -> None:
    limits, new, old = state
    before = rollout.total([*old, new])
    size = new.replicas
    rollout.scale_new(limits, new, old)
    if new.replicas > size:
        assert rollout.total([*old, new]) <= max(before, limits.replicas + limits.max_surge)
        assert new.replicas <= limits.replicas


@given(states())
def test_shrinking_never_takes_an_available_pod_below_the_minimum(state: State) -> None:
    limits, new, old = state
    sizes = {each.name: each.replicas for each in old}
    available_before = sum(each.available for each in [*old, new])
    rollout.scale_old(limits, new, old)
    # Unavailable pods of a ReplicaSet are deleted first: what remains available is bounded by what remains asked for.
    remaining = new.available + sum(min(each.available, each.replicas) for each in old)
    minimum = limits.replicas - limits.max_unavailable
    assert remaining >= min(available_before, minimum)
    assert all(0 <= each.replicas <= sizes[each.name] for each in old)


@given(states())
def test_a_rollout_whose_pods_come_up_always_ends(state: State) -> None:
    limits, new, old = state
    for _ in range(200):
        for each in [*old, new]:
            each.available = each.replicas
        if not rollout.scale_new(limits, new, old) and not rollout.scale_old(limits, new, old):
            break
    assert new.replicas == limits.replicas
    assert rollout.total(old) == 0


@given(states(), st.integers(0, 40))
def test_proportional_scaling_comes_to_exactly_the_allowed_total(state: State, current: int) -> None:
    limits, new, old = state
    active = [each for each in [*old, new] if each.replicas > 0]
    if not active:
        return
    rollout.scale_proportionally(limits, new, old, current)
    allowed = limits.replicas + limits.max_surge if limits.replicas else 0
    assert all(each.replicas >= 0 for each in active)
    assert rollout.total(active) == allowed or min(each.replicas for each in active) == 0


@pytest.mark.parametrize(
    ("sizes", "replicas", "expected"),
    [
        # From upstream's documentation: 10 replicas (8 old, 5 new, surge 3) scaled to 15.
        ((8, 5), 15, (11, 7)),
        ((10, 0), 15, (18, 0)),
        ((5, 8), 5, (3, 5)),
    ],
)
def test_proportions(sizes: tuple[int, int], replicas: int, expected: tuple[int, int]) -> None:
    old = rollout.Revision("old", sizes[0], sizes[0], "2026-01-01", 13)
    new = rollout.Revision("new", sizes[1], 0, "2026-01-02", 13)
    rollout.scale_proportionally(rollout.Limits(replicas, 3, 2), new, [old], sum(sizes))
    assert (old.replicas, new.replicas) == expected


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, "10%", (0, 1)),
        (0, 1, 1, (1, 0)),
        (2, 0, 5, (0, 2)),
    ],
)
def test_limits_round_surge_up_and_unavailability_down(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    limits = deployment.limits_of({"spec": spec})
    assert (limits.max_surge, limits.max_unavailable) == expected
