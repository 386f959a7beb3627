"""The names of the Kubernetes DNS specification, one case a row."""

from collections.abc import Sequence
from typing import Any

import pytest

from pinnace.dns import records

Object = dict[str, Any]
DOMAIN = "cluster.local"


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "adm", "port": 90}]
SERVICES = {
    "web": service("web", clusterIP="10.43.0.5", clusterIPs=["10.43.0.5"], ports=PORTS),
    "db": service("db", clusterIP="None", clusterIPs=["None"], ports=[{"name": "pg", "port": 5432}]),
    "empty": service("empty", clusterIP="None", ports=[{"name": "pg", "port": 5432}]),
    "noport": service("noport", clusterIP="None"),
    "out": service("out", type="ExternalName", externalName="example.org."),
    "number": service("number", type="ExternalName", externalName="10.0.0.1"),
    "early": service("early", clusterIP="None", publishNotReadyAddresses=True),
}
ENDPOINTS = [
    {"addresses": ["10.42.0.3"], "hostname": "DB-0", "conditions": {"ready": True}},
    {"addresses": ["10.42.0.4"]},
    {"addresses": ["10.42.0.5"], "hostname": "db-2", "conditions": {"ready": False}},
]
SIX = [{"addresses": ["fd00::4:0"], "conditions": {"ready": True}}]


def piece(name: str, **changed: Any) -> Object:
    ports = [] if name == "noport" else [{"name": "pg", "port": 5432, "protocol": "TCP"}]
    return {
        "metadata": {"name": f"{name}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": ENDPOINTS,
        **changed,
    }


class View:
    generation = 0
    is_synced = True

    def service(self, namespace: str, name: str) -> Object | None:
        return SERVICES.get(name) if namespace == "shop" else None

    def slices(self, namespace: str, service: str) -> Sequence[Object]:
        if service in ("web", "db", "early", "noport"):
            names = piece(service, addressType="FQDN", endpoints=[{"addresses": ["a.example.org"]}])
            return [piece(service), piece(service, addressType="IPv6", endpoints=SIX), names]
        return []

    def has_namespace(self, namespace: str) -> bool:
        return namespace in ("shop", "bare")

    def services_at(self, address: str) -> Sequence[Object]:
        return [SERVICES["web"]] if address == "10.43.0.5" else []

    def slices_with(self, address: str) -> Sequence[Object]:
        return [piece("db"), piece("web")] if address in ("10.42.0.3", "10.42.0.4") else []


SHOP = "shop.svc.cluster.local"
WEB = (records.Entry(f"web.{SHOP}", "10.43.0.5", 80), records.Entry(f"web.{SHOP}", "10.43.0.5", 90))


def behind(name: str, *hosts: str, port: int = 5432) -> tuple[records.Entry, ...]:
    addresses = {"DB-0": "10.42.0.3", "10-42-0-4": "10.42.0.4", "db-2": "10.42.0.5", "fd00--4-0": "fd00::4:0"}
    return tuple(records.Entry(f"{host}.{name}.{SHOP}", addresses[host], port) for host in hosts)


FOUND = {
    # A Service with an address.
    "web.shop.svc": records.Answer(entries=WEB),
    "_http._tcp.web.shop.svc": records.Answer(entries=WEB[:1]),
    "_adm._tcp.web.shop.svc": records.Answer(entries=WEB[1:]),
    "_http._udp.web.shop.svc": records.NO_SUCH_NAME,
    "10-42-0-4.web.shop.svc": records.Answer(entries=behind("web", "10-42-0-4")),
    # A headless one.
    "db.shop.svc": records.Answer(entries=behind("db", "DB-0", "10-42-0-4", "fd00--4-0")),
    "db-0.db.shop.svc": records.Answer(entries=behind("db", "DB-0")),
    "db-2.db.shop.svc": records.NO_SUCH_NAME,
    "fd00--4-0.db.shop.svc": records.Answer(entries=behind("db", "fd00--4-0")),
    "_pg._tcp.db.shop.svc": records.Answer(entries=behind("db", "DB-0", "10-42-0-4", "fd00--4-0")),
    "_pg._udp.db.shop.svc": records.NO_SUCH_NAME,
    "empty.shop.svc": records.NO_SUCH_NAME,
    "_pg._tcp.empty.shop.svc": records.NO_SUCH_NAME,
    "noport.shop.svc": records.Answer(entries=behind("noport", "DB-0", "10-42-0-4", "fd00--4-0", port=0)),
    "early.shop.svc": records.Answer(entries=behind("early", "DB-0", "10-42-0-4", "db-2", "fd00--4-0")),
    "a.b.c.db.shop.svc": records.NO_SUCH_NAME,
    # An alias.
    "out.shop.svc": records.Answer(canonical_name="example.org"),
    "x.out.shop.svc": records.NO_SUCH_NAME,
    "_http._tcp.out.shop.svc": records.NO_SUCH_NAME,
    "number.shop.svc": records.NO_SUCH_NAME,
    # Pods.
    "10-42-0-7.shop.pod": records.Answer(entries=(records.Entry("10-42-0-7.shop.pod.cluster.local", "10.42.0.7"),)),
    "fd00--1.shop.pod": records.Answer(entries=(records.Entry("fd00--1.shop.pod.cluster.local", "fd00::1"),)),
    "10-42-0-7.none.pod": records.NO_SUCH_NAME,
    "nothing.shop.pod": records.NO_SUCH_NAME,
    "10-42-0-7.x.shop.pod": records.NO_SUCH_NAME,
    # What is only above others.
    "none.shop.svc": records.NO_SUCH_NAME,
    "web.other.svc": records.NO_SUCH_NAME,
    "shop.svc": records.NO_DATA,
    "bare.svc": records.NO_DATA,
    "bare.pod": records.NO_DATA,
    "other.svc": records.NO_SUCH_NAME,
    "other.pod": records.NO_SUCH_NAME,
    "svc": records.NO_DATA,
    "pod": records.NO_DATA,
    "dns-version": records.Answer(text="1.1.0"),
    "x.dns-version": records.NO_SUCH_NAME,
    "example.org": records.NO_SUCH_NAME,
}


@pytest.mark.parametrize(("name", "expected"), FOUND.items())
def test_name(name: str, expected: records.Answer) -> None:
    assert records.resolve(f"{name}.{DOMAIN}", DOMAIN, View()) == expected


def test_the_zone_itself_and_what_is_not_ours() -> None:
    assert records.resolve(DOMAIN, DOMAIN, View()) == records.NO_DATA
    assert records.resolve("example.org", DOMAIN, View()) is None
    assert records.resolve("notcluster.local", DOMAIN, View()) is None


@pytest.mark.parametrize(
    ("name", "pointers"),
    [
        ("5.0.43.10.in-addr.arpa", ("web.shop.svc.cluster.local",)),
        ("3.0.42.10.in-addr.arpa", ("DB-0.db.shop.svc.cluster.local", "DB-0.web.shop.svc.cluster.local")),
        ("4.0.42.10.in-addr.arpa", ("10-42-0-4.db.shop.svc.cluster.local", "10-42-0-4.web.shop.svc.cluster.local")),
        ("4.4.8.8.in-addr.arpa", ()),
        ("1.2.in-addr.arpa", ()),
        ("1.0.0.0.ip6.arpa", ()),
        ("g" + ".0" * 31 + ".ip6.arpa", ()),
    ],
)
def test_reverse_name(name: str, pointers: tuple[str, ...]) -> None:
    found = records.resolve_pointer(name, View(), DOMAIN)
    assert (found.pointers if found else ()) == pointers
