"""`scheduling.k8s.io`: priority classes; pod groups as a preview."""

from pinnace.api.rules import base, generic
from pinnace.api.tables import cluster
from pinnace.api.validation import field, formats, metadata

Object = base.Object
Causes = base.Causes

_HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def _defaults(obj: Object) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _validate(found: Causes, obj: Object) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    name, value = field.part(obj, "metadata").get("name") or "", obj.get("value") or 0
    if name.startswith("system-"):
        if _SYSTEM_PRIORITIES.get(name) != value:
            found.forbidden(
                "metadata.name",
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
                if name not in _SYSTEM_PRIORITIES
                else "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: value of {name} PriorityClass must be {_SYSTEM_PRIORITIES[name]}",
            )
    elif value > _HIGHEST_USER_PRIORITY:
        found.forbidden("value", f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}")
    policy = obj.get("preemptionPolicy")
    if policy is not None:
        found.one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"), is_sorted=False)


def _validate_update(found: Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)
    if (new.get("value") or 0) != (old.get("value") or 0):
        found.forbidden("value", "may not be changed in an update.")
    found.unchanged("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


PRIORITY_CLASS = base.Rules(
    defaults=_defaults,
    generation_of=base.but_status,
    validate_create=_validate,
    update=base.Part(validate=_validate_update),
    printer=cluster.PRIORITY_CLASS,
)

_PREVIEW = "io.k8s.api.scheduling.v1alpha2"

V1: base.Rows = (base.Row("PriorityClass", "priorityclasses", base.CLUSTER, "pc", rules=PRIORITY_CLASS),)
V1ALPHA2: base.Rows = (
    base.Row(
        "PodGroup",
        "podgroups",
        base.NAMESPACED,
        subs=base.STATUS,
        rules=generic.by_schema(_PREVIEW, "PodGroup", namespaced=True),
    ),
    base.Row("Workload", "workloads", base.NAMESPACED, rules=generic.by_schema(_PREVIEW, "Workload", namespaced=True)),
)
