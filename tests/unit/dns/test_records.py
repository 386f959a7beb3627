"""The names of the Kubernetes DNS specification, one case a row."""

from collections.abc import Sequence
from typing import Any

import pytest

from pinnace.dns import records

Object = dict[str, Any]
DOMAIN = "cluster.local"


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec}


PORTS = [{"name": "http", "port": 80, "protocol": "TCP"}]
SERVICES = {
    "web": service("web", clusterIP="10.43.0.5", clusterIPs=["10.43.0.5"], ports=PORTS),
    "db": service("db", clusterIP="None", ports=[{"name": "pg", "port": 5432}]),
    "out": service("out", type="ExternalName", externalName="example.org."),
    "early": service("early", clusterIP="None", publishNotReadyAddresses=True),
}
ENDPOINTS = [
    {"addresses": ["10.42.0.3"], "hostname": "db-0", "conditions": {"ready": True}},
    {"addresses": ["10.42.0.4"], "conditions": {"ready": True}},
    {"addresses": ["10.42.0.5"], "hostname": "db-2", "conditions": {"ready": False}},
]


def piece(name: str) -> Object:
    return {
        "metadata": {"name": f"{name}-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}],
        "endpoints": ENDPOINTS,
    }


class View:
    generation = 0

    def service(self, namespace: str, name: str) -> Object | None:
        return SERVICES.get(name) if namespace == "shop" else None

    def slices(self, namespace: str, service: str) -> Sequence[Object]:
        return [piece(service)] if service in ("db", "early") else []

    def has_namespace(self, namespace: str) -> bool:
        return namespace == "shop"

    def services_at(self, address: str) -> Sequence[Object]:
        return [SERVICES["web"]] if address == "10.43.0.5" else []

    def slices_with(self, address: str) -> Sequence[Object]:
        return [piece("db")] if address == "10.42.0.3" else []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web.shop.svc.cluster.local", records.Answer(addresses=("10.43.0.5",))),
        ("db.shop.svc.cluster.local", records.Answer(addresses=("10.42.0.3", "10.42.0.4"))),
        ("early.shop.svc.cluster.local", records.Answer(addresses=("10.42.0.3", "10.42.0.4", "10.42.0.5"))),
        ("db-0.db.shop.svc.cluster.local", records.Answer(addresses=("10.42.0.3",))),
        ("db-2.db.shop.svc.cluster.local", records.NO_SUCH_NAME),
        ("10-42-0-4.db.shop.svc.cluster.local", records.Answer(addresses=("10.42.0.4",))),
        ("out.shop.svc.cluster.local", records.Answer(canonical_name="example.org")),
        (
            "_http._tcp.web.shop.svc.cluster.local",
            records.Answer(services=(records.Srv(80, "web.shop.svc.cluster.local"),)),
        ),
        (
            "_pg._tcp.db.shop.svc.cluster.local",
            records.Answer(
                services=(
                    records.Srv(5432, "db-0.db.shop.svc.cluster.local"),
                    records.Srv(5432, "10-42-0-4.db.shop.svc.cluster.local"),
                )
            ),
        ),
        ("_http._udp.web.shop.svc.cluster.local", records.NO_SUCH_NAME),
        ("10-42-0-7.shop.pod.cluster.local", records.Answer(addresses=("10.42.0.7",))),
        ("nothing.shop.pod.cluster.local", records.NO_SUCH_NAME),
        ("none.shop.svc.cluster.local", records.NO_SUCH_NAME),
        ("web.other.svc.cluster.local", records.NO_SUCH_NAME),
        ("shop.svc.cluster.local", records.Answer()),
        ("svc.cluster.local", records.Answer()),
        ("cluster.local", records.Answer()),
        ("example.org.cluster.local", records.NO_SUCH_NAME),
        ("example.org", None),
        ("notcluster.local", None),
    ],
)
def test_name(name: str, expected: records.Answer | None) -> None:
    assert records.resolve(name, DOMAIN, View()) == expected


@pytest.mark.parametrize(
    ("name", "pointer"),
    [
        ("5.0.43.10.in-addr.arpa", "web.shop.svc.cluster.local"),
        ("3.0.42.10.in-addr.arpa", "db-0.db.shop.svc.cluster.local"),
        ("4.4.8.8.in-addr.arpa", None),
        ("1.2.in-addr.arpa", None),
    ],
)
def test_reverse_name(name: str, pointer: str | None) -> None:
    found = records.resolve_pointer(name, DOMAIN, View())
    assert (found.pointer if found else None) == pointer
