"""Affinity and anti-affinity between pods: InterPodAffinity's filter and score. Pure.

Terms are symmetric where upstream makes them so: the anti-affinity of pods that are already placed keeps others away, and
their preferences count in the scores of others.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pinnace.scheduler import framework, pods, snapshot

NOT_NEAR = "node(s) didn't match pod affinity rules"
TOO_NEAR = "node(s) didn't match pod anti-affinity rules"
KEPT_AWAY = "node(s) didn't satisfy existing pods anti-affinity rules"
# What the required affinity of a placed pod adds to the score of nodes near it.
HARD_AFFINITY_WEIGHT = 1


class InterPodAffinityFilter:
    name = "InterPodAffinity"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.affinity or demand.anti_affinity) or any(_uses(demand, nodes, ("anti-affinity",)))

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ALL

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        not_near = self._not_near(demand, nodes)
        too_near = np.zeros(nodes.size, dtype=np.bool_)
        for term in demand.anti_affinity:
            too_near |= _per_row(nodes, term.topology_key, nodes.count_meant(term)) > 0
        kept_away = np.zeros(nodes.size, dtype=np.bool_)
        for use in _uses(demand, nodes, ("anti-affinity",)):
            kept_away |= _per_row(nodes, use.term.topology_key, _rows_of(use, nodes)) > 0
        # The first of the three speaks for a node.
        too_near &= ~not_near
        kept_away &= ~(not_near | too_near)
        return (
            framework.Failure(NOT_NEAR, not_near[rows], is_resolvable=False),
            framework.Failure(TOO_NEAR, too_near[rows]),
            framework.Failure(KEPT_AWAY, kept_away[rows]),
        )

    def _not_near(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> snapshot.Mask:
        result = np.zeros(nodes.size, dtype=np.bool_)
        if not demand.affinity:
            return result
        # Upstream counts a pod only where it matches all terms.
        near = np.zeros(nodes.size, dtype=np.int64)
        for group in nodes.groups.values():
            if all(nodes.is_meant(term, group.namespace, group.labels) for term in demand.affinity):
                snapshot.add_counts(near, group.rows, 1)
        # The first pod of a group that wants to be near its own kind may go anywhere.
        is_first = not self._counts_anywhere(demand, nodes, near) and all(
            nodes.is_meant(term, demand.namespace, demand.labels) for term in demand.affinity
        )
        for term in demand.affinity:
            if is_first:
                result |= nodes.column(term.topology_key).ids == 0
            else:
                result |= _per_row(nodes, term.topology_key, near) <= 0
        return result

    def _counts_anywhere(self, demand: pods.Demand, nodes: snapshot.Snapshot, near: npt.NDArray[np.int64]) -> bool:
        return any((_per_row(nodes, term.topology_key, near) > 0).any() for term in demand.affinity)


class InterPodAffinityScore:
    name = "InterPodAffinity"
    weight = 2
    is_normalized = False

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.preferred_pods) or any(_uses(demand, nodes, ("preferred", "affinity")))

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ALL

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        total = np.zeros(nodes.size, dtype=np.float64)
        for term in demand.preferred_pods:
            total += term.weight * _per_row(nodes, term.topology_key, nodes.count_meant(term))
        for use in _uses(demand, nodes, ("preferred", "affinity")):
            weight = use.term.weight or HARD_AFFINITY_WEIGHT
            total += weight * _per_row(nodes, use.term.topology_key, _rows_of(use, nodes))
        scores: framework.Floats = total[rows]
        return scores

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        if not feasible.any():
            return np.zeros(len(scores))
        lowest, highest = scores[feasible].min(), scores[feasible].max()
        if highest == lowest:
            return np.zeros(len(scores))
        scaled: framework.Floats = np.floor(framework.MAX_NODE_SCORE * (scores - lowest) / (highest - lowest))
        return scaled


def _uses(demand: pods.Demand, nodes: snapshot.Snapshot, kinds: Sequence[str]) -> list[snapshot.TermUse]:
    """Terms of placed pods that mean such a pod."""
    return [
        use
        for use in nodes.term_uses.values()
        if use.kind in kinds and nodes.is_meant(use.term, demand.namespace, demand.labels)
    ]


def _rows_of(use: snapshot.TermUse, nodes: snapshot.Snapshot) -> npt.NDArray[np.int64]:
    counts = np.zeros(nodes.size, dtype=np.int64)
    snapshot.add_counts(counts, use.rows, 1)
    return counts


def _per_row(nodes: snapshot.Snapshot, topology_key: str, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each row, the sum of `counts` over its domain; 0 where it has none."""
    column = nodes.column(topology_key)
    sums = np.bincount(column.ids, weights=counts, minlength=len(column.values)).astype(np.float64)
    sums[0] = 0
    result: npt.NDArray[np.float64] = sums[column.ids]
    return result
