"""From Services and EndpointSlices to what packets find in the maps of `net.rules`. Pure.

`entries(service, slices, node)` is all that one Service would have, by front (an address and a port that clients speak to), `of_host_ports` the
same for a pod; `claims` says which of it each gets; `changes(old, new)` is the steps between two such states. A Service's entries depend on
nothing but itself and its slices, so that a change costs what that Service costs.

A front without endpoints is refused. One whose policy says `Local` and that has endpoints on other nodes only is dropped: another node may answer.
"""

import dataclasses
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pinnace.kernel import elements
from pinnace.net import difference, host_ports, rules

Object = Mapping[str, Any]
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
_NOT_OURS = frozenset({PROXY_NAME_LABEL, HEADLESS_LABEL})
"""Services that carry one of them are for another proxy, or for none."""
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
NAMES = {number: name for name, number in PROTOCOLS.items()}
AFFINITY_SECONDS = 10800
"""Where the Service does not say."""

_PROTOCOL_PORT = struct.Struct("!B3xH2x")
_PORT = struct.Struct("!H2x")
_MARK = struct.Struct("=I")


class Endpoint(NamedTuple):
    # A tuple, as Front is: there are tens of thousands, and the garbage collector need not look at tuples of plain values.
    address: str
    port: int
    is_local: bool
    """On this node."""


class Front(NamedTuple):
    """`address` "": a node port."""

    address: str
    protocol: int
    port: int

    @property
    def key(self) -> bytes:
        prefix = socket.inet_aton(self.address) if self.address else b""
        return prefix + _PROTOCOL_PORT.pack(self.protocol, self.port)


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """Where packets to one front go. `inside` is what pods and the node itself meet; `outside` what others meet, where that differs."""

    endpoints: tuple[Endpoint, ...]
    """Those of this node first."""
    inside: rules.Pick | None
    """None: dropped, or refused where there is no endpoint at all."""
    outside: rules.Pick | None = None
    has_outside: bool = False
    is_own: bool = False
    """The front is the Service's own address, which the API gave to it alone."""

    @property
    def local_count(self) -> int:
        return sum(endpoint.is_local for endpoint in self.endpoints)

    @property
    def picks(self) -> tuple[rules.Pick, ...]:
        return tuple(pick for pick in (self.inside, self.outside) if pick is not None)


Entries = Mapping[Front, Backends]
EMPTY: Entries = {}


def entries(service: Object, slices: Iterable[Object], node_name: str) -> Entries:
    spec = service.get("spec", {})
    cluster_ip = spec.get("clusterIP", "")
    is_ours = _NOT_OURS.isdisjoint(service["metadata"].get("labels") or ())
    if not is_ours or spec.get("type") == "ExternalName" or cluster_ip in ("", "None"):
        return EMPTY
    affinity = _affinity_seconds(spec)
    inner_local = spec.get("internalTrafficPolicy") == "Local"
    outer_local = spec.get("externalTrafficPolicy") == "Local"
    external = _external_addresses(service)
    found: dict[Front, Backends] = {}
    slices = list(slices)
    for port in spec.get("ports") or ():
        name = port.get("protocol", "TCP")
        protocol, number = PROTOCOLS[name], port["port"]
        endpoints = usable_endpoints(slices, port.get("name", ""), name, node_name)
        if _is_ipv4(cluster_ip) and not any(one[:2] == (cluster_ip, number) for one in endpoints):
            # (A Service whose endpoint is itself, as that of the names, is served at that address by the node: nothing is to be translated.)
            found[Front(cluster_ip, protocol, number)] = _for_cluster(endpoints, inner_local, affinity)
        fronts = [Front(address, protocol, number) for address in external]
        if port.get("nodePort"):
            fronts.append(Front("", protocol, port["nodePort"]))
        for front in fronts:
            if front not in found:
                found[front] = _for_outside(endpoints, outer_local, affinity, is_node_port=not front.address)
    return found


def of_host_ports(claim: host_ports.Claim) -> Entries:
    """Clients' addresses are kept: the answer comes back through this node in any case."""
    found = {}
    for port in claim.ports:
        is_anywhere = port.host_address in ("", "0.0.0.0", "::")  # noqa: S104 - every address of the node
        if not is_anywhere and not _is_ipv4(port.host_address):
            continue
        front = Front("" if is_anywhere else port.host_address, PROTOCOLS[port.protocol], port.host_port)
        endpoint = Endpoint(str(claim.address), port.container_port, is_local=True)
        found[front] = Backends((endpoint,), rules.Pick(1, is_node_port=is_anywhere))
    return found


def usable_endpoints(slices: Iterable[Object], port_name: str, protocol: str, node_name: str) -> tuple[Endpoint, ...]:
    """Ready ones; where none is ready, those that are terminating and still serve (KEP-1669). This node's first."""
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
            and 0 < (entry.get("port") or 0) < 65536
        ]
        for endpoint in piece.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            target = ready if conditions.get("ready") is not False else serving
            if target is serving and not (conditions.get("serving") and conditions.get("terminating")):
                continue
            address, is_local = endpoint["addresses"][0], endpoint.get("nodeName") == node_name
            if _is_ipv4(address):
                target.update((Endpoint(address, number, is_local), None) for number in numbers)
    return tuple(sorted(ready or serving, key=lambda one: (not one.is_local, one.address, one.port)))


def changes(old: Mapping[Front, Backends], new: Mapping[Front, Backends]) -> list[elements.Change]:
    """What turns the maps from `old` to `new`; nothing where nothing differs.

    For one transaction, in which no packet meets a half-made Service. What has to go comes first: a key is deleted before it is added anew.
    """
    return difference.changes(
        (_elements(front, old.get(front)), _elements(front, new.get(front)))
        for front in old.keys() | new.keys()
        if old.get(front) != new.get(front)
    )


def stale_udp(old: Entries, new: Entries) -> dict[tuple[str, int], frozenset[tuple[str, int]]]:
    """UDP fronts (address, port) that lost an endpoint, or had none and got their first -> their endpoints now. A connection that
    the kernel tracks to such a front and that goes elsewhere would go there for as long as packets flow."""
    found = {}
    for front in old.keys() | new.keys():
        if front.protocol != PROTOCOLS["UDP"]:
            continue
        before, now = (
            frozenset((one.address, one.port) for one in state[front].endpoints) if front in state else frozenset()
            for state in (old, new)
        )
        if before - now or (now and not before):
            found[front.address, front.port] = now
    return found


def picks(found: Entries) -> frozenset[rules.Pick]:
    return frozenset(pick for backends in found.values() for pick in backends.picks)


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or AFFINITY_SECONDS)


def _external_addresses(service: Object) -> Sequence[str]:
    """Those that mean the Service without being its own, IPv4. An address whose `ipMode` is Proxy belongs to a balancer that wants the packets."""
    spec = service["spec"]
    addresses = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        addresses += [entry["ip"] for entry in ingress if entry.get("ip") and entry.get("ipMode") != "Proxy"]
    return [address for address in dict.fromkeys(addresses) if _is_ipv4(address)]


def _is_ipv4(address: str) -> bool:
    """What is not is left out: one object that slipped through validation must not keep all others from the kernel."""
    try:
        socket.inet_pton(socket.AF_INET, address)
    except OSError:
        return False
    return True


def _for_cluster(endpoints: tuple[Endpoint, ...], is_local: bool, affinity: int) -> Backends:
    count = sum(endpoint.is_local for endpoint in endpoints) if is_local else len(endpoints)
    pick = rules.Pick(count, is_local=is_local, affinity_seconds=affinity) if count else None
    return Backends(endpoints, pick, is_own=True)


def _for_outside(endpoints: tuple[Endpoint, ...], is_local: bool, affinity: int, *, is_node_port: bool) -> Backends:
    """With the Local policy the client's address is kept and only this node's endpoints serve; pods and the node itself reach all of them."""
    if not endpoints:
        return Backends(endpoints, None)
    everywhere = rules.Pick(len(endpoints), is_node_port, not is_local, affinity_seconds=affinity)
    if not is_local:
        return Backends(endpoints, everywhere)
    here = sum(endpoint.is_local for endpoint in endpoints)
    outside = rules.Pick(here, is_node_port, is_local=True, affinity_seconds=affinity) if here else None
    return Backends(endpoints, everywhere, outside, has_outside=True)


def _elements(front: Front, backends: Backends | None) -> difference.Elements:
    if backends is None:
        return {}
    key = front.key
    if not backends.endpoints:
        # A node port without endpoints is refused by the node itself: nothing listens there.
        return {("refused", key): b""} if front.address else {}
    fronts, outside, targets, identities = rules.SERVICE_MAPS if front.address else rules.NODE_PORT_MAPS
    found: dict[tuple[str, elements.Key], bytes] = {(fronts, key): _verdict(backends.inside)}
    if backends.has_outside:
        found[outside, key] = _verdict(backends.outside)
    has_affinity = any(pick.affinity_seconds for pick in backends.picks)
    has_local = any(pick.is_local for pick in backends.picks)
    data = [elements.data(socket.inet_aton(one.address) + _PORT.pack(one.port)) for one in backends.endpoints]
    numbered = list(enumerate(data))
    if has_local:
        numbered += [(rules.LOCAL + index, data[index]) for index in range(backends.local_count)]
    for mark, target in numbered:
        found[targets, key + _MARK.pack(mark)] = target
    if has_affinity:
        numbers = [_MARK.pack(number) for number in _identities(backends.endpoints)]
        for number, target in zip(numbers, data, strict=True):
            found[targets, key + number] = target
        for mark, _ in numbered:
            found[identities, key + _MARK.pack(mark)] = elements.data(numbers[mark % rules.LOCAL])
    return found


def _verdict(pick: rules.Pick | None) -> bytes:
    return elements.goto(pick.chain) if pick else elements.DROP


def _identities(endpoints: Sequence[Endpoint]) -> Iterator[int]:
    """A number for each that stays the same whatever happens to the others: its address. Where several ports of one address serve the same front,
    all but the first get one by their position."""
    seen: set[str] = set()
    for index, endpoint in enumerate(endpoints):
        yield 2 * rules.LOCAL + index if endpoint.address in seen else int(ipaddress.IPv4Address(endpoint.address))
        seen.add(endpoint.address)
