"""Services, their endpoints, policies and ingresses."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api.warnings import addresses, unserved

Object = Mapping[str, Any]

_HINTS = "service.kubernetes.io/topology-aware-hints"
_TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
_INGRESS_CLASS = "kubernetes.io/ingress.class"
_MANAGED_ENDPOINTS = "endpoints.kubernetes.io/managed-by"


def service(new: Object, old: Object | None, subresource: str) -> list[str]:
    return [] if subresource else list(_of_service(new))


def _of_service(obj: Object) -> Iterator[str]:
    """pkg/api/service/warnings.go."""
    spec, kind = obj["spec"], obj["spec"].get("type") or "ClusterIP"
    external, name = spec.get("externalIPs") or (), "ExternalName"
    is_headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if _HINTS in (obj["metadata"].get("annotations") or {}):
        yield f"annotation {_HINTS} is deprecated, please use {_TOPOLOGY_MODE} instead"
    if not is_headless and spec.get("clusterIP"):
        yield from addresses.ips("spec.clusterIPs", spec.get("clusterIPs"))
    if is_headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if (spec.get("sessionAffinity") or "None") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    yield from addresses.ips("spec.externalIPs", external)
    if external and not is_headless and kind != name:
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.get("loadBalancerIP"):
        yield from addresses.ip("spec.loadBalancerIP", spec["loadBalancerIP"])
    yield from addresses.cidrs("spec.loadBalancerSourceRanges", spec.get("loadBalancerSourceRanges"))
    if kind == name and external:
        yield f'spec.externalIPs is ignored when spec.type is "{name}"'
    if kind != name and spec.get("externalName"):
        yield f'spec.externalName is ignored when spec.type is not "{name}"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def endpoints(new: Object, old: Object | None, subresource: str) -> list[str]:
    """Those of the endpoints controller are as its pods are."""
    if (new["metadata"].get("labels") or {}).get(_MANAGED_ENDPOINTS) == "endpoint-controller":
        return []
    return [
        text
        for index, subset in enumerate(new.get("subsets") or ())
        for field in ("addresses", "notReadyAddresses")
        for position, address in enumerate(subset.get(field) or ())
        for text in addresses.ip(f"subsets[{index}].{field}[{position}].ip", address.get("ip", ""))
    ]


def endpoint_slice(new: Object, old: Object | None, subresource: str) -> list[str]:
    if new.get("addressType") == "FQDN":
        return ["spec.addressType: FQDN endpoints are deprecated"]
    return [
        text
        for index, endpoint in enumerate(new.get("endpoints") or ())
        for text in addresses.ips(f"endpoints[{index}].addresses", endpoint.get("addresses"))
    ]


def network_policy(new: Object, old: Object | None, subresource: str) -> list[str]:
    if old is not None and old.get("spec") == new.get("spec"):
        return []
    return [*_of_policy(new.get("spec") or {}), *unserved.kind(new, old, subresource)]


def _of_policy(spec: Object) -> Iterator[str]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            for position, peer in enumerate(rule.get(peers) or ()):
                block, path = peer.get("ipBlock") or {}, f"spec.{direction}[{index}].{peers}[{position}].ipBlock"
                yield from addresses.cidr(f"{path}.cidr", block.get("cidr") or "")
                yield from addresses.cidrs(f"{path}.except", block.get("except"))


def ingress(new: Object, old: Object | None, subresource: str) -> list[str]:
    found = []
    annotations = new["metadata"].get("annotations") or {}
    if old is None and _INGRESS_CLASS in annotations and (new.get("spec") or {}).get("ingressClassName") is None:
        found.append(f"annotation \"{_INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead")
    return [*found, *unserved.kind(new, old, subresource)]
