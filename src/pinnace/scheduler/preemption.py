"""Preemption: which pods of lower priority have to go so that a pod fits (DefaultPreemption). Pure but for trying things out on
the snapshot, which is left as it was found.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pinnace.api import selectors
from pinnace.scheduler import decide, framework, pods, snapshot

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
# How many nodes with victims are compared: this share of all, and at least this number.
CANDIDATE_SHARE = 0.1
CANDIDATES_AT_LEAST = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """A PodDisruptionBudget."""

    namespace: str
    selector: selectors.LabelSelector
    allowed: int
    """Disruptions that it still allows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    row: int
    victims: tuple[pods.Pod, ...]
    """The most important first."""
    violations: int
    """Victims whose budget allows no more disruption."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    candidate: Candidate | None
    message: str = ""
    """Why there is none, as the event prints it."""
    keeps_nomination: bool = False
    """The room that the pod was promised is still being made."""


def plan_preemption(
    profile: framework.Profile,
    pod: pods.Pod,
    diagnosis: framework.Diagnosis,
    nodes: snapshot.Snapshot,
    budgets: Sequence[Budget],
) -> Outcome:
    """The node where the least harm makes room for `pod`."""
    refusal = _why_not_eligible(pod, nodes)
    if refusal:
        return Outcome(None, refusal, keeps_nomination=True)
    wanted = max(CANDIDATES_AT_LEAST, int(nodes.node_count * CANDIDATE_SHARE))
    candidates: list[Candidate] = []
    # Where nobody anywhere is less important, as in most clusters, no node has to be looked at.
    is_hopeless = min(nodes.priorities, default=pod.demand.priority) >= pod.demand.priority
    for row in () if is_hopeless else map(int, diagnosis.resolvable_rows):
        candidate = _victims_on(profile, pod, nodes, row, budgets)
        if candidate is not None:
            candidates.append(candidate)
            if len(candidates) >= wanted:
                break
    if candidates:
        return Outcome(min(candidates, key=_harm))
    tried = len(diagnosis.resolvable_rows)
    reasons = Counter({NO_VICTIMS: tried, NOT_HELPFUL: diagnosis.node_count - tried})
    none = framework.Diagnosis(diagnosis.node_count, +reasons, np.zeros(0, dtype=np.intp), frozenset())
    return Outcome(None, none.message())


def _why_not_eligible(pod: pods.Pod, nodes: snapshot.Snapshot) -> str:
    if not pod.demand.can_preempt:
        return "not eligible due to preemptionPolicy=Never."
    row = nodes.row_of.get(pod.nominated_node)
    if row is not None and any(
        other.is_terminating and other.demand.priority < pod.demand.priority for other in nodes.on_row[row].values()
    ):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


def _victims_on(
    profile: framework.Profile, pod: pods.Pod, nodes: snapshot.Snapshot, row: int, budgets: Sequence[Budget]
) -> Candidate | None:
    """Take away all pods of lower priority; if that helps, give back as many as fit, the most important first."""
    lower = [other for other in nodes.on_row[row].values() if other.demand.priority < pod.demand.priority]
    if not lower:
        return None
    name = nodes.names[row]
    for other in lower:
        nodes.remove_pod(other.uid)
    removed = {other.uid: other for other in lower}
    victims: list[pods.Pod] = []
    violations = 0
    try:
        if not decide.fits(profile, pod.demand, nodes, row):
            return None
        violating, harmless = _split_by_budget(sorted(lower, key=_importance), budgets)
        for other in [*violating, *harmless]:
            nodes.place(other, name)
            if decide.fits(profile, pod.demand, nodes, row):
                del removed[other.uid]
                continue
            nodes.remove_pod(other.uid)
            victims.append(other)
            violations += other in violating
    finally:
        for other in removed.values():
            nodes.place(other, name)
    return Candidate(row, tuple(sorted(victims, key=_importance)), violations)


def _importance(pod: pods.Pod) -> tuple[int, str]:
    """Sorts the most important first: by priority, then who has run for longer."""
    return -pod.demand.priority, pod.start_time


def _split_by_budget(ordered: Sequence[pods.Pod], budgets: Sequence[Budget]) -> tuple[list[pods.Pod], list[pods.Pod]]:
    """(those whose disruption a budget no longer allows, the others)."""
    left = [budget.allowed for budget in budgets]
    violating: list[pods.Pod] = []
    harmless: list[pods.Pod] = []
    for pod in ordered:
        own = [
            index
            for index, budget in enumerate(budgets)
            if budget.namespace == pod.namespace and budget.selector.matches(pod.demand.labels)
        ]
        for index in own:
            left[index] -= 1
        (violating if any(left[index] < 0 for index in own) else harmless).append(pod)
    return violating, harmless


def _harm(candidate: Candidate) -> tuple[object, ...]:
    """Upstream's order of what to spare: budgets, high priorities, their sum, the number, and who has run for longest."""
    priorities = [victim.demand.priority for victim in candidate.victims]
    highest = max(priorities, default=0)
    # Sums count every pod as something, so that many of low priority weigh more than a few.
    total = sum(priority + (1 << 31) for priority in priorities)
    earliest = min((v.start_time for v in candidate.victims if v.demand.priority == highest), default="")
    return candidate.violations, highest, total, len(priorities), _Later(earliest), candidate.row


@dataclasses.dataclass(frozen=True, slots=True)
class _Later:
    """Sorts the later moment first."""

    moment: str

    def __lt__(self, other: "_Later") -> bool:
        return self.moment > other.moment
