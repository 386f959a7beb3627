"""Spreading pods over zones and nodes: PodTopologySpread's filter and score (KEP-895), with upstream's built-in constraints. Pure.

A domain is a value of a constraint's topology key. Counts per row are summed per domain and looked up for each row again.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pinnace.api import selectors
from pinnace.scheduler import filters, framework, pods, snapshot

MISMATCH = "node(s) didn't match pod topology spread constraints"
MISSING_LABEL = f"{MISMATCH} (missing required label)"
# (topology key, max skew) of the constraints that pods get which say nothing themselves.
BUILT_IN = ((pods.HOSTNAME, 3), (pods.ZONE, 5))

DefaultSelector = Callable[[pods.Demand], selectors.LabelSelector | None]
"""Which pods belong together with such a pod: those of its controller and its services; None: nothing is known."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Counts:
    """Of one constraint."""

    domain: npt.NDArray[np.int32]
    """For each row; 0: the label is missing."""
    per_domain: npt.NDArray[np.int64]
    """Matching pods on the rows that count."""
    exists: npt.NDArray[np.bool_]
    """Which domains have a row that counts."""


class TopologySpreadFilter:
    name = "PodTopologySpread"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return any(constraint.is_required for constraint in demand.spread)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ALL

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        required = [constraint for constraint in demand.spread if constraint.is_required]
        labelled = _has_all_keys(nodes, required)
        uneven = np.zeros(nodes.size, dtype=np.bool_)
        for constraint in required:
            counts = _count(demand, nodes, constraint, labelled)
            lowest = 0
            # Fewer domains than asked for: new ones are to be opened, so an empty one is taken to be there.
            if counts.exists.sum() >= constraint.min_domains:
                lowest = int(counts.per_domain[counts.exists].min(initial=np.iinfo(np.int64).max))
            own = constraint.selector.matches(demand.labels)
            skew = counts.per_domain + own - lowest
            uneven |= (skew > constraint.max_skew)[counts.domain]
        return (
            framework.Failure(MISSING_LABEL, ~labelled[rows], is_resolvable=False),
            framework.Failure(MISMATCH, (uneven & labelled)[rows]),
        )


class TopologySpreadScore:
    name = "PodTopologySpread"
    weight = 2
    is_normalized = False

    def __init__(self, default_selector: DefaultSelector) -> None:
        self._default_selector = default_selector

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(self._constraints(demand))

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ALL

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        """The more pods there are already, the higher; negative: the row lacks a label and cannot be judged."""
        constraints = self._constraints(demand)
        # With the built-in constraints a node without a zone counts as well.
        labelled = _has_all_keys(nodes, constraints) if demand.spread else nodes.is_node
        total = np.zeros(nodes.size, dtype=np.float64)
        for constraint in constraints:
            counts = _count(demand, nodes, constraint, labelled)
            weight = np.log(counts.exists.sum() + 2)
            here = counts.per_domain[counts.domain] * weight + (constraint.max_skew - 1)
            total += np.where(counts.domain > 0, here, 0.0)
        return np.where(labelled, np.round(total), -1.0)[rows]

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        judged = feasible & (scores >= 0)
        if not judged.any():
            return np.zeros(len(scores))
        lowest, highest = scores[judged].min(), scores[judged].max()
        if highest == 0:
            return np.where(scores >= 0, framework.MAX_NODE_SCORE, 0.0)
        scaled = np.floor(framework.MAX_NODE_SCORE * (highest + lowest - scores) / highest)
        return np.where(scores >= 0, scaled, 0.0)

    def _constraints(self, demand: pods.Demand) -> Sequence[pods.Spread]:
        if demand.spread:
            return [constraint for constraint in demand.spread if not constraint.is_required]
        selector = self._default_selector(demand)
        if selector is None:
            return ()
        return [pods.Spread(skew, key, False, selector, 1, True, False) for key, skew in BUILT_IN]


def _has_all_keys(nodes: snapshot.Snapshot, constraints: Sequence[pods.Spread]) -> snapshot.Mask:
    labelled = nodes.is_node.copy()
    for constraint in constraints:
        labelled &= nodes.column(constraint.topology_key).ids > 0
    return labelled


def _count(demand: pods.Demand, nodes: snapshot.Snapshot, constraint: pods.Spread, labelled: snapshot.Mask) -> _Counts:
    counts_here = labelled.copy()
    if constraint.honours_affinity and demand.node_selector is not None:
        counts_here &= nodes.node_mask(demand.node_selector)
    if constraint.honours_taints:
        tolerated = np.array([filters.tolerates(demand, taints) for taints in nodes.taint_sets], dtype=np.bool_)
        counts_here &= tolerated[nodes.taint_ids]
    column = nodes.column(constraint.topology_key)
    matching = nodes.count_matching(demand.namespace, constraint.selector)
    domains, here = column.ids, matching
    if not counts_here.all():
        domains, here = domains[counts_here], here[counts_here]
    per_domain = np.bincount(domains, weights=here, minlength=len(column.values)).astype(np.int64)
    exists = np.bincount(domains, minlength=len(column.values)) > 0
    exists[0] = False
    return _Counts(column.ids, per_domain, exists)
