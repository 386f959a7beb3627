"""Discovery, OpenAPI, health, version, metrics: what clients ask before they ask for anything."""

import json
import pathlib

import pytest

from pinnace.testing import api_server

REFERENCE = pathlib.Path(__file__).parents[3].parent / "shared" / "reference"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


def is_preview(version: str) -> bool:
    return "alpha" in version or "beta" in version


def test_groups_versions_and_resources() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await api.get("/api"))["versions"] == ["v1"]
        groups = {group["name"]: group for group in (await api.get("/apis"))["groups"]}
        assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
        assert groups["autoscaling"]["preferredVersion"]["version"] == "v2"
        assert (await api.get("/apis/apps"))["kind"] == "APIGroup"
        core = {resource["name"]: resource for resource in (await api.get("/api/v1"))["resources"]}
        assert core["pods"]["shortNames"] == ["po"]
        assert core["pods"]["namespaced"] is True
        assert core["configmaps"]["storageVersionHash"] == "qFsyl6wFWjQ="
        assert core["pods/eviction"]["group"] == "policy"
        assert (await api.call("GET", "/apis/nothing/v1")).code == 404

    api_server.run(scenario)


def test_the_root_names_the_paths() -> None:
    async def scenario(api: api_server.Api) -> None:
        paths = (await api.get("/"))["paths"]
        assert {"/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/openapi/v3"} <= set(paths)

    api_server.run(scenario)


def test_people_read_json_over_several_lines() -> None:
    async def scenario(api: api_server.Api) -> None:
        by_hand = await api.call("GET", "/api/v1", headers={"user-agent": "curl/8"})
        assert by_hand.body.startswith(b'{\n  "kind": "APIResourceList"')
        assert by_hand.json == await api.get("/api/v1")
        assert b"\n" in (await api.call("GET", "/api/v1?pretty=true")).body
        flat = await api.call("GET", "/api/v1?pretty=false", headers={"user-agent": "curl/8"})
        assert b"\n" not in flat.body.strip()

    api_server.run(scenario)


def test_everything_at_once_with_a_tag_that_tells_whether_it_changed() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("GET", "/apis", headers={"accept": AGGREGATED})
        assert answer.headers["content-type"].endswith("as=APIGroupDiscoveryList")
        assert answer.json["kind"] == "APIGroupDiscoveryList"
        headers = {"accept": AGGREGATED, "if-none-match": answer.headers["etag"]}
        assert (await api.call("GET", "/apis", headers=headers)).code == 304

    api_server.run(scenario)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference data is not on this machine")
def test_discovery_is_upstreams() -> None:
    """Of every version that is served by default."""

    async def scenario(api: api_server.Api) -> None:
        expected = json.loads((REFERENCE / "discovery-core-v1.json").read_text())["resources"]
        found = (await api.get("/api/v1"))["resources"]
        assert {item["name"]: item for item in found} == {item["name"]: item for item in expected}
        groups = json.loads((REFERENCE / "discovery-v1.36.json").read_text())["items"]
        served = {group["metadata"]["name"]: group for group in await aggregated(api)}
        for group in groups:
            versions = [version for version in group["versions"] if not is_preview(version["version"])]
            if versions:
                assert served[group["metadata"]["name"]]["versions"] == versions

    api_server.run(scenario)


async def aggregated(api: api_server.Api) -> list[api_server.Object]:
    found: list[api_server.Object] = (await api.get("/apis", headers={"accept": AGGREGATED}))["items"]
    return found


def test_openapi_documents_are_served_and_cached() -> None:
    async def scenario(api: api_server.Api) -> None:
        index = (await api.get("/openapi/v3"))["paths"]
        path, _, query = index["apis/apps/v1"]["serverRelativeURL"].partition("?")
        document = await api.call("GET", f"{path}?{query}")
        assert "immutable" in document.headers["cache-control"]
        assert "/apis/apps/v1/namespaces/{namespace}/deployments" in document.json["paths"]
        assert (await api.get("/openapi/v2"))["swagger"] == "2.0"
        assert (await api.call("GET", "/openapi/v3/apis/nothing/v1")).code == 404

    api_server.run(scenario)


def test_health_and_its_single_checks() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await api.call("GET", "/readyz")).body == b"ok"
        verbose = (await api.call("GET", "/readyz?verbose")).body.decode()
        assert "[+]poststarthook/rbac/bootstrap-roles ok" in verbose
        assert verbose.endswith("readyz check passed\n")
        assert (await api.call("GET", "/readyz/ping")).body == b"ok"
        assert (await api.call("GET", "/readyz/nothing")).code == 404
        await api.server.stop()
        stopped = await api.call("GET", "/readyz")
        assert stopped.code == 500
        assert b"[-]shutdown failed" in stopped.body
        assert (await api.call("GET", "/livez")).code == 200

    api_server.run(scenario)


def test_metrics_count_requests() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.get("/api/v1/namespaces/default")
        text = (await api.call("GET", "/metrics")).body.decode()
        assert 'apiserver_request_total{code="200",group="",resource="namespaces",subresource="",verb="GET"} 1' in text
        assert "apiserver_current_inflight_requests 1" in text

    api_server.run(scenario)


def test_the_keys_of_tokens_are_published() -> None:
    async def scenario(api: api_server.Api) -> None:
        found = await api.get("/.well-known/openid-configuration")
        assert found["issuer"] == api.server.settings.service_account_issuer
        keys = (await api.get("/openid/v1/jwks"))["keys"]
        assert keys[0]["alg"] == "ES256"
        assert keys[0]["kid"]

    api_server.run(scenario)
