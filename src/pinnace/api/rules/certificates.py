"""`certificates.k8s.io`: signing requests; trust bundles and pods' certificates as previews."""

import dataclasses

from pinnace.api import selectable
from pinnace.api.rules import base, generic
from pinnace.api.tables import access
from pinnace.api.validation import certificates

Object = base.Object

_VERDICTS = ("Approved", "Denied")


def _request_update(new: Object, old: Object) -> None:
    base.keep(new, old, "spec")


def _request_status(new: Object, old: Object) -> None:
    """Whoever signs neither approves nor denies: such conditions are as they were, after what else there is now."""
    base.status_alone(new, old)
    status, before = dict(new.get("status") or {}), old.get("status") or {}
    lasting = [each for each in before.get("conditions") or () if each.get("type") in _VERDICTS]
    kept = iter(lasting)
    conditions = []
    for condition in status.get("conditions") or ():
        if condition.get("type") not in _VERDICTS:
            conditions.append(condition)
        elif (own := next(kept, None)) is not None:
            conditions.append(own)
    conditions += kept
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    new["status"] = status


SIGNING_REQUEST = base.Rules(
    validate_create=certificates.create,
    update=base.Part(_request_update, certificates.update),
    status=base.Part(_request_status, certificates.update),
    parts={"approval": base.Part(base.one_field("status", "conditions"), certificates.update)},
    printer=access.CERTIFICATE_SIGNING_REQUEST,
    fields=selectable.Fields(selectable.paths("spec.signerName"), has_namespace=False),
)

V1: base.Rows = (
    base.Row(
        "CertificateSigningRequest",
        "certificatesigningrequests",
        base.CLUSTER,
        "csr",
        subs=(base.Sub("approval"), base.Sub("status")),
        rules=SIGNING_REQUEST,
    ),
)


def _trust_bundle(version: str) -> base.Row:
    rules = dataclasses.replace(
        generic.by_schema(f"io.k8s.api.certificates.{version}", "ClusterTrustBundle", namespaced=False),
        printer=access.CLUSTER_TRUST_BUNDLE,
        fields=selectable.Fields(selectable.paths("spec.signerName")),
    )
    return base.Row("ClusterTrustBundle", "clustertrustbundles", base.CLUSTER, rules=rules)


POD_CERTIFICATE_REQUEST = dataclasses.replace(
    generic.by_schema("io.k8s.api.certificates.v1beta1", "PodCertificateRequest", namespaced=True),
    fields=selectable.Fields(selectable.paths("spec.signerName", "spec.podName", "spec.nodeName")),
)

V1BETA1: base.Rows = (
    _trust_bundle("v1beta1"),
    base.Row(
        "PodCertificateRequest",
        "podcertificaterequests",
        base.NAMESPACED,
        subs=base.STATUS,
        rules=POD_CERTIFICATE_REQUEST,
    ),
)
V1ALPHA1: base.Rows = (_trust_bundle("v1alpha1"),)
