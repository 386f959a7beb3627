"""Defaults of `apiextensions.k8s.io/v1`, `apiregistration.k8s.io/v1` and `authentication.k8s.io/v1`."""

from typing import Any

Object = dict[str, Any]


def custom_resource_definition(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    if not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = kind + "List"
    conversion = spec.setdefault("conversion", {})
    conversion.setdefault("strategy", "None")
    _port((conversion.get("webhook") or {}).get("clientConfig", {}).get("service"))


def api_service(obj: Object) -> None:
    _port(obj.setdefault("spec", {}).get("service"))


def token_request(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("expirationSeconds", 3600)


def _port(service: Object | None) -> None:
    if service is not None:
        service.setdefault("port", 443)


TABLE = {
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"): custom_resource_definition,
    ("apiregistration.k8s.io", "v1", "APIService"): api_service,
    ("authentication.k8s.io", "v1", "TokenRequest"): token_request,
}
