"""Defaults of `networking.k8s.io` and `discovery.k8s.io`."""

from typing import Any

Object = dict[str, Any]


def network_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    # Upstream's podSelector is no pointer: absent means every pod, and is printed so.
    spec.setdefault("podSelector", {})
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def ingress_class(obj: Object) -> None:
    parameters = obj.get("spec", {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")


def ingress(obj: Object) -> None:
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def endpoint_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


TABLE = {
    ("networking.k8s.io", "v1", "NetworkPolicy"): network_policy,
    ("networking.k8s.io", "v1", "IngressClass"): ingress_class,
    ("networking.k8s.io", "v1", "Ingress"): ingress,
    ("discovery.k8s.io", "v1", "EndpointSlice"): endpoint_slice,
}
