"""`resource.k8s.io`: dynamic resource allocation."""

import dataclasses

from pinnace.api import selectable
from pinnace.api.rules import base, generic
from pinnace.api.tables import access, printers

Object = base.Object


def _claim_defaults(obj: Object) -> None:
    _claim_spec(obj.setdefault("spec", {}))


def _claim_template_defaults(obj: Object) -> None:
    _claim_spec(obj.setdefault("spec", {}).setdefault("spec", {}))


def _claim_spec(spec: Object) -> None:
    for request in spec.get("devices", {}).get("requests") or ():
        exact = request.get("exactly")
        for wanted in (*((exact,) if exact is not None else ()), *request.get("firstAvailable", ())):
            wanted.setdefault("allocationMode", "ExactCount")
            if wanted["allocationMode"] == "ExactCount":
                wanted.setdefault("count", 1)
            for toleration in wanted.get("tolerations", ()):
                toleration.setdefault("operator", "Equal")


_SLICE_FIELDS = selectable.Fields(selectable.paths("spec.nodeName", "spec.driver"))


class _Version:
    """The rows of one version; the previews of a claim have another shape, whose defaults nobody has stated."""

    def __init__(self, version: str, *, is_current: bool = False) -> None:
        self._package = f"io.k8s.api.resource.{version}"
        self._claim: base.Change = _claim_defaults if is_current else base.as_it_is
        self._template: base.Change = _claim_template_defaults if is_current else base.as_it_is

    def rules(self, kind: str, namespaced: bool) -> base.Rules:
        return generic.by_schema(self._package, kind, namespaced=namespaced)

    def device_class(self) -> base.Row:
        rules = dataclasses.replace(self.rules("DeviceClass", base.CLUSTER), printer=printers.NAME_AND_AGE)
        return base.Row("DeviceClass", "deviceclasses", base.CLUSTER, rules=rules)

    def taint_rule(self) -> base.Row:
        rules = self.rules("DeviceTaintRule", base.CLUSTER)
        return base.Row("DeviceTaintRule", "devicetaintrules", base.CLUSTER, subs=base.STATUS, rules=rules)

    def claims(self) -> base.Rows:
        claim = dataclasses.replace(
            self.rules("ResourceClaim", base.NAMESPACED), defaults=self._claim, printer=access.RESOURCE_CLAIM
        )
        template = dataclasses.replace(
            self.rules("ResourceClaimTemplate", base.NAMESPACED),
            defaults=self._template,
            printer=printers.NAME_AND_AGE,
        )
        slices = dataclasses.replace(
            self.rules("ResourceSlice", base.CLUSTER),
            generation_of=base.but_status,
            printer=access.RESOURCE_SLICE,
            fields=_SLICE_FIELDS,
        )
        return (
            base.Row("ResourceClaim", "resourceclaims", base.NAMESPACED, subs=base.STATUS, rules=claim),
            base.Row("ResourceClaimTemplate", "resourceclaimtemplates", base.NAMESPACED, rules=template),
            base.Row("ResourceSlice", "resourceslices", base.CLUSTER, rules=slices),
        )

    def pool_status(self) -> base.Row:
        rules = self.rules("ResourcePoolStatusRequest", base.CLUSTER)
        return base.Row(
            "ResourcePoolStatusRequest", "resourcepoolstatusrequests", base.CLUSTER, subs=base.STATUS, rules=rules
        )


_v1, _v1beta2, _v1beta1, _v1alpha3 = _Version("v1", is_current=True), *map(_Version, ("v1beta2", "v1beta1", "v1alpha3"))

V1: base.Rows = (_v1.device_class(), *_v1.claims())
V1BETA2: base.Rows = (_v1beta2.device_class(), _v1beta2.taint_rule(), *_v1beta2.claims())
V1BETA1: base.Rows = (_v1beta1.device_class(), *_v1beta1.claims())
V1ALPHA3: base.Rows = (_v1alpha3.taint_rule(), _v1alpha3.pool_status())
