"""`coordination.k8s.io`: leases; candidates for them as a preview."""

from pinnace.api.rules import base, generic
from pinnace.api.tables import cluster
from pinnace.api.validation import field, formats, metadata

Object = base.Object
Causes = base.Causes


def _validate(found: Causes, obj: Object) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _spec(found, field.part(obj, "spec"))


def _validate_update(found: Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)
    _spec(found, field.part(new, "spec"))


def _spec(found: Causes, spec: Object) -> None:
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        found.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    found.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))
    if spec.get("preferredHolder") and not spec.get("strategy"):
        found.forbidden("spec.preferredHolder", "may only be specified when `strategy` is defined")
    if spec.get("strategy"):
        found.messages("spec.strategy", spec["strategy"], formats.qualified_name(spec["strategy"]))


LEASE = base.Rules(
    validate_create=_validate,
    update=base.Part(validate=_validate_update),
    creates_on_update=True,
    is_conditional_only=True,
    printer=cluster.LEASE,
)

V1: base.Rows = (base.Row("Lease", "leases", base.NAMESPACED, rules=LEASE),)


def _candidates(version: str) -> base.Rows:
    rules = generic.by_schema(f"io.k8s.api.coordination.{version}", "LeaseCandidate", namespaced=True)
    return (base.Row("LeaseCandidate", "leasecandidates", base.NAMESPACED, rules=rules),)


V1BETA1 = _candidates("v1beta1")
V1ALPHA2 = _candidates("v1alpha2")
