"""Volumes: on which nodes a pod's claims can be met, and what to do before it is bound (VolumeBinding, VolumeZone, VolumeRestrictions).

`Catalog` holds claims, volumes and storage classes as the informers see them, and what was assumed for pods whose binding is on
its way. The decisions are pure; `plan_binding` says what to write, `pinnace.scheduler.bind` writes it and waits.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from pinnace.api import selectors
from pinnace.scheduler import framework, nodeselector, pods, snapshot

SELECTED_NODE = "volume.kubernetes.io/selected-node"
BOUND = "pv.kubernetes.io/bind-completed"
DEFAULT_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
EXCLUSIVE = "ReadWriteOncePod"

AFFINITY_CONFLICT = "node(s) had volume node affinity conflict"
NOTHING_TO_BIND = "node(s) didn't find available persistent volumes to bind"
NO_ZONE = "node(s) had no available volume zone"
EXCLUSIVE_IN_USE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
UNBOUND_IMMEDIATE = "pod has unbound immediate PersistentVolumeClaims"
ZONE_LABELS = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Bind:
    """Promise the volume to the claim."""

    volume: str
    namespace: str
    claim: str
    claim_uid: str


@dataclasses.dataclass(frozen=True, slots=True)
class Provision:
    """Tell the provisioner on which node the claim will be used."""

    namespace: str
    claim: str
    node_name: str


Step = Bind | Provision


class Catalog:
    def __init__(self) -> None:
        self.claims: dict[tuple[str, str], pods.Object] = {}
        self.volumes: dict[str, pods.Object] = {}
        self.classes: dict[str, pods.Object] = {}
        self.promised: dict[str, tuple[str, str]] = {}
        """Volume -> the claim that it was assumed for."""

    def is_bound(self, namespace: str, name: str) -> bool:
        claim = self.claims.get((namespace, name))
        return claim is not None and _is_bound(claim)

    def free_volumes(self, claim: pods.Object) -> list[pods.Object]:
        """Those that the claim could be bound to, the smallest first."""
        wanted = _identity(claim)
        found = [
            volume
            for name, volume in self.volumes.items()
            if self.promised.get(name, wanted) == wanted and _can_hold(volume, claim)
        ]
        return sorted(found, key=lambda volume: (_capacity(volume), volume["metadata"]["name"]))

    def can_provision(self, claim: pods.Object) -> bool:
        found = self.classes.get(class_of(claim))
        return found is not None and found.get("provisioner") not in (None, "", NO_PROVISIONER)

    def waits_for_consumer(self, claim: pods.Object) -> bool:
        found = self.classes.get(class_of(claim))
        return found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer"


class VolumeBinding:
    """Pre-filter, and filter of each node, for a pod's claims."""

    name = "VolumeBinding"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.claims)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        # What was promised to one pod is gone for the next.
        return framework.Reach.ALL

    def pre_filter(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Rejection | None:
        for name in demand.claims:
            message = self._why_not(demand.namespace, name)
            if message:
                return framework.Rejection(self.name, message)
        return None

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        conflict = np.zeros(nodes.size, dtype=np.bool_)
        nothing = np.zeros(nodes.size, dtype=np.bool_)
        for name in demand.claims:
            claim = self._catalog.claims.get((demand.namespace, name))
            if claim is None:
                continue
            if _is_bound(claim):
                conflict |= ~_reachable(self._catalog.volumes[claim["spec"]["volumeName"]], nodes)
            else:
                nothing |= ~self._can_be_met(claim, nodes)
        nothing &= ~conflict
        return (
            framework.Failure(AFFINITY_CONFLICT, conflict[rows], is_resolvable=False),
            framework.Failure(NOTHING_TO_BIND, nothing[rows], is_resolvable=False),
        )

    def _why_not(self, namespace: str, name: str) -> str:
        claim = self._catalog.claims.get((namespace, name))
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if claim.get("status", {}).get("phase") == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim["spec"].get("volumeName", "")}"'
        if "deletionTimestamp" in claim["metadata"]:
            return f'persistentvolumeclaim "{name}" is being deleted'
        if _is_bound(claim):
            volume = claim["spec"]["volumeName"]
            return "" if volume in self._catalog.volumes else f'persistentvolume "{volume}" not found'
        return "" if self._catalog.waits_for_consumer(claim) else UNBOUND_IMMEDIATE

    def _can_be_met(self, claim: pods.Object, nodes: snapshot.Snapshot) -> snapshot.Mask:
        selected = (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE)
        if selected:
            # The provisioner is at work for that node already.
            only = np.zeros(nodes.size, dtype=np.bool_)
            if selected in nodes.row_of:
                only[nodes.row_of[selected]] = True
            return only
        result = np.zeros(nodes.size, dtype=np.bool_)
        for volume in self._catalog.free_volumes(claim):
            result |= _reachable(volume, nodes)
        if self._catalog.can_provision(claim):
            result |= _allowed(self._catalog.classes[class_of(claim)], nodes)
        return result


class VolumeZone:
    """Volumes of clouds that name their zone in labels."""

    name = "VolumeZone"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return any(self._zones(demand))

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.NODE

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        elsewhere = np.zeros(nodes.size, dtype=np.bool_)
        for requirement in self._zones(demand):
            selector = nodeselector.NodeSelector((requirement,), None)
            elsewhere |= ~nodes.node_mask(selector)
        return (framework.Failure(NO_ZONE, elsewhere[rows], is_resolvable=False),)

    def _zones(self, demand: pods.Demand) -> list[nodeselector.Requirement]:
        found = []
        for name in demand.claims:
            claim = self._catalog.claims.get((demand.namespace, name), {})
            volume = self._catalog.volumes.get(claim.get("spec", {}).get("volumeName", ""), {})
            labels = volume.get("metadata", {}).get("labels") or {}
            # Several zones of one volume are written with two underscores between them.
            found += [
                nodeselector.Requirement(label, "In", tuple(labels[label].split("__")))
                for label in ZONE_LABELS
                if label in labels
            ]
        return found


class VolumeRestrictions:
    """A claim that one pod alone may use."""

    name = "VolumeRestrictions"

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def is_relevant(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> bool:
        return bool(demand.claims)

    def reach(self, demand: pods.Demand, nodes: snapshot.Snapshot) -> framework.Reach:
        return framework.Reach.ALL

    def filter(self, demand: pods.Demand, nodes: snapshot.Snapshot, rows: snapshot.Rows) -> Sequence[framework.Failure]:
        is_taken = any(
            nodes.claims_in_use[demand.namespace, name]
            and EXCLUSIVE
            in (self._catalog.claims.get((demand.namespace, name), {}).get("spec", {}).get("accessModes") or ())
            for name in demand.claims
        )
        return (framework.Failure(EXCLUSIVE_IN_USE, np.full(nodes.size, is_taken, dtype=np.bool_)[rows]),)


def plan_binding(catalog: Catalog, demand: pods.Demand, nodes: snapshot.Snapshot, row: int) -> list[Step]:
    """What must be written before a pod is bound to the row's node, for each of its claims that is not bound yet."""
    steps: list[Step] = []
    for name in demand.claims:
        claim = catalog.claims[demand.namespace, name]
        if _is_bound(claim):
            continue
        at_hand = [volume for volume in catalog.free_volumes(claim) if _reachable(volume, nodes)[row]]
        if at_hand:
            steps.append(Bind(at_hand[0]["metadata"]["name"], demand.namespace, name, claim["metadata"]["uid"]))
        else:
            steps.append(Provision(demand.namespace, name, nodes.names[row]))
    return steps


def class_of(claim: pods.Object) -> str:
    named = claim["spec"].get("storageClassName")
    if named is None:
        named = (claim["metadata"].get("annotations") or {}).get(DEFAULT_CLASS_ANNOTATION)
    return str(named or "")


def _identity(claim: pods.Object) -> tuple[str, str]:
    return claim["metadata"]["namespace"], claim["metadata"]["name"]


def _is_bound(claim: pods.Object) -> bool:
    return bool(claim["spec"].get("volumeName")) and BOUND in (claim["metadata"].get("annotations") or {})


def _can_hold(volume: pods.Object, claim: pods.Object) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    owner = spec.get("claimRef")
    if owner is not None:
        is_ours = (owner.get("namespace"), owner.get("name")) == _identity(claim)
        if not is_ours or owner.get("uid") not in (None, "", claim["metadata"]["uid"]):
            return False
    elif volume.get("status", {}).get("phase") != "Available":
        return False
    size = pods.amount("storage", (wanted.get("resources", {}).get("requests") or {}).get("storage", "0"))
    return (
        "deletionTimestamp" not in volume["metadata"]
        and str(spec.get("storageClassName") or "") == class_of(claim)
        and (spec.get("volumeMode") or "Filesystem") == (wanted.get("volumeMode") or "Filesystem")
        and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
        and _capacity(volume) >= size
        and ("selector" not in wanted or _selects(wanted["selector"], volume))
    )


def _selects(selector: pods.Object, volume: pods.Object) -> bool:
    return selectors.from_object(selector).matches(volume["metadata"].get("labels") or {})


def _capacity(volume: pods.Object) -> int:
    return pods.amount("storage", volume["spec"].get("capacity", {}).get("storage", "0"))


def _reachable(volume: pods.Object, nodes: snapshot.Snapshot) -> snapshot.Mask:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if required is None:
        return nodes.is_node.copy()
    return nodes.node_mask(nodeselector.NodeSelector((), nodeselector.parse_terms(required)))


def _allowed(storage_class: pods.Object, nodes: snapshot.Snapshot) -> snapshot.Mask:
    """By `allowedTopologies`."""
    terms = storage_class.get("allowedTopologies") or ()
    if not terms:
        return nodes.is_node.copy()
    result = np.zeros(nodes.size, dtype=np.bool_)
    for term in terms:
        expressions = term.get("matchLabelExpressions") or ()
        requirements = tuple(nodeselector.Requirement(e["key"], "In", tuple(e["values"])) for e in expressions)
        result |= nodes.node_mask(nodeselector.NodeSelector(requirements, None))
    return result
