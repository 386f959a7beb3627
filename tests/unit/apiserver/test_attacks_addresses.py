"""Nobody gets the address under which the cluster's names, or its API, are found: not by asking for it, not by chance, not while its
Service is gone."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from pinnace.testing import api_server

NAMES = "/api/v1/namespaces/kube-system/services/kube-dns"
SERVICES = "/api/v1/namespaces/default/services"
EDITOR = api_server.user("system:serviceaccount:default:editor")
DNS, API = "10.43.0.10", "10.43.0.1"


def service(name: str, **spec: object) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 53, "protocol": "UDP"}], **spec}}


@contextlib.asynccontextmanager
async def coming_back(api: api_server.Api, path: str) -> AsyncIterator[None]:
    """Inside, it is deleted; on leaving it is there again."""
    collection, _, name = path.rpartition("/")
    async with api.watch(f"{collection}?fieldSelector=metadata.name%3D{name}") as watch:
        assert await watch.take(1) == [("ADDED", name)]
        assert (await api.call("DELETE", path)).code == 200
        yield
        assert await watch.take(2) == [("DELETED", name), ("ADDED", name)]


def test_the_address_of_the_names_is_held_by_a_service_that_clients_find() -> None:
    async def scenario(api: api_server.Api) -> None:
        found = await api.get(NAMES)
        assert found["spec"]["clusterIP"] == DNS
        assert found["metadata"]["labels"] == {
            "k8s-app": "kube-dns",
            "kubernetes.io/cluster-service": "true",
            "kubernetes.io/name": "CoreDNS",
        }
        assert [(port["name"], port["protocol"], port["port"]) for port in found["spec"]["ports"]] == [
            ("dns", "UDP", 53),
            ("dns-tcp", "TCP", 53),
            ("metrics", "TCP", 9153),
        ]
        slices = await api.get(
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
            "?labelSelector=kubernetes.io/service-name%3Dkube-dns"
        )
        (piece,) = slices["items"]
        assert piece["endpoints"] == [{"addresses": [DNS], "conditions": {"ready": True}}]
        assert {port["port"] for port in piece["ports"]} == {53, 9153}
        endpoints = await api.get("/api/v1/namespaces/kube-system/endpoints/kube-dns")
        assert endpoints["subsets"][0]["addresses"] == [{"ip": DNS}]

    api_server.run(scenario, api_server.options(dns_address=DNS))


@pytest.mark.parametrize("address", [DNS, API])
def test_a_kept_address_is_given_to_nobody_even_while_its_service_is_gone(address: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        refused = f"failed to allocate IP {address}: provided IP is already allocated"
        path = NAMES if address == DNS else f"{SERVICES}/kubernetes"
        stolen = service("stolen", clusterIP=address)
        assert refused in (await api.call("POST", SERVICES, stolen)).message
        async with coming_back(api, path):
            for query in ("", "?dryRun=All"):
                answer = await api.call("POST", SERVICES + query, stolen)
                assert (answer.code, refused in answer.message) == (422, True)
        assert (await api.get(path))["spec"]["clusterIP"] == address

    api_server.run(scenario, api_server.options(dns_address=DNS))


def test_all_of_it_comes_back() -> None:
    async def scenario(api: api_server.Api) -> None:
        paths = (
            NAMES,
            "/api/v1/namespaces/kube-system/endpoints/kube-dns",
            "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns",
        )
        for path in (*paths, *paths):
            async with coming_back(api, path):
                pass

    api_server.run(scenario, api_server.options(dns_address=DNS))


def test_chance_gives_out_neither() -> None:
    """A range in which nearly every address is asked for."""

    async def scenario(api: api_server.Api) -> None:
        given = [(await api.create(SERVICES, service(f"s{number}")))["spec"]["clusterIP"] for number in range(12)]
        assert len(set(given)) == 12
        assert not {"10.43.0.1", "10.43.0.10"} & set(given)
        assert (await api.call("POST", SERVICES, service("more"))).code == 500

    api_server.run(scenario, api_server.options(service_cidr="10.43.0.0/28", dns_address=DNS))


def test_names_of_somebody_s_own_are_left_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await api.call("GET", NAMES)).code == 404
        own = service("kube-dns", selector={"k8s-app": "kube-dns"})
        made = await api.create("/api/v1/namespaces/kube-system/services", own)
        assert made["spec"]["clusterIP"] != DNS

    api_server.run(scenario)
