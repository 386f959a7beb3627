"""Scores that look at one node at a time: how empty, how balanced, preferred affinity and taints, images already there.

All are pure. Higher is better, 0 … 100 after normalisation, in upstream's formulas and weights.
"""

import numpy as np

from pinnace.kit import remembered
from pinnace.scheduler import framework, pods, snapshot

SCORED = slice(snapshot.CPU, snapshot.MEMORY + 1)
# Images smaller than this make no difference, those larger than that make no more.
IMAGE_MIN_BYTES = 23 << 20
IMAGE_MAX_BYTES_PER_CONTAINER = 1000 << 20


class LeastAllocated:
    """NodeResourcesFit's scoring strategy by default."""

    name = "NodeResourcesFit"
    weight = 1
    is_normalized = True

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return True

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ROW

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        total = nodes.allocatable[rows, SCORED]
        used = nodes.scored[rows] + (demand.scored_cpu, demand.scored_memory)
        exists = total > 0
        share = np.maximum(total - used, 0) * int(framework.MAX_NODE_SCORE) // np.maximum(total, 1)
        counted = np.maximum(exists.sum(axis=1), 1)
        scores: framework.Floats = ((share * exists).sum(axis=1) // counted).astype(np.float64)
        return scores

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return scores


class BalancedAllocation:
    name = "NodeResourcesBalancedAllocation"
    weight = 1
    is_normalized = True

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return not demand.is_best_effort

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ROW

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        wanted = (demand.requests.get("cpu", 0), demand.requests.get("memory", 0))
        total = nodes.allocatable[rows, SCORED]
        used = nodes.requested[rows, SCORED] + wanted
        fraction = np.minimum(used / np.maximum(total, 1), 1.0)
        both = (total > 0).all(axis=1)
        deviation = np.where(both, np.abs(fraction[:, 0] - fraction[:, 1]) / 2, 0.0)
        return np.floor((1 - deviation) * framework.MAX_NODE_SCORE)

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return scores


class PreferredTaints:
    name = "TaintToleration"
    weight = 3
    is_normalized = False

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return any(taint.effect == "PreferNoSchedule" for taints in nodes.taint_sets for taint in taints)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        soft = [toleration for toleration in demand.tolerations if toleration.effect in ("", "PreferNoSchedule")]
        counts = [
            sum(
                1
                for taint in taints
                if taint.effect == "PreferNoSchedule" and not any(toleration.tolerates(taint) for toleration in soft)
            )
            for taints in nodes.taint_sets
        ]
        scores: framework.Floats = np.array(counts, dtype=np.float64)[nodes.taint_ids[rows]]
        return scores

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return framework.normalize_to_max(scores, feasible, reverse=True)


class PreferredAffinity:
    name = "NodeAffinity"
    weight = 2
    is_normalized = False

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.preferred_nodes)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        total = np.zeros(nodes.size, dtype=np.float64)
        for weight, preference in demand.preferred_nodes:
            total += weight * nodes.node_mask(preference)
        scores: framework.Floats = total[rows]
        return scores

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return framework.normalize_to_max(scores, feasible)


class ImageLocality:
    name = "ImageLocality"
    weight = 1
    is_normalized = True

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return any(_normalized(image) in nodes.images for image in demand.images)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def score(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> framework.Floats:
        present = np.zeros(nodes.size, dtype=np.float64)
        for image in demand.images:
            sizes = nodes.images.get(_normalized(image), {})
            # An image that few nodes have should not draw all its pods to these.
            spread = len(sizes) / max(nodes.node_count, 1)
            for row, size in sizes.items():
                present[row] += size * spread
        highest = IMAGE_MAX_BYTES_PER_CONTAINER * max(len(demand.images), 1)
        bounded = np.clip(present, IMAGE_MIN_BYTES, highest)
        scores: framework.Floats = np.floor(
            framework.MAX_NODE_SCORE * (bounded - IMAGE_MIN_BYTES) / (highest - IMAGE_MIN_BYTES)
        )[rows]
        return scores

    def normalize(self, scores: framework.Floats, feasible: snapshot.Mask) -> framework.Floats:
        return scores


@remembered.short(1024)
def _normalized(image: str) -> str:
    """A name without tag or digest means the tag `latest`."""
    return image if ":" in image.rpartition("/")[2] else image + ":latest"
