"""`apiregistration.k8s.io`: APIs that other servers serve."""

from pinnace.api.rules import base
from pinnace.api.tables import access
from pinnace.api.validation import field, formats, metadata
from pinnace.api.warnings import unserved

Object = base.Object
Causes = base.Causes


def _defaults(obj: Object) -> None:
    service = obj.setdefault("spec", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def _validate(found: Causes, obj: Object) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.path_segment)
    spec = field.part(obj, "spec")
    wanted = f"{spec.get('version') or ''}.{spec.get('group') or ''}"
    name = field.part(obj, "metadata").get("name") or ""
    if name != wanted:
        found.invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: {field.quoted(wanted)}')
    for key in ("groupPriorityMinimum", "versionPriority"):
        if not 0 < (spec.get(key) or 0) <= (20000 if key == "groupPriorityMinimum" else 1000):
            found.invalid(
                f"spec.{key}",
                spec.get(key) or 0,
                "must be positive and less than " + ("20000" if key == "groupPriorityMinimum" else "1000"),
            )
    service = spec.get("service")
    if service is not None:
        for key in ("name", "namespace"):
            if not service.get(key):
                found.required(f"spec.service.{key}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        found.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def _validate_update(found: Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)
    _validate(found, new)


API_SERVICE = base.Rules(
    warnings=unserved.aggregated,
    defaults=_defaults,
    validate_create=_validate,
    update=base.Part(validate=_validate_update),
    is_conditional_only=True,
    printer=access.API_SERVICE,
)

V1: base.Rows = (
    base.Row(
        "APIService",
        "apiservices",
        base.CLUSTER,
        categories=base.EXTENSION,
        subs=base.STATUS,
        rules=API_SERVICE,
        folder="apiregistration.k8s.io/apiservices",
    ),
)
