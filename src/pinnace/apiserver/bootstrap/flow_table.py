"""The priority levels and flow schemas of a fresh cluster (apiserver/pkg/apis/flowcontrol/bootstrap), as objects.

The server shares its places out in its own way (`flow.py`); these are what clients expect to find, and to add their own to.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

Object = dict[str, Any]

GROUP = "flowcontrol.apiserver.k8s.io"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"
MANDATORY = frozenset({"exempt", "catch-all"})
"""Of both kinds: they come back when they are deleted, and their spec is not for users to change."""

_USER, _NAMESPACE = "ByUser", "ByNamespace"
_ALL = ("*",)
_LEADING = ("get", "create", "update")
_EVERYBODY = ("Group system:unauthenticated", "Group system:authenticated")


@dataclasses.dataclass(frozen=True, slots=True)
class _Level:
    name: str
    shares: int
    lendable_percent: int
    queues: int = 0
    """0: what finds no place is refused."""
    hand_size: int = 0


_LEVELS = (
    _Level("catch-all", 5, 0),
    _Level("system", 30, 33, 64, 6),
    _Level("node-high", 40, 25, 64, 6),
    _Level("leader-election", 10, 0, 16, 4),
    _Level("workload-high", 40, 50, 128, 6),
    _Level("workload-low", 100, 90, 128, 6),
    _Level("global-default", 20, 50, 128, 6),
)
_QUEUE_LENGTH = 50


@dataclasses.dataclass(frozen=True, slots=True)
class _Rule:
    verbs: Sequence[str] = _ALL
    groups: Sequence[str] = _ALL
    resources: Sequence[str] = _ALL
    cluster_scope: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class _Schema:
    name: str
    level: str
    precedence: int
    distinguisher: str
    subjects: Sequence[str]
    rules: Sequence[_Rule] = (_Rule(),)
    urls: Sequence[str] = _ALL
    url_verbs: Sequence[str] = _ALL


_LEASES = _Rule(_LEADING, ("coordination.k8s.io",), ("leases",), cluster_scope=False)
_MANAGER = "User system:kube-controller-manager"
_SCHEDULER = "User system:kube-scheduler"
_SYSTEM_ACCOUNTS = "ServiceAccount kube-system/*"

_SCHEMAS = (
    _Schema("exempt", "exempt", 1, "", ("Group system:masters",)),
    _Schema("probes", "exempt", 2, "", _EVERYBODY, (), ("/healthz", "/readyz", "/livez"), ("get",)),
    _Schema(
        "system-leader-election",
        "leader-election",
        100,
        _USER,
        (_MANAGER, _SCHEDULER, _SYSTEM_ACCOUNTS),
        (_LEASES,),
        (),
    ),
    _Schema(
        "endpoint-controller",
        "workload-high",
        150,
        _USER,
        (
            _MANAGER,
            "ServiceAccount kube-system/endpoint-controller",
            "ServiceAccount kube-system/endpointslicemirroring-controller",
        ),
        (_Rule(_LEADING, ("",), ("endpoints",), cluster_scope=False),),
        (),
    ),
    _Schema("workload-leader-election", "leader-election", 200, _USER, (_SYSTEM_ACCOUNTS,), (_LEASES,), ()),
    _Schema(
        "system-node-high",
        "node-high",
        400,
        _USER,
        ("Group system:nodes",),
        (
            _Rule(groups=("",), resources=("nodes", "nodes/status")),
            _Rule(groups=("coordination.k8s.io",), resources=("leases",), cluster_scope=False),
        ),
        (),
    ),
    _Schema("system-nodes", "system", 500, _USER, ("Group system:nodes",)),
    _Schema("kube-controller-manager", "workload-high", 800, _NAMESPACE, (_MANAGER,)),
    _Schema("kube-scheduler", "workload-high", 800, _NAMESPACE, (_SCHEDULER,)),
    _Schema("kube-system-service-accounts", "workload-high", 900, _NAMESPACE, (_SYSTEM_ACCOUNTS,)),
    _Schema("service-accounts", "workload-low", 9000, _USER, ("Group system:serviceaccounts",)),
    _Schema("global-default", "global-default", 9900, _USER, _EVERYBODY),
    _Schema("catch-all", "catch-all", 10000, _USER, _EVERYBODY),
)


def levels() -> Iterator[Object]:
    nothing = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    yield _object("PriorityLevelConfiguration", "exempt", {"type": "Exempt", "exempt": nothing})
    for row in _LEVELS:
        response: Object = {"type": "Reject"}
        if row.queues:
            queuing = {"queues": row.queues, "handSize": row.hand_size, "queueLengthLimit": _QUEUE_LENGTH}
            response = {"type": "Queue", "queuing": queuing}
        limited = {
            "nominalConcurrencyShares": row.shares,
            "lendablePercent": row.lendable_percent,
            "limitResponse": response,
        }
        yield _object("PriorityLevelConfiguration", row.name, {"type": "Limited", "limited": limited})


def schemas() -> Iterator[Object]:
    for row in _SCHEMAS:
        spec: Object = {
            "priorityLevelConfiguration": {"name": row.level},
            "matchingPrecedence": row.precedence,
            "rules": [_rules(row)],
        }
        if row.distinguisher:
            spec["distinguisherMethod"] = {"type": row.distinguisher}
        yield _object("FlowSchema", row.name, spec)


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "annotations": {AUTO_UPDATE: "true"}}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _rules(row: _Schema) -> Object:
    made: Object = {"subjects": [_subject(text) for text in row.subjects]}
    if row.rules:
        made["resourceRules"] = [_rule(rule) for rule in row.rules]
    if row.urls:
        made["nonResourceRules"] = [{"verbs": list(row.url_verbs), "nonResourceURLs": list(row.urls)}]
    return made


def _rule(rule: _Rule) -> Object:
    made: Object = {"verbs": list(rule.verbs), "apiGroups": list(rule.groups), "resources": list(rule.resources)}
    if rule.cluster_scope:
        made["clusterScope"] = True
    return {**made, "namespaces": ["*"]}


def _subject(text: str) -> Object:
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": name}}
    return {"kind": kind, kind.lower(): {"name": name}}
