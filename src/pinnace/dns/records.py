"""What the cluster's names mean. Pure: Services, slices and pods in, addresses out (Kubernetes DNS specification 1.1).

* `svc.ns.svc.cluster.local` A: the Service's address, or those of the ready endpoints of a headless one;
* `host.svc.ns.svc…` A: one endpoint of a headless Service by its hostname (or its address with dashes);
* `_port._proto.svc.ns.svc…` SRV; ExternalName: CNAME; `1-2-3-4.ns.pod…` A; PTR for all of them.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

Object = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Srv:
    port: int
    target: str
    """Fully qualified, without the last dot."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """`exists` False: NXDOMAIN. An answer that exists may hold nothing of the type asked for (NODATA)."""

    exists: bool = True
    addresses: tuple[str, ...] = ()
    services: tuple[Srv, ...] = ()
    canonical_name: str = ""
    pointer: str = ""


NO_SUCH_NAME = Answer(exists=False)


class View(Protocol):
    """What the names are looked up in."""

    @property
    def generation(self) -> int:
        """Another number after every change of what the methods return."""
        ...

    def service(self, namespace: str, name: str) -> Object | None: ...
    def slices(self, namespace: str, service: str) -> Sequence[Object]: ...
    def has_namespace(self, namespace: str) -> bool: ...
    def services_at(self, address: str) -> Sequence[Object]: ...
    def slices_with(self, address: str) -> Sequence[Object]: ...


def resolve(name: str, domain: str, view: View) -> Answer | None:
    """`name` in lower case without the last dot. None: not ours, to be forwarded."""
    if name == domain:
        return Answer()
    if not name.endswith("." + domain):
        return None
    labels = name[: -len(domain) - 1].split(".")
    if labels == ["dns-version"]:
        return Answer()
    if labels[-1] == "svc":
        return _service_name(labels[:-1], domain, view)
    if labels[-1] == "pod":
        return _pod_name(labels[:-1])
    return NO_SUCH_NAME


def resolve_pointer(name: str, domain: str, view: View) -> Answer | None:
    """`4.3.2.1.in-addr.arpa` -> the Service or endpoint at 1.2.3.4. None: not ours."""
    octets = name.removesuffix(".in-addr.arpa").split(".")
    try:
        address = str(ipaddress.IPv4Address(".".join(reversed(octets))))
    except ValueError:
        return None
    for service in view.services_at(address):
        metadata = service["metadata"]
        return Answer(pointer=f"{metadata['name']}.{metadata['namespace']}.svc.{domain}")
    for piece in view.slices_with(address):
        service_name = (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
        for endpoint in piece.get("endpoints") or ():
            if service_name and address in endpoint["addresses"]:
                host = endpoint.get("hostname") or _dashed(address)
                return Answer(pointer=f"{host}.{service_name}.{piece['metadata']['namespace']}.svc.{domain}")
    return None


def _service_name(labels: Sequence[str], domain: str, view: View) -> Answer:
    if not labels:
        return Answer()
    namespace, rest = labels[-1], labels[:-1]
    if not rest:
        return Answer() if view.has_namespace(namespace) else NO_SUCH_NAME
    service = view.service(namespace, rest[-1])
    if service is None:
        return NO_SUCH_NAME
    full = f"{rest[-1]}.{namespace}.svc.{domain}"
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        return Answer(canonical_name=spec.get("externalName", "").rstrip(".")) if len(rest) == 1 else NO_SUCH_NAME
    is_headless = spec.get("clusterIP") == "None"
    slices = view.slices(namespace, rest[-1]) if is_headless else ()
    prefix = rest[:-1]
    if not prefix:
        return Answer(addresses=tuple(_ready_addresses(service, slices)) if is_headless else _cluster_ips(spec))
    if len(prefix) == 2 and prefix[0].startswith("_") and prefix[1].startswith("_"):
        return _port_name(prefix, service, slices, full)
    if len(prefix) == 1 and is_headless:
        found = [
            endpoint["addresses"][0]
            for endpoint in _published(service, slices)
            if prefix[0] in ((endpoint.get("hostname") or "").lower(), _dashed(endpoint["addresses"][0]))
        ]
        return Answer(addresses=tuple(dict.fromkeys(found))) if found else NO_SUCH_NAME
    return NO_SUCH_NAME


def _port_name(prefix: Sequence[str], service: Object, slices: Sequence[Object], full: str) -> Answer:
    port_name, protocol = prefix[0][1:], prefix[1][1:]
    found: list[Srv] = []
    if service["spec"].get("clusterIP") == "None":
        for piece in slices:
            for port in piece.get("ports") or ():
                if (port.get("name") or "").lower() == port_name and (
                    port.get("protocol") or "TCP"
                ).lower() == protocol:
                    found += [
                        Srv(port["port"], f"{endpoint.get('hostname') or _dashed(endpoint['addresses'][0])}.{full}")
                        for endpoint in _published(service, [piece])
                    ]
    else:
        found = [
            Srv(port["port"], full)
            for port in service["spec"].get("ports", ())
            if port.get("name", "").lower() == port_name and port.get("protocol", "TCP").lower() == protocol
        ]
    return Answer(services=tuple(dict.fromkeys(found))) if found else NO_SUCH_NAME


def _pod_name(labels: Sequence[str]) -> Answer:
    """Says nothing but what was asked: neither the pod nor its namespace need exist (upstream's `pods insecure`)."""
    if len(labels) != 2:
        return NO_SUCH_NAME
    try:
        return Answer(addresses=(str(ipaddress.IPv4Address(labels[0].replace("-", "."))),))
    except ValueError:
        return NO_SUCH_NAME


def _cluster_ips(spec: Object) -> tuple[str, ...]:
    return tuple(
        address for address in (spec.get("clusterIPs") or [spec.get("clusterIP", "")]) if address and ":" not in address
    )


def _published(service: Object, slices: Iterable[Object]) -> Iterable[Object]:
    """Ready endpoints; all of them where the Service asks for that."""
    everything = service.get("spec", {}).get("publishNotReadyAddresses", False)
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        for endpoint in piece.get("endpoints") or ():
            if everything or (endpoint.get("conditions") or {}).get("ready") is not False:
                yield endpoint


def _ready_addresses(service: Object, slices: Iterable[Object]) -> Iterable[str]:
    return dict.fromkeys(address for endpoint in _published(service, slices) for address in endpoint["addresses"])


def _dashed(address: str) -> str:
    return address.replace(".", "-")
