"""Defaults of `flowcontrol.apiserver.k8s.io/v1`."""

from typing import Any

Object = dict[str, Any]

GROUP = "flowcontrol.apiserver.k8s.io"


def flow_schema(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("matchingPrecedence", 1000)


def priority_level(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    exempt = spec.get("exempt")
    if exempt is None and spec.get("type") == "Exempt":
        exempt = spec["exempt"] = {}
    if exempt is not None:
        exempt.setdefault("nominalConcurrencyShares", 0)
        exempt.setdefault("lendablePercent", 0)
    limited = spec.get("limited")
    if limited is not None:
        limited.setdefault("nominalConcurrencyShares", 30)
        limited.setdefault("lendablePercent", 0)
        queuing = limited.get("limitResponse", {}).get("queuing")
        if queuing is not None:
            for name, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                queuing.setdefault(name, value)


TABLE = {(GROUP, "v1", "FlowSchema"): flow_schema, (GROUP, "v1", "PriorityLevelConfiguration"): priority_level}
