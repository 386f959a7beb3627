"""Proxies reach pods of the namespace at their own addresses, and nothing of the host."""

from typing import Any

import pytest

from pinnace.apiserver.subresources import proxy_targets
from pinnace.testing import api_server
from pinnace.web import client

BASE = "/api/v1/namespaces/default"
PODS = f"{BASE}/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


async def a_pod(api: api_server.Api, name: str, address: str, **spec: Any) -> dict[str, Any]:
    await api.call("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
    made: dict[str, Any] = await api.create(
        PODS, {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    )
    await api.patch(f"{PODS}/{name}/status", {"status": {"podIP": address, "podIPs": [{"ip": address}]}})
    return made


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1"],
)
def test_no_pod_is_on_loopback(address: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, "p", "192.0.2.5")
        key = "/registry/pods/default/p"
        record = api.store.get(key)
        assert record is not None
        # Validation may refuse it, an older version may not have: what is stored is not believed.
        value = record.value.replace(b"192.0.2.5", address.encode())
        await api.store.update(key, value, record.mod_revision)
        for method, headers in (("GET", {}), ("POST", {}), ("GET", {"connection": "Upgrade", "upgrade": "x"})):
            answer = await api.call(method, f"{PODS}/p:10250/proxy/", b"", headers=headers)
            assert (answer.code, answer.message) == (400, "address not allowed")

    api_server.run(scenario)


def test_no_pod_is_at_a_nodes_address_unless_it_is_the_nodes() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
        status = {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.9"}]}}
        await api.patch("/api/v1/nodes/n1/status", status)
        await a_pod(api, "p", "192.0.2.9")
        answer = await api.call("GET", f"{PODS}/p:10250/proxy/")
        assert (answer.code, answer.message) == (400, "address not allowed")
        pod = {"metadata": {"name": "p"}, "spec": {"hostNetwork": True}, "status": {"podIP": "192.0.2.9"}}
        assert proxy_targets.pod_address(api.server.services.objects, pod) == "192.0.2.9"

    api_server.run(scenario)


def test_a_service_leads_to_pods_that_are_there_and_have_the_address() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, "p", "192.0.2.5")
        await api.create(f"{BASE}/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
        mine = {"kind": "Pod", "name": "p", "namespace": "default"}
        endpoints = [
            {"addresses": ["192.0.2.1"]},
            {"addresses": ["127.0.0.1"], "targetRef": mine},
            {"addresses": ["192.0.2.6"], "targetRef": mine},
            {"addresses": ["192.0.2.5"], "targetRef": {**mine, "namespace": "kube-system"}},
            {"addresses": ["192.0.2.5"], "targetRef": {**mine, "kind": "Node"}},
            {"addresses": ["192.0.2.5"], "targetRef": {**mine, "name": "gone"}},
            {"addresses": ["192.0.2.5"], "targetRef": {**mine, "uid": "another"}},
        ]
        metadata = {"name": "e", "labels": {"kubernetes.io/service-name": "s"}}
        ports = [{"port": 10250, "protocol": "TCP"}]
        for number, endpoint in enumerate(endpoints):
            slice_ = {
                "metadata": {**metadata, "name": f"e{number}"},
                "addressType": "IPv4",
                "endpoints": [endpoint],
                "ports": ports,
            }
            await api.call("POST", SLICES, slice_)
        answer = await api.call("GET", f"{BASE}/services/s/proxy/")
        assert (answer.code, answer.message) == (503, 'no endpoints available for service "s"')
        good = {"addresses": ["192.0.2.5"], "targetRef": mine}
        slice_ = {"metadata": metadata, "addressType": "IPv4", "endpoints": [good], "ports": ports}
        await api.create(SLICES, slice_)
        assert list(proxy_targets.endpoints(api.server.services.objects, "default", "s", "")) == [("192.0.2.5", 10250)]

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("p:99999999", 503),
        ("http:p:99999999", 503),
        ("p:\u0661", 503),
        ("p:0", 503),
        ("p:-1", 503),
        ("p:80@evil", 503),
        ("p:8\r\n0", 503),
        ("ftp:p:80", 400),
        ("a:b:c:d", 400),
    ],
)
def test_odd_ports_are_refused_and_no_failure_of_the_server(name: str, code: int) -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, "p", "192.0.2.5")
        assert (await api.call("GET", f"{PODS}/{name}/proxy/")).code == code

    api_server.run(scenario)


@pytest.mark.parametrize("tail", ["\r\nX: y", "\x00", "a b", "\u00e9", "%0d%0a"])
def test_odd_paths_are_passed_on_encoded(tail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[tuple[str, str]]]] = []

    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, "p", "192.0.2.5")

        async def request(_: str, url: str, *, headers: list[tuple[str, str]], **__: Any) -> Any:
            asked.append((url, headers))
            raise client.ConnectError("192.0.2.5:80", "nobody is there")

        monkeypatch.setattr(api.server._others, "request", request)
        assert (await api.call("GET", f"{PODS}/p:80/proxy/{tail}")).code == 503

    api_server.run(scenario)
    ((url, headers),) = asked
    assert all(part.isascii() and part.isprintable() and " " not in part for part in (url, *dict(headers).values()))
