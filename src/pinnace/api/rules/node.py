"""`node.k8s.io`: runtime classes."""

from pinnace.api.rules import base
from pinnace.api.tables import cluster
from pinnace.api.validation import field, formats, metadata
from pinnace.api.warnings import nodes

Object = base.Object
Causes = base.Causes


def _validate(found: Causes, obj: Object) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    handler = obj.get("handler") or ""
    found.messages("handler", handler, formats.dns_label(handler))
    selector = field.part(field.part(obj, "scheduling"), "nodeSelector")
    metadata.label_map(found, selector, "scheduling.nodeSelector")


def _validate_update(found: Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)
    found.unchanged("handler", new.get("handler"), old.get("handler"))


RUNTIME_CLASS = base.Rules(
    warnings=nodes.runtime_class,
    validate_create=_validate,
    update=base.Part(validate=_validate_update),
    is_conditional_only=True,
    printer=cluster.RUNTIME_CLASS,
)

V1: base.Rows = (base.Row("RuntimeClass", "runtimeclasses", base.CLUSTER, rules=RUNTIME_CLASS),)
