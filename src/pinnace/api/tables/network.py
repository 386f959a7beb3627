"""Cells of Services, endpoints, Ingresses and network policies."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.api.tables import printers

_SHOWN = 3


def _service(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    ports = printers.at(obj, "spec.ports", ())
    return [
        printers.name(obj),
        printers.at(obj, "spec.type", ""),
        printers.at(obj, "spec.clusterIP") or printers.NONE,
        _external_ip(obj),
        ",".join(map(_service_port, ports)) or printers.NONE,
        printers.age(obj, now),
        printers.labels(printers.at(obj, "spec.selector")),
    ]


def _external_ip(obj: printers.Object) -> str:
    given = printers.at(obj, "spec.externalIPs", [])
    match printers.at(obj, "spec.type"):
        case "ClusterIP" | "NodePort":
            return ",".join(given) or printers.NONE
        case "LoadBalancer":
            balanced = _load_balancer(obj)
            return ",".join([*([balanced] if balanced else []), *given]) or "<pending>"
        case "ExternalName":
            return str(printers.at(obj, "spec.externalName", ""))
        case _:
            return printers.UNKNOWN


def _load_balancer(obj: printers.Object) -> str:
    points = printers.at(obj, "status.loadBalancer.ingress", ())
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in points} - {""}))


def _service_port(port: Mapping[str, Any]) -> str:
    node = port.get("nodePort")
    return f"{port.get('port')}{f':{node}' if node else ''}/{port.get('protocol', 'TCP')}"


def _endpoints(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), _addresses(obj.get("subsets") or ()), printers.age(obj, now)]


def _addresses(subsets: Sequence[Mapping[str, Any]]) -> str:
    if not subsets:
        return printers.NONE
    found: list[str] = []
    for subset in subsets:
        hosts = [item.get("ip", "") for item in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        # A subset without ports belongs to a headless Service without ports: its addresses alone.
        found.extend(hosts if not ports else (_host_port(host, port.get("port")) for port in ports for host in hosts))
    return _first(found, len(found))


def _host_port(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _first(items: Sequence[str], total: int) -> str:
    text = ",".join(items[:_SHOWN])
    return f"{text} + {total - _SHOWN} more..." if total > _SHOWN else text


def _endpoint_slice(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [
        printers.name(obj),
        obj.get("addressType") or "",
        _slice_ports(obj.get("ports")),
        _slice_addresses(obj.get("endpoints")),
        printers.age(obj, now),
    ]


def _slice_ports(ports: Iterable[Mapping[str, Any]] | None) -> str:
    if ports is None:
        return printers.UNSET
    shown = []
    for port in ports:
        number = port.get("port")
        shown.append("*" if number is None else str(number))
    return _first(shown, len(shown)) or printers.UNSET


def _slice_addresses(endpoints: Iterable[Mapping[str, Any]] | None) -> str:
    if not endpoints:
        return printers.UNSET
    found = [address for endpoint in endpoints for address in endpoint.get("addresses") or ()]
    return _first(found, len(found))


def _ingress(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    annotations = obj["metadata"].get("annotations") or {}
    rules = printers.at(obj, "spec.rules", ())
    return [
        printers.name(obj),
        printers.at(obj, "spec.ingressClassName") or annotations.get("kubernetes.io/ingress.class") or printers.NONE,
        _hosts(rules),
        _load_balancer(obj),
        "80, 443" if printers.at(obj, "spec.tls") else "80",
        printers.age(obj, now),
    ]


def _hosts(rules: Sequence[Mapping[str, Any]]) -> str:
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    return _first(hosts, len(rules) if len(hosts) > _SHOWN else len(hosts)) or "*"


def _ingress_class(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    parameters = printers.at(obj, "spec.parameters")
    shown = printers.NONE
    if parameters:
        group = parameters.get("apiGroup")
        shown = f"{parameters.get('kind', '')}{'.' + group if group else ''}/{parameters.get('name', '')}"
    return [printers.name(obj), printers.at(obj, "spec.controller", ""), shown, printers.age(obj, now)]


def _network_policy(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), printers.selector(printers.at(obj, "spec.podSelector", {})), printers.age(obj, now)]


def _service_cidr(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    return [printers.name(obj), ",".join(printers.at(obj, "spec.cidrs", ())), printers.age(obj, now)]


def _ip_address(obj: printers.Object, now: datetime.datetime) -> printers.Cells:
    parent = printers.at(obj, "spec.parentRef", {})
    steps = (parent.get("group"), parent.get("resource"), parent.get("namespace"), parent.get("name"))
    return [printers.name(obj), "/".join(step for step in steps if step)]


SERVICE = printers.Printer(
    printers.columns("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", wide=("Selector",)), _service
)
ENDPOINTS = printers.Printer(printers.columns("Name", "Endpoints", "Age"), _endpoints)
ENDPOINT_SLICE = printers.Printer(printers.columns("Name", "AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice)
INGRESS = printers.Printer(printers.columns("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress)
INGRESS_CLASS = printers.Printer(printers.columns("Name", "Controller", "Parameters", "Age"), _ingress_class)
NETWORK_POLICY = printers.Printer(printers.columns("Name", "Pod-Selector", "Age"), _network_policy)
SERVICE_CIDR = printers.Printer(printers.columns("Name", "CIDRs", "Age"), _service_cidr)
IP_ADDRESS = printers.Printer(printers.columns("Name", "ParentRef"), _ip_address)
