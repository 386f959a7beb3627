"""Filters that look at one node at a time, in upstream's words: schedulable, taints, affinity, ports, resources.

All are pure: demand and columns in, failures over the rows asked about out.
"""

from collections.abc import Sequence

import numpy as np

from pinnace.scheduler import framework, pods, snapshot

HARD_EFFECTS = ("NoSchedule", "NoExecute")
UNSCHEDULABLE_TAINT = pods.Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")


class NodeUnschedulable:
    name = "NodeUnschedulable"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return not any(toleration.tolerates(UNSCHEDULABLE_TAINT) for toleration in demand.tolerations)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        return (
            framework.Failure("node(s) were unschedulable", nodes.is_unschedulable[rows].copy(), is_resolvable=False),
        )


class TaintToleration:
    name = "TaintToleration"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return len(nodes.taint_sets) > 1

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        refuses = np.array([not tolerates(demand, taints) for taints in nodes.taint_sets], dtype=np.bool_)
        return (
            framework.Failure("node(s) had untolerated taint(s)", refuses[nodes.taint_ids[rows]], is_resolvable=False),
        )


def tolerates(demand: pods.Demand, taints: Sequence[pods.Taint]) -> bool:
    """All taints that keep pods away."""
    return all(
        any(toleration.tolerates(taint) for toleration in demand.tolerations)
        for taint in taints
        if taint.effect in HARD_EFFECTS
    )


class NodeAffinity:
    name = "NodeAffinity"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return demand.node_selector is not None

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        assert demand.node_selector is not None
        differs = ~nodes.node_mask(demand.node_selector)
        failures = []
        pinned = demand.node_selector.pinned_names()
        if pinned is not None:
            # Upstream's PreFilter takes these out before any plug-in sees them.
            named = np.zeros(nodes.size, dtype=np.bool_)
            named[[nodes.row_of[name] for name in pinned if name in nodes.row_of]] = True
            text = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
            failures.append(framework.Failure(text, ~named[rows], is_resolvable=False))
            differs &= named
        text = "node(s) didn't match Pod's node affinity/selector"
        failures.append(framework.Failure(text, differs[rows], is_resolvable=False))
        return failures


class NodePorts:
    name = "NodePorts"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.host_ports)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ROW

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        taken = np.zeros(nodes.size, dtype=np.bool_)
        for wanted in demand.host_ports:
            for row, addresses in nodes.ports.get((wanted.protocol, wanted.port), {}).items():
                if any(wanted.conflicts(address) for address in addresses):
                    taken[row] = True
        return (framework.Failure("node(s) didn't have free ports for the requested pod ports", taken[rows]),)


class NodeResourcesFit:
    name = "NodeResourcesFit"

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return True

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ROW

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        allocatable, requested = nodes.allocatable[rows], nodes.requested[rows]
        full = requested[:, snapshot.PODS] >= allocatable[:, snapshot.PODS]
        failures = [framework.Failure("Too many pods", full)]
        for resource, amount in demand.requests.items():
            text = f"Insufficient {resource}"
            if resource not in nodes.resource_names:
                failures.append(framework.Failure(text, np.ones_like(full), is_resolvable=False))
                continue
            column = nodes.resource_names.index(resource)
            total = allocatable[:, column]
            never = total < amount
            too_little = total - requested[:, column] < amount
            failures.append(framework.Failure(text, too_little & ~never))
            if never.any():
                failures.append(framework.Failure(text, never, is_resolvable=False))
        return failures
