"""Facts about a pod, each told once: what it asks for, its quality of service, which taints it bears, which nodes it may run on.

Pure, and small enough for a node to load. Specs and objects are as the API serves them and never changed; absent and empty are the same.
"""

import decimal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pinnace.api import conditions, quantity

Object = Mapping[str, Any]
Amounts = dict[str, decimal.Decimal]
"""Exact, by the resource's name."""
Field = Literal["requests", "limits"]

COMPUTE = ("cpu", "memory")
_NONE = decimal.Decimal(0)


# -- containers


def containers(spec: Object) -> Iterator[Any]:
    """Init containers and containers: those that may ask for resources."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def is_sidecar(container: Object) -> bool:
    """Of an init container: it starts in order with them and runs beside the containers (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def running_containers(spec: Object) -> Iterator[Any]:
    """Sidecars and containers: what runs when the pod is up."""
    yield from filter(is_sidecar, spec.get("initContainers") or ())
    yield from spec.get("containers") or ()


# -- state


def is_terminal(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    return conditions.is_true(pod, "Ready")


# -- resources


def stated(container: Object, field: Field) -> Amounts:
    return _parsed((container.get("resources") or {}).get(field))


def requests(spec: Object, *, with_overhead: bool = True, of: Callable[[Object, Field], Amounts] = stated) -> Amounts:
    """What the pod asks for: the larger of its running and its starting phase; what the pod states as a whole goes before its containers.

    `of`: what a container counts as (upstream's scheduler counts something for those that say nothing)."""
    found = _of_containers(spec, "requests", of) | _of_pod(spec, "requests")
    return _sum(found, _parsed(spec.get("overhead"))) if with_overhead else found


def limits(spec: Object, *, with_overhead: bool = True) -> Amounts:
    """The same for limits; the overhead comes on top of what is limited and limits nothing by itself."""
    found = _of_containers(spec, "limits", stated) | _of_pod(spec, "limits")
    if with_overhead:
        for name, amount in _parsed(spec.get("overhead")).items():
            if found.get(name):
                found[name] += amount
    return found


def _of_containers(spec: Object, field: Field, of: Callable[[Object, Field], Amounts]) -> Amounts:
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        # A sidecar runs beside all that starts after it.
        beside = _sum(sidecars, of(container, field))
        if is_sidecar(container):
            sidecars = beside
        starting = _larger(starting, beside)
    running = sidecars
    for container in spec.get("containers") or ():
        running = _sum(running, of(container, field))
    return _larger(running, starting)


def _of_pod(spec: Object, field: Field) -> Amounts:
    return _parsed((spec.get("resources") or {}).get(field))


def _parsed(texts: Mapping[str, Any] | None) -> Amounts:
    return {name: quantity.parse(str(text)) for name, text in texts.items()} if texts else {}


def _sum(left: Amounts, right: Amounts) -> Amounts:
    found = dict(left)
    for name, amount in right.items():
        found[name] = found.get(name, _NONE) + amount
    return found


def _larger(left: Amounts, right: Amounts) -> Amounts:
    found = dict(left)
    for name, amount in right.items():
        found[name] = max(found.get(name, _NONE), amount)
    return found


def units(name: str, amount: decimal.Decimal) -> int:
    """As nodes are counted: cpu in thousandths, everything else in whole units; rounded up."""
    return quantity.scaled(amount, 3 if name == "cpu" else 0)


# -- quality of service


def qos_class(spec: Object) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`: upstream's ComputePodQOS of a spec with its defaults, where a limit is also the request."""
    whole = spec.get("resources") or {}
    is_whole = bool(whole.get("requests") or whole.get("limits"))
    asked: Amounts = {}
    bounded: Amounts = {}
    is_all_bounded = True
    for holder in ({"resources": whole},) if is_whole else containers(spec):
        own = _counted(holder, "limits")
        asked = _sum(asked, own | _counted(holder, "requests"))
        bounded = _sum(bounded, own)
        is_all_bounded = is_all_bounded and len(own) == len(COMPUTE)
    if not asked and not bounded:
        return "BestEffort"
    return "Guaranteed" if is_all_bounded and asked == bounded else "Burstable"


def _counted(container: Object, field: Field) -> Amounts:
    return {name: amount for name, amount in stated(container, field).items() if name in COMPUTE and amount > 0}


# -- nodes


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    operator, value, other = toleration.get("operator") or "Equal", toleration.get("value"), taint.get("value")
    if operator == "Exists":
        return True
    if operator in ("Lt", "Gt"):
        return _is_beyond(other, operator, value)
    return operator == "Equal" and bool(toleration.get("key")) and (value or "") == (other or "")


def selects(selector: Object, node: Object) -> bool:
    """Whether a node selector (of a pod's affinity, of a volume) takes the node: by any of its terms."""
    return any(_term_holds(term, node) for term in selector.get("nodeSelectorTerms") or ())


def may_run_on(spec: Object, node: Object) -> bool:
    """By the pod's `nodeSelector` and its required node affinity."""
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or selects(required, node)


def _term_holds(term: Object, node: Object) -> bool:
    """A term without requirements takes no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    labels = node["metadata"].get("labels") or {}
    return all(_holds(each, labels.get(each["key"])) for each in expressions) and all(
        each["key"] == "metadata.name" and _holds(each, node["metadata"]["name"]) for each in fields
    )


def _holds(requirement: Object, value: str | None) -> bool:
    """`value`: of the node's label; None where it has none."""
    values: Sequence[str] = requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Lt" | "Gt" as operator:
            return bool(values) and _is_beyond(value, operator, values[0])
    return False


def _is_beyond(value: str | None, operator: str, bound: str | None) -> bool:
    """What is no number is beyond nothing."""
    try:
        left, right = int(value or ""), int(bound or "")
    except ValueError:
        return False
    return left < right if operator == "Lt" else left > right
