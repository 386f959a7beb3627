"""What the cluster's names mean. Pure: Services and slices in, records out (Kubernetes DNS specification 1.1; where that
leaves a choice, what CoreDNS answers).

* `svc.ns.svc.cluster.local`: the Service's addresses, or those of the ready endpoints of a headless one (none: no such name);
* `host.svc.ns.svc…`: the endpoints of that hostname (or of that address, with dashes); `_port._proto.svc.ns.svc…`: those with that port;
* SRV of any of them: every port, at the name that has the address. ExternalName: CNAME. `1-2-3-4.ns.pod…`: 1.2.3.4, if the namespace is there;
* PTR for all of them; `dns-version` TXT.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

Object = Mapping[str, Any]

SCHEMA_VERSION = "1.1.0"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
OWN_SERVICE = ("kube-system", "kube-dns")
"""The Service that has this server's address."""


class Entry(NamedTuple):
    """One address of a name, with one of its ports."""

    target: str
    """The name that has this address and no other port's: fully qualified, without the last dot."""
    address: str
    port: int = 0
    """0: it has no port, and so no SRV record."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """`exists` False: NXDOMAIN. An answer that exists may hold nothing of the type asked for (NODATA)."""

    exists: bool = True
    entries: tuple[Entry, ...] = ()
    canonical_name: str = ""
    pointers: tuple[str, ...] = ()
    text: str = ""


NO_SUCH_NAME = Answer(exists=False)
NO_DATA = Answer()


class View(Protocol):
    """What the names are looked up in."""

    @property
    def generation(self) -> int:
        """Another number after every change of what the methods return."""
        ...

    @property
    def is_synced(self) -> bool:
        """Before that nobody can say that a name is not there."""
        ...

    def service(self, namespace: str, name: str) -> Object | None: ...
    def slices(self, namespace: str, service: str) -> Sequence[Object]: ...
    def has_namespace(self, namespace: str) -> bool: ...
    def services_at(self, address: str) -> Sequence[Object]: ...
    def slices_with(self, address: str) -> Sequence[Object]: ...


def resolve(name: str, domain: str, view: View) -> Answer | None:
    """`name` in lower case without the last dot. None: not ours, to be forwarded."""
    if name == domain:
        return NO_DATA
    if not name.endswith("." + domain):
        return None
    match name[: -len(domain) - 1].split("."):
        case ["dns-version"]:
            return Answer(text=SCHEMA_VERSION)
        case ["svc" | "pod" | "dns"]:
            return NO_DATA
        case ["ns", "dns"]:
            own = _service_name([], *OWN_SERVICE, domain, view)
            return own if own.exists else NO_DATA
        case [namespace, "svc" | "pod"]:
            return NO_DATA if view.has_namespace(namespace) else NO_SUCH_NAME
        case [pod, namespace, "pod"]:
            return _pod_name(pod, namespace, domain, view)
        case [*prefix, service, namespace, "svc"]:
            return _service_name(prefix, namespace, service, domain, view)
    return NO_SUCH_NAME


def resolve_pointer(name: str, view: View, domain: str) -> Answer | None:
    """`4.3.2.1.in-addr.arpa` -> the Service or the endpoints at 1.2.3.4; likewise `….ip6.arpa`. None: not ours."""
    address = _reversed(name)
    if not address:
        return None
    for service in view.services_at(address):
        return Answer(pointers=(_full_name(service["metadata"]["name"], service["metadata"]["namespace"], domain),))
    found = []
    for piece in view.slices_with(address):
        service_name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL)
        if not service_name:
            continue
        full = _full_name(service_name, piece["metadata"]["namespace"], domain)
        hosts = [_host_of(one, address) for one in piece.get("endpoints") or () if address in one["addresses"]]
        found += [f"{host}.{full}" for host in hosts]
    return Answer(pointers=tuple(dict.fromkeys(found))) if found else None


def _reversed(name: str) -> str:
    """ "" where the name is no whole address."""
    labels = name.split(".")
    try:
        match labels:
            case [*octets, "in-addr", "arpa"]:
                return str(ipaddress.IPv4Address(".".join(reversed(octets))))
            case [*digits, "ip6", "arpa"] if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return str(ipaddress.IPv6Address(int("".join(reversed(digits)), 16)))
    except ValueError:
        pass
    return ""


def _service_name(prefix: Sequence[str], namespace: str, name: str, domain: str, view: View) -> Answer:
    service = view.service(namespace, name)
    if service is None or len(prefix) > 2:
        return NO_SUCH_NAME
    spec = service.get("spec", {})
    if spec.get("type") == "ExternalName":
        alias = spec.get("externalName", "").rstrip(".")
        return NO_SUCH_NAME if prefix or _is_address(alias) else Answer(canonical_name=alias)
    host = prefix[0] if len(prefix) == 1 else ""
    wanted = _Port(prefix[0].removeprefix("_"), prefix[1].removeprefix("_")) if len(prefix) == 2 else None
    full = _full_name(name, namespace, domain)
    if host or spec.get("clusterIP") == "None":
        found = tuple(_endpoint_entries(service, view.slices(namespace, name), full, host, wanted))
    else:
        found = tuple(_own_entries(spec, full, wanted))
    return Answer(entries=found) if found else NO_SUCH_NAME


class _Port(NamedTuple):
    name: str
    protocol: str

    def is_that_of(self, port: Object) -> bool:
        return (self.name, self.protocol) == (
            (port.get("name") or "").lower(),
            (port.get("protocol") or "TCP").lower(),
        )


def _numbers(ports: Iterable[Object], wanted: _Port | None) -> list[int]:
    ports = list(ports)
    if wanted is None and not ports:
        return [0]
    return [port.get("port") or 0 for port in ports if wanted is None or wanted.is_that_of(port)]


def _own_entries(spec: Object, full: str, wanted: _Port | None) -> Iterator[Entry]:
    addresses = [address for address in spec.get("clusterIPs") or [spec.get("clusterIP", "")] if address]
    for number in _numbers(spec.get("ports") or (), wanted):
        for address in addresses:
            yield Entry(full, address, number)


def _endpoint_entries(
    service: Object, slices: Iterable[Object], full: str, host: str, wanted: _Port | None
) -> Iterator[Entry]:
    """Of ready endpoints; of all of them where the Service asks for that."""
    everything = service.get("spec", {}).get("publishNotReadyAddresses", False)
    for piece in slices:
        numbers = _numbers(piece.get("ports") or (), wanted)
        for endpoint in piece.get("endpoints") or ():
            if not everything and (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for address in endpoint["addresses"]:
                name = _host_of(endpoint, address)
                if not _is_address(address) or host not in ("", name.lower()):
                    continue
                for number in numbers:
                    yield Entry(f"{name}.{full}", address, number)


def _pod_name(pod: str, namespace: str, domain: str, view: View) -> Answer:
    """Says nothing of the pod but what was asked, which need not exist (CoreDNS' `pods insecure`)."""
    separator = "." if pod.count("-") == 3 and "--" not in pod else ":"
    address = pod.replace("-", separator)
    if not _is_address(address) or not view.has_namespace(namespace):
        return NO_SUCH_NAME
    return Answer(entries=(Entry(f"{pod}.{namespace}.pod.{domain}", str(ipaddress.ip_address(address))),))


def _full_name(service: str, namespace: str, domain: str) -> str:
    return f"{service}.{namespace}.svc.{domain}"


def _host_of(endpoint: Object, address: str) -> str:
    """Its hostname, or its address as one label (which ends in no dash)."""
    dashed = address.replace(".", "-").replace(":", "-")
    return endpoint.get("hostname") or (dashed + "0" if dashed.endswith("-") else dashed)


def _is_address(text: str) -> bool:
    """Others (of slices whose address type is a name) have no records."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
