"""What a pod asks of a node, read once from its object. Pure.

`read(pod)` is cheap for the many pods that come from one template: all that does not depend on the pod's name is in a `Demand`, which
equal pods share, so that filtering and scoring can be shared as well.
"""

import dataclasses
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from pinnace.api import pods as facts
from pinnace.api import quantity, selectors
from pinnace.kit import buffers, remembered
from pinnace.scheduler import nodeselector

Object = dict[str, Any]

SCHEDULER_NAME = "default-scheduler"
# What a container without a request counts as when nodes are scored (never when they are filtered).
_SCORED = {"cpu": decimal.Decimal("0.1"), "memory": decimal.Decimal(200 << 20)}
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"

Resources = dict[str, int]
"""cpu in thousandths, everything else in whole units."""


@dataclasses.dataclass(frozen=True, slots=True)
class Toleration:
    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: "Taint") -> bool:
        return facts.tolerates(dataclasses.asdict(self), dataclasses.asdict(taint))


@dataclasses.dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str


@dataclasses.dataclass(frozen=True, slots=True)
class HostPort:
    protocol: str
    port: int
    ip: str
    """0.0.0.0: all addresses."""

    def conflicts(self, ip: str) -> bool:
        """With a use of the same port and protocol at `ip`."""
        return self.ip == ip or "0.0.0.0" in (self.ip, ip)  # noqa: S104 - compared, not bound


@dataclasses.dataclass(frozen=True, slots=True)
class PodTerm:
    """A term of pod affinity or anti-affinity; which namespaces it means is decided against the namespaces' labels."""

    selector: selectors.LabelSelector
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: selectors.LabelSelector
    weight: int = 0
    """0: it is required."""

    def matches(self, namespace: str, namespace_labels: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        is_meant = namespace in self.namespaces or self.namespace_selector.matches(namespace_labels)
        return is_meant and self.selector.matches(labels)


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint."""

    max_skew: int
    topology_key: str
    is_required: bool
    selector: selectors.LabelSelector
    min_domains: int
    honours_affinity: bool
    honours_taints: bool


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """All of a pod that decides where it can run. Equal pods share one: compare by identity."""

    namespace: str
    labels: Mapping[str, str]
    priority: int
    requests: Resources
    """Without zeros."""
    scored_cpu: int
    scored_memory: int
    tolerations: tuple[Toleration, ...]
    node_selector: nodeselector.NodeSelector | None
    """The pod's nodeSelector and its required node affinity."""
    preferred_nodes: tuple[tuple[int, nodeselector.NodeSelector], ...]
    host_ports: tuple[HostPort, ...]
    affinity: tuple[PodTerm, ...]
    anti_affinity: tuple[PodTerm, ...]
    preferred_pods: tuple[PodTerm, ...]
    """Affinity with positive weight, anti-affinity with negative."""
    spread: tuple[Spread, ...]
    claims: tuple[str, ...]
    """Names of persistent volume claims."""
    images: tuple[str, ...]
    owner: tuple[str, str] | None
    """(kind, name) of the controller, where its selector spreads pods that say nothing else."""
    can_preempt: bool

    @property
    def is_best_effort(self) -> bool:
        return "cpu" not in self.requests and "memory" not in self.requests


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pod:
    """A pod as the scheduler sees it."""

    object: Object
    demand: Demand

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    @property
    def namespace(self) -> str:
        return self.demand.namespace

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def key(self) -> str:
        return f"{self.demand.namespace}/{self.name}"

    @property
    def node_name(self) -> str:
        return str(self.object["spec"].get("nodeName") or "")

    @property
    def nominated_node(self) -> str:
        return str(self.object.get("status", {}).get("nominatedNodeName") or "")

    @property
    def is_terminating(self) -> bool:
        return "deletionTimestamp" in self.object["metadata"]

    @property
    def is_terminal(self) -> bool:
        """It has ended and holds nothing any more."""
        return self.object.get("status", {}).get("phase") in ("Succeeded", "Failed")

    @property
    def start_time(self) -> str:
        """RFC 3339: comparable as text."""
        return str(
            self.object.get("status", {}).get("startTime") or self.object["metadata"].get("creationTimestamp") or ""
        )

    @property
    def is_gated(self) -> bool:
        return bool(self.object["spec"].get("schedulingGates"))

    def with_nomination(self, node_name: str) -> "Pod":
        """As its object will read once the nomination is written."""
        status = {**self.object.get("status", {}), "nominatedNodeName": node_name}
        return Pod({**self.object, "status": status}, self.demand)


# Of a pod's specification, beside containers and volumes: what decides where it can run.
_DECIDING = (
    "affinity",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "resources",
    "tolerations",
    "topologySpreadConstraints",
)
_CONTAINER_FIELDS = ("image", "resources", "ports", "restartPolicy")


def _only(obj: Mapping[str, Any], keys: Sequence[str]) -> Object:
    return {key: obj[key] for key in keys if key in obj}


def read(obj: Object) -> Pod:
    """The pod in `obj`, an object as the API serves it. Raises ValueError on what the API would have refused."""
    return Pod(obj, _demand(_fingerprint(obj)))


def _fingerprint(obj: Object) -> bytes:
    """Equal for pods that every node treats alike."""
    metadata, spec = obj["metadata"], obj["spec"]
    relevant = _only(spec, _DECIDING)
    for key in ("containers", "initContainers"):
        if key in spec:
            relevant[key] = [_only(container, _CONTAINER_FIELDS) for container in spec[key]]
    claims = [claim for volume in spec.get("volumes", ()) if (claim := _claim(volume, metadata["name"]))]
    if claims:
        relevant["volumes"] = claims
    owner = next((ref for ref in metadata.get("ownerReferences", ()) if ref.get("controller")), None)
    known = [
        metadata.get("namespace", ""),
        metadata.get("labels", {}),
        [owner["kind"], owner["name"]] if owner else None,
        relevant,
    ]
    return buffers.trimmed(orjson.dumps(known, option=orjson.OPT_SORT_KEYS))


def _claim(volume: Object, pod_name: str) -> str:
    if "persistentVolumeClaim" in volume:
        return str(volume["persistentVolumeClaim"]["claimName"])
    return f"{pod_name}-{volume['name']}" if "ephemeral" in volume else ""


@remembered.short(8192, 4096)
def _demand(fingerprint: bytes) -> Demand:
    namespace, labels, owner, spec = orjson.loads(fingerprint)
    affinity = spec.get("affinity") or {}
    node = affinity.get("nodeAffinity") or {}
    requests, scored = pod_requests(spec)
    return Demand(
        namespace=namespace,
        labels=labels,
        priority=int(spec.get("priority") or 0),
        requests={name: amount for name, amount in requests.items() if amount},
        scored_cpu=scored["cpu"],
        scored_memory=scored["memory"],
        tolerations=tuple(
            Toleration(t.get("key", ""), t.get("operator") or "Equal", t.get("value", ""), t.get("effect", ""))
            for t in spec.get("tolerations", ())
        ),
        node_selector=nodeselector.required(
            spec.get("nodeSelector") or {}, node.get("requiredDuringSchedulingIgnoredDuringExecution")
        ),
        preferred_nodes=tuple(
            (int(term["weight"]), nodeselector.parse_term(term["preference"]))
            for term in node.get("preferredDuringSchedulingIgnoredDuringExecution", ())
        ),
        host_ports=_host_ports(spec),
        affinity=_required_terms(affinity.get("podAffinity"), namespace, labels),
        anti_affinity=_required_terms(affinity.get("podAntiAffinity"), namespace, labels),
        preferred_pods=_preferred_terms(affinity.get("podAffinity"), namespace, labels, 1)
        + _preferred_terms(affinity.get("podAntiAffinity"), namespace, labels, -1),
        spread=tuple(_spread(constraint, labels) for constraint in spec.get("topologySpreadConstraints", ())),
        claims=tuple(spec.get("volumes", ())),
        images=tuple(container.get("image", "") for container in facts.containers(spec)),
        owner=(owner[0], owner[1]) if owner else None,
        can_preempt=spec.get("preemptionPolicy") != "Never",
    )


def pod_requests(spec: Mapping[str, Any]) -> tuple[Resources, Resources]:
    """(what the pod needs, what it counts as when nodes are scored)."""
    scored = _counted(facts.requests(spec, of=_scored))
    return _counted(facts.requests(spec)), {"cpu": scored.get("cpu", 0), "memory": scored.get("memory", 0)}


def _counted(amounts: facts.Amounts) -> Resources:
    return {name: facts.units(name, amount) for name, amount in amounts.items()}


def _scored(container: Mapping[str, Any], field: facts.Field) -> facts.Amounts:
    """A container without a request counts as something."""
    return _SCORED | {name: amount for name, amount in facts.stated(container, field).items() if name in _SCORED}


def amount(name: str, text: Any) -> int:
    return quantity.milli(str(text)) if name == "cpu" else quantity.value(str(text))


def _host_ports(spec: Mapping[str, Any]) -> tuple[HostPort, ...]:
    """Of containers and sidecars: other init containers have ended when the pod runs."""
    return tuple(
        HostPort(port.get("protocol") or "TCP", int(port["hostPort"]), port.get("hostIP") or "0.0.0.0")  # noqa: S104
        for container in facts.running_containers(spec)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _required_terms(group: Mapping[str, Any] | None, namespace: str, labels: Mapping[str, str]) -> tuple[PodTerm, ...]:
    terms = (group or {}).get("requiredDuringSchedulingIgnoredDuringExecution", ())
    return tuple(_pod_term(term, namespace, labels) for term in terms)


def _preferred_terms(
    group: Mapping[str, Any] | None, namespace: str, labels: Mapping[str, str], sign: int
) -> tuple[PodTerm, ...]:
    terms = (group or {}).get("preferredDuringSchedulingIgnoredDuringExecution", ())
    return tuple(_pod_term(t["podAffinityTerm"], namespace, labels, sign * int(t["weight"])) for t in terms)


def _pod_term(term: Mapping[str, Any], namespace: str, labels: Mapping[str, str], weight: int = 0) -> PodTerm:
    names = frozenset(term.get("namespaces") or ())
    chooser = term.get("namespaceSelector")
    if not names and chooser is None:
        names = frozenset((namespace,))
    return PodTerm(
        _with_label_keys(
            term.get("labelSelector"), labels, term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
        ),
        term["topologyKey"],
        names,
        selectors.from_object(chooser),
        weight,
    )


def _spread(constraint: Mapping[str, Any], labels: Mapping[str, str]) -> Spread:
    return Spread(
        int(constraint["maxSkew"]),
        constraint["topologyKey"],
        constraint.get("whenUnsatisfiable") == "DoNotSchedule",
        _with_label_keys(constraint.get("labelSelector"), labels, constraint.get("matchLabelKeys") or ()),
        int(constraint.get("minDomains") or 1),
        constraint.get("nodeAffinityPolicy") != "Ignore",
        constraint.get("nodeTaintsPolicy") == "Honor",
    )


def _with_label_keys(
    selector: Mapping[str, Any] | None,
    labels: Mapping[str, str],
    match_keys: Sequence[str],
    mismatch_keys: Sequence[str] = (),
) -> selectors.LabelSelector:
    """`selector`, narrowed to pods that have this pod's values of `match_keys` and others of `mismatch_keys`."""
    more = [{"key": key, "operator": "In", "values": [labels[key]]} for key in match_keys if key in labels]
    more += [{"key": key, "operator": "NotIn", "values": [labels[key]]} for key in mismatch_keys if key in labels]
    if selector is None or not more:
        return selectors.from_object(selector)
    return selectors.from_object({**selector, "matchExpressions": [*(selector.get("matchExpressions") or ()), *more]})
