"""Gives every node its own part of the cluster's pod range (`spec.podCIDR`), as upstream's RangeAllocator does.

Guarantees: no two nodes share an address; a node keeps its range for life; the range of a deleted node is free again. All nodes are
planned under one key, so that one plan sees every range that is given out.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.client import resources
from pinnace.controllers import actions, loop, objects
from pinnace.controllers import view as views

Object = dict[str, Any]

ALL_NODES = ("", "")


def plan(cluster_cidr: str, mask: int) -> loop.Plan:
    cluster = ipaddress.ip_network(cluster_cidr)

    def plan_all(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        nodes = sorted(view.list(resources.NODES), key=objects.name_of)
        taken = {range_of(node) for node in nodes}
        waiting = [node for node in nodes if range_of(node) is None and not objects.is_deleting(node)]
        free = (part for part in cluster.subnets(new_prefix=mask) if part not in taken)
        wanted: list[actions.Action] = []
        for node in waiting:
            part = next(free, None)
            if part is None:
                shown = f"Node {objects.name_of(node)} status is now: CIDRNotAvailable"
                wanted.append(actions.Record(node, "Normal", "CIDRNotAvailable", shown))
                continue
            spec = {"podCIDR": str(part), "podCIDRs": [str(part)]}
            metadata = {"uid": objects.uid_of(node)}
            patch = {"metadata": metadata, "spec": spec}
            wanted.append(actions.Patch(resources.NODES, None, objects.name_of(node), patch))
        return wanted

    return plan_all


def range_of(node: Object) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    assigned = node.get("spec", {}).get("podCIDR")
    return ipaddress.ip_network(assigned) if assigned else None


def _all_nodes(view: views.View, node: Object) -> Iterable[objects.Key]:
    return [ALL_NODES]


def controller(cluster_cidr: str, mask: int) -> loop.Controller:
    return loop.Controller(
        name="node-ipam",
        user="node-controller",
        watches=(loop.Watch(resources.NODES, _all_nodes),),
        plan=plan(cluster_cidr, mask),
        workers=1,
        component="cidrAllocator",
    )
