"""Defaults: what upstream fills in when a field is absent, for every kind that is served. One file per API group.

`apply` is called after decoding and before admission, on creates, updates and the outcome of patches alike. It changes the object in place.
"""

from collections.abc import Callable
from typing import Any

from pinnace.api import kinds
from pinnace.api import schema as schemas
from pinnace.api.defaults import (
    admissionregistration,
    apps,
    autoscaling,
    batch,
    core,
    extensions,
    flowcontrol,
    networking,
    rbac,
    resource,
    storage,
    structural,
)

Defaulter = Callable[[kinds.Object], None]

_TABLE: dict[tuple[str, str, str], Defaulter] = {
    **core.TABLE,
    **apps.TABLE,
    **batch.TABLE,
    **autoscaling.TABLE,
    **networking.TABLE,
    **rbac.TABLE,
    **storage.TABLE,
    **admissionregistration.TABLE,
    **extensions.TABLE,
    **flowcontrol.TABLE,
    **resource.TABLE,
}

# Numbers of a status that are printed even when they are zero, though the definitions do not call them required.
_PRINTED = {
    "PodDisruptionBudgetStatus": ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"),
    "StatefulSetStatus": ("availableReplicas",),
}


def apply(kind: kinds.Kind, obj: kinds.Object) -> None:
    """Fill in the defaults of `obj`, which was decoded for `kind`."""
    schema = kind.schema
    if not kind.definition:
        structural.apply(schema, obj)
        return
    status = schema.properties.get("status")
    if status is not None and kind.subresource("status") is not None:
        _status(status, obj.setdefault("status", {}))
    defaulter = _TABLE.get((kind.group, kind.version, kind.kind))
    if defaulter is not None:
        defaulter(obj)


def _status(schema: schemas.Schema, status: dict[str, Any]) -> None:
    """Upstream's status is never absent, and its required numbers are printed even when they are zero."""
    for name in (*schema.required, *_PRINTED.get(schema.name.rpartition(".")[2], ())):
        if schema.properties[name].type == "integer":
            status.setdefault(name, 0)
