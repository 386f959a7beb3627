"""Defaults of `resource.k8s.io/v1` (dynamic resource allocation)."""

from typing import Any

Object = dict[str, Any]

GROUP = "resource.k8s.io"


def claim(obj: Object) -> None:
    _claim_spec(obj.setdefault("spec", {}))


def claim_template(obj: Object) -> None:
    _claim_spec(obj.setdefault("spec", {}).setdefault("spec", {}))


def _claim_spec(spec: Object) -> None:
    for request in spec.get("devices", {}).get("requests", ()):
        exact = request.get("exactly")
        for wanted in (*((exact,) if exact is not None else ()), *request.get("firstAvailable", ())):
            wanted.setdefault("allocationMode", "ExactCount")
            if wanted["allocationMode"] == "ExactCount":
                wanted.setdefault("count", 1)
            for toleration in wanted.get("tolerations", ()):
                toleration.setdefault("operator", "Equal")


TABLE = {(GROUP, "v1", "ResourceClaim"): claim, (GROUP, "v1", "ResourceClaimTemplate"): claim_template}
