"""Nodes: whether they are heard of, the taints that follow from their conditions, and their ranges of pod addresses.

Watches Nodes and the Leases in kube-node-lease. A node that is silent for the grace period is marked Unknown; taints
keep new pods away and, unless all nodes are silent (then it is rather we who hear nothing), send the present ones off.
"""

import dataclasses
import datetime
import functools
import ipaddress
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from pinnace.api import conditions, resources
from pinnace.client import client
from pinnace.controllers import settings as settings_module
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]

LEASE_NAMESPACE = "kube-node-lease"
ROLE_LABEL = "node-role.kubernetes.io/control-plane"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURE.values()})
_WATCHED_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclasses.dataclass(frozen=True, slots=True)
class Sign:
    """Of a node's life."""

    silent: float = 0.0
    """Seconds since its lease or its own report of its conditions last changed."""
    is_new: bool = False
    """It was not heard of before by this process."""
    gone_uid: str = ""
    """It was, and is no more."""


class Heartbeats:
    """When each node was last heard of, by our own clock: the times in leases and statuses are the nodes' own and may be wrong."""

    def __init__(self, time: clock.Clock) -> None:
        self._clock = time
        self._heard: dict[str, tuple[Any, float]] = {}

    async def observe(self, api: client.Client, view: views.View, key: objects.Key) -> Sign:
        node = view.get(resources.NODES, *key)
        if node is None:
            known = self._heard.pop(key[1], None)
            return Sign(gone_uid=known[0][0] if known else "")
        lease = view.get(resources.LEASES, LEASE_NAMESPACE, key[1])
        sign = (
            objects.uid_of(node),
            ((lease or {}).get("spec") or {}).get("renewTime"),
            (objects.condition(node, "Ready") or {}).get("lastHeartbeatTime"),
        )
        now = self._clock.monotonic()
        known = self._heard.get(key[1])
        if known is None or known[0] != sign:
            self._heard[key[1]] = (sign, now)
            return Sign(is_new=known is None)
        return Sign(silent=now - known[1])


def plan_for(settings: settings_module.Settings) -> loop.Plan:
    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        node = view.get(resources.NODES, *key)
        sign: Sign = view.live
        if node is None:
            return [_told_of_removal(key[1], sign.gone_uid)] if sign.gone_uid else []
        welcome = [_told(node, "RegisteredNode", f"Registered Node {key[1]} in Controller")] if sign.is_new else []
        return [*welcome, *_role(node, settings.control_plane_node), *judge(view, node, sign, now)]

    def judge(view: views.View, node: Object, sign: Sign, now: datetime.datetime) -> Sequence[actions.Action]:
        has_reported = objects.condition(node, "Ready") is not None
        grace = settings.node_monitor_grace if has_reported else settings.node_startup_grace
        if sign.silent > grace:
            unknown = _mark_unknown(node, now)
            if unknown:
                return unknown
        writes = _taint(view, node, now)
        if writes:
            return writes
        is_lost = (objects.condition(node, "Ready") or {}).get("status") == "Unknown"
        return _mark_pods(view, node, now) if is_lost else []

    return plan


def _told(node: Object, reason: str, text: str) -> actions.Action:
    return actions.normal(node, reason, f"Node {objects.name_of(node)} event: {text}")


def _told_of_removal(name: str, uid: str) -> actions.Action:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": uid}}
    return _told(node, "RemovingNode", f"Removing Node {name} from Controller")


def _role(node: Object, control_plane_node: str) -> list[actions.Action]:
    """`kubectl get nodes` shows what it is for."""
    if objects.name_of(node) != control_plane_node or ROLE_LABEL in (node["metadata"].get("labels") or {}):
        return []
    patch = {"metadata": {"labels": {ROLE_LABEL: ""}}}
    return [actions.Patch(resources.NODES, None, control_plane_node, patch)]


def _mark_unknown(node: Object, now: datetime.datetime) -> list[actions.Action]:
    status = objects.status_of(node)
    stamp = clock.rfc3339(now)
    shown = list(status.get("conditions") or ())
    before = list(shown)
    for kind in _WATCHED_CONDITIONS:
        present = conditions.find(shown, kind)
        if present is None:
            wanted = {
                "type": kind,
                "status": "Unknown",
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": node["metadata"].get("creationTimestamp"),
            }
        elif present.get("status") == "Unknown":
            continue
        else:
            why = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
            wanted = {**present, "status": "Unknown", **why}
        shown = conditions.with_condition(shown, wanted, stamp)
    if shown == before:
        return []
    told = actions.normal(node, "NodeNotReady", f"Node {objects.name_of(node)} status is now: NodeNotReady")
    updated = {**node, "status": {**status, "conditions": shown}}
    return [actions.Update(resources.NODES, updated, subresource="status", then=(told,))]


def _taint(view: views.View, node: Object, now: datetime.datetime) -> list[actions.Action]:
    """Bring the taints that follow from conditions in line with them; others' taints stay."""
    present = node["spec"].get("taints") or []
    wanted = _wanted_taints(node, sends_off=_is_anyone_ready(view))
    kept = [each for each in present if each["key"] not in _OURS or (each["key"], each["effect"]) in wanted]
    there = {(each["key"], each["effect"]) for each in kept}
    stamp = clock.rfc3339(now)
    added = [
        {"key": key, "effect": effect, "timeAdded": stamp}
        for key, effect in sorted(wanted)
        if (key, effect) not in there
    ]
    if not added and len(kept) == len(present):
        return []
    # The version guards taints that someone else sets at the same time: a list is replaced as a whole.
    metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
    patch = {"metadata": metadata, "spec": {"taints": [*kept, *added] or None}}
    return [actions.Patch(resources.NODES, None, objects.name_of(node), patch)]


def _wanted_taints(node: Object, *, sends_off: bool) -> set[tuple[str, str]]:
    wanted = set()
    ready = (objects.condition(node, "Ready") or {}).get("status", "Unknown")
    if ready != "True":
        key = NOT_READY if ready == "False" else UNREACHABLE
        wanted.add((key, "NoSchedule"))
        if sends_off:
            wanted.add((key, "NoExecute"))
    wanted |= {(key, "NoSchedule") for kind, key in _PRESSURE.items() if conditions.is_true(node, kind)}
    if node["spec"].get("unschedulable"):
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    return wanted


def _is_anyone_ready(view: views.View) -> bool:
    """By index: this is asked for each node, and where all of thousands are lost a look at each would end with none."""
    return bool(view.index_values(resources.NODES, BY_READY))


BY_READY = "ready"


def index_by_ready(node: Object) -> Iterable[str]:
    return ("True",) if conditions.is_true(node, "Ready") else ()


def _mark_pods(view: views.View, node: Object, now: datetime.datetime) -> list[actions.Action]:
    """Nobody else says any more that the pods of a lost node are not ready: Services must not send them anything."""
    patches = []
    for pod in view.by_index(resources.PODS, "node", objects.name_of(node)):
        if not objects.is_pod_ready(pod):
            continue
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": clock.rfc3339(now)}
        told = actions.warning(pod, "NodeNotReady", "Node is not ready")
        patches.append(
            actions.Patch(
                resources.PODS,
                *objects.key_of(pod),
                {"metadata": {"uid": objects.uid_of(pod)}, "status": {"conditions": [condition]}},
                kind="strategic",
                subresource="status",
                then=(told,),
                is_optional=True,
            )
        )
    return [actions.Batch(patches)] if patches else []


# -- ranges of pod addresses


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Equal parts of the cluster's range, given out in order."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    prefix: int

    @functools.cached_property
    def all(self) -> Sequence[str]:
        return [str(part) for part in self.network.subnets(new_prefix=self.prefix)]

    def free(self, taken: Set[str]) -> Iterator[str]:
        """Those that nobody has, in order."""
        return (part for part in self.all if part not in taken)


def plan_ranges_for(ranges: Ranges) -> loop.Plan:
    def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
        """One key stands for all nodes, so that two of them never get the same range.

        Only nodes without a range are looked at: where there are more nodes than ranges, each of their heartbeats ends here."""
        without = view.by_index(resources.NODES, BY_RANGE, NO_RANGE)
        free = ranges.free(set(view.index_values(resources.NODES, BY_RANGE)))
        result: list[actions.Action] = []
        first = next(free, None)
        for node in sorted(without, key=objects.name_of) if first else without:
            name = objects.name_of(node)
            if first is None:
                message = f"Node {name} status is now: CIDRNotAvailable"
                return [*result, actions.normal(node, "CIDRNotAvailable", message), actions.Requeue(30.0)]
            patch = {"metadata": {"uid": objects.uid_of(node)}, "spec": {"podCIDR": first, "podCIDRs": [first]}}
            result.append(actions.Patch(resources.NODES, None, name, patch))
            first = next(free, None)
        return result

    return plan


BY_RANGE = "range"
NO_RANGE = ""


def index_by_range(node: Object) -> Iterable[str]:
    return _ranges_of(node) or (NO_RANGE,)


def _ranges_of(node: Object) -> Sequence[str]:
    single = node["spec"].get("podCIDR")
    return node["spec"].get("podCIDRs") or ([single] if single else [])


def _nodes_without_range(view: views.View, node: Object) -> Iterable[objects.Key]:
    return () if _ranges_of(node) else [("", "")]


# -- registration


def index_by_node(pod: Object) -> Iterable[str]:
    node = pod["spec"].get("nodeName")
    return [node] if node else ()


def controllers(settings: settings_module.Settings, time: clock.Clock) -> Sequence[loop.Controller]:
    lifecycle = loop.Controller(
        name="node-lifecycle",
        user="node-controller",
        component="node-controller",
        watches=(loop.Watch(resources.NODES, loop.own_key),),
        reads=(resources.LEASES, resources.PODS),
        indexes=((resources.PODS, "node", index_by_node), (resources.NODES, BY_READY, index_by_ready)),
        observe=Heartbeats(time).observe,
        plan=plan_for(settings),
        resync_seconds=settings.node_monitor_period,
    )
    if not settings.cluster_cidr:
        return [lifecycle]
    ranges = Ranges(ipaddress.ip_network(settings.cluster_cidr), settings.node_cidr_mask)
    ipam = loop.Controller(
        name="node-ipam",
        user="node-controller",
        component="cidrAllocator",
        watches=(loop.Watch(resources.NODES, _nodes_without_range),),
        indexes=((resources.NODES, BY_RANGE, index_by_range),),
        plan=plan_ranges_for(ranges),
        workers=1,
    )
    return [lifecycle, ipam]
