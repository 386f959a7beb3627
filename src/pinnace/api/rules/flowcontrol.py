"""`flowcontrol.apiserver.k8s.io`: which requests wait for which."""

from pinnace.api.rules import base
from pinnace.api.tables import access
from pinnace.api.validation import flowcontrol

Object = base.Object


def _flow_schema_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec["matchingPrecedence"] = spec.get("matchingPrecedence") or 1000


FLOW_SCHEMA = base.Rules(
    defaults=_flow_schema_defaults,
    generation_of=base.but_status,
    validate_create=flowcontrol.flow_schema,
    update=base.Part(validate=flowcontrol.flow_schema_update),
    printer=access.FLOW_SCHEMA,
)


def _priority_level_defaults(obj: Object) -> None:
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
                queuing[name] = queuing.get(name) or value


PRIORITY_LEVEL = base.Rules(
    defaults=_priority_level_defaults,
    generation_of=base.but_status,
    validate_create=flowcontrol.priority_level,
    update=base.Part(validate=flowcontrol.priority_level_update),
    printer=access.PRIORITY_LEVEL_CONFIGURATION,
)

V1: base.Rows = (
    base.Row("FlowSchema", "flowschemas", base.CLUSTER, subs=base.STATUS, rules=FLOW_SCHEMA),
    base.Row(
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        base.CLUSTER,
        subs=base.STATUS,
        rules=PRIORITY_LEVEL,
    ),
)
