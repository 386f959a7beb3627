"""From Services and EndpointSlices to elements of nftables maps. Pure.

`entries(service, slices, node)` is everything that one Service puts into the maps; `change(old, new)` is the nft(8) text between two such states. A
Service's entries depend on nothing but itself and its slices, so that a change costs what that Service costs.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pinnace.net import rules

Object = Mapping[str, Any]
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    address: str
    port: int
    is_local: bool
    """On this node."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entries:
    """Elements by map: key text -> value text ("" in sets)."""

    services: Mapping[str, str] = dataclasses.field(default_factory=dict)
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    nodeports: Mapping[str, str] = dataclasses.field(default_factory=dict)
    nodeport_endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hairpin: frozenset[str] = frozenset()

    @property
    def chains(self) -> frozenset[str]:
        verdicts = (*self.services.values(), *self.nodeports.values())
        return frozenset(verdict.removeprefix("goto ") for verdict in verdicts)


EMPTY = Entries()
MAPS = ("services", "endpoints", "nodeports", "nodeport_endpoints")


def entries(service: Object, slices: Iterable[Object], node_name: str) -> Entries:
    spec = service.get("spec", {})
    addresses = [address for address in _service_addresses(service) if ":" not in address]
    if PROXY_NAME_LABEL in (service["metadata"].get("labels") or {}) or not addresses:
        return EMPTY
    sticky = spec.get("sessionAffinity") == "ClientIP"
    found: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    hairpin: set[str] = set()
    slices = list(slices)
    for port in spec.get("ports", ()):
        everything = usable_endpoints(slices, port.get("name", ""), port.get("protocol", "TCP"), node_name)
        inside = _of_policy(everything, spec.get("internalTrafficPolicy"))
        hairpin.update(f"{endpoint.address} . {endpoint.address}" for endpoint in everything if endpoint.is_local)
        protocol = port.get("protocol", "TCP").lower()
        for address in addresses:
            _add(
                found["services"],
                found["endpoints"],
                f"{address} . {protocol} . {port['port']}",
                inside,
                "h" if sticky else "n",
            )
        if port.get("nodePort"):
            policy = spec.get("externalTrafficPolicy")
            outside = _of_policy(everything, policy)
            kind = {(False, False): "p", (False, True): "q", (True, False): "l", (True, True): "m"}[
                policy == "Local", sticky
            ]
            _add(found["nodeports"], found["nodeport_endpoints"], f"{protocol} . {port['nodePort']}", outside, kind)
    return Entries(**found, hairpin=frozenset(hairpin))


def usable_endpoints(slices: Iterable[Object], port_name: str, protocol: str, node_name: str) -> list[Endpoint]:
    """Ready ones; where none is ready, those that are terminating and still serve (KEP-1669)."""
    ready: dict[Endpoint, None] = {}
    serving: dict[Endpoint, None] = {}
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        numbers = [
            entry["port"]
            for entry in piece.get("ports") or ()
            if (entry.get("name") or "") == port_name
            and (entry.get("protocol") or "TCP") == protocol
            and entry.get("port")
        ]
        for endpoint in piece.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            target = ready if conditions.get("ready") is not False else serving
            if target is serving and not (conditions.get("serving") and conditions.get("terminating")):
                continue
            for number in numbers:
                is_local = endpoint.get("nodeName") == node_name
                target[Endpoint(endpoint["addresses"][0], number, is_local)] = None
    return sorted(ready or serving, key=lambda endpoint: (endpoint.address, endpoint.port))


def change(table: str, old: Entries, new: Entries, chains: frozenset[str]) -> str:
    """The text that turns `old` into `new`; `chains` exist already. Empty when nothing changes.

    One transaction, so no packet meets a half-made Service; within it a changed key is deleted before it is added with its new value.
    """
    lines = [rules.pick_chain(table, chain) for chain in sorted(new.chains - chains)]
    gone: list[str] = []
    come: list[str] = []
    for name in MAPS:
        was, now = getattr(old, name), getattr(new, name)
        gone += _element("delete", table, name, [key for key, value in was.items() if now.get(key) != value])
        come += _element(
            "add", table, name, [f"{key} : {value}" for key, value in now.items() if was.get(key) != value]
        )
    # Services may share a pod, and the element does no harm once the pod is gone: it is only ever added.
    come_hairpin = _element("add", table, "hairpin", sorted(new.hairpin - old.hairpin))
    return "".join([*lines, *gone, *come, *come_hairpin])


def _service_addresses(service: Object) -> Sequence[str]:
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        return ()
    cluster_ip = spec.get("clusterIP", "")
    if cluster_ip in ("", "None"):
        return ()
    balancer = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [cluster_ip, *spec.get("externalIPs", ()), *(entry["ip"] for entry in balancer if entry.get("ip"))]


def _of_policy(endpoints: Sequence[Endpoint], policy: str | None) -> Sequence[Endpoint]:
    return [endpoint for endpoint in endpoints if endpoint.is_local] if policy == "Local" else endpoints


def _add(verdicts: dict[str, str], targets: dict[str, str], key: str, endpoints: Sequence[Endpoint], kind: str) -> None:
    if not endpoints:
        return
    verdicts[key] = f"goto {kind}{len(endpoints)}"
    for index, endpoint in enumerate(endpoints):
        targets[f"{key} . {index}"] = f"{endpoint.address} . {endpoint.port}"


def _element(verb: str, table: str, name: str, elements: Sequence[str]) -> list[str]:
    return [f"{verb} element ip {table} {name} {{ {', '.join(elements)} }}\n"] if elements else []
