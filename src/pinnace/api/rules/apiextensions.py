"""`apiextensions.k8s.io`: definitions of custom kinds. What a definition makes of its kinds is in `api.custom`."""

from pinnace.api.rules import base
from pinnace.api.validation import definitions
from pinnace.api.warnings import unserved

Object = base.Object


def _defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = kind + "List"
    conversion = spec.setdefault("conversion", {})
    conversion["strategy"] = conversion.get("strategy") or "None"
    service = (conversion.get("webhook") or {}).get("clientConfig", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


DEFINITION = base.Rules(
    warnings=unserved.kind,
    defaults=_defaults,
    generation_of=base.but_status,
    validate_create=definitions.create,
    update=base.Part(validate=definitions.update),
    is_conditional_only=True,
)

V1: base.Rows = (
    base.Row(
        "CustomResourceDefinition",
        "customresourcedefinitions",
        base.CLUSTER,
        "crd crds",
        base.EXTENSION,
        base.STATUS,
        DEFINITION,
        folder="apiextensions.k8s.io/customresourcedefinitions",
    ),
)
