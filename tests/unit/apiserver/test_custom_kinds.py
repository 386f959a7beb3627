"""Custom kinds that come, change and go while the server runs: whatever was made of the kinds follows."""

from typing import Any

import pytest

from pinnace.api import custom, kinds
from pinnace.testing import api_server

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
PAGE = b"404 page not found\n"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"replicas": {"type": "integer", "minimum": 0}, "color": {"type": "string"}},
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
        },
    },
}


def widget_kind(**more: Any) -> kinds.Kind:
    return custom.kind("example.com", "v1", "Widget", "widgets", **{"openapi": SCHEMA, **more})


async def _groups(api: api_server.Api) -> list[str]:
    return [group["name"] for group in (await api.get("/apis"))["groups"]]


def test_discovery_and_documents_follow_the_registry() -> None:
    async def scenario(api: api_server.Api) -> None:
        registry = api.server.services.registry
        before = await api.call("GET", "/openapi/v2")
        index = (await api.get("/openapi/v3"))["paths"]
        apps = await api.call("GET", "/openapi/v3/apis/apps/v1")
        assert "example.com" not in await _groups(api)
        kind = widget_kind()
        registry.add(kind)
        assert "example.com" in await _groups(api)
        assert (await api.get("/apis/example.com/v1"))["resources"][0]["name"] == "widgets"
        after = await api.call("GET", "/openapi/v2")
        assert "com.example.v1.Widget" in after.json["definitions"]
        assert after.headers["etag"] != before.headers["etag"]
        document = await api.get("/openapi/v3/apis/example.com/v1")
        assert "com.example.v1.Widget" in document["components"]["schemas"]
        shown = (await api.get("/openapi/v3"))["paths"]
        assert shown["apis/apps/v1"] == index["apis/apps/v1"]
        assert "apis/example.com/v1" in shown
        assert (await api.call("GET", "/openapi/v3/apis/apps/v1")).headers["etag"] == apps.headers["etag"]
        registry.remove(kind)
        assert "example.com" not in await _groups(api)
        assert (await api.call("GET", "/openapi/v2")).headers["etag"] == before.headers["etag"]
        assert (await api.call("GET", "/openapi/v3/apis/example.com/v1")).code == 404

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/no/such/page", PAGE),
        ("/apis/nothing.io", PAGE),
        ("/apis/nothing.io/v1", PAGE),
        ("/apis/nothing.io/v1/things", PAGE),
        ("/apis/apps/v9/deployments", PAGE),
        ("/apis/example.com/v1/gadgets", PAGE),
        ("/apis/example.com/v2/widgets", PAGE),
        ("/apis/apps/v1/things", "the server could not find the requested resource"),
        ("/api/v1/namespaces/default/pods/a/nothing", "the server could not find the requested resource"),
        (f"{WIDGETS}/a/status", 'widgets.example.com "a" not found'),
        (f"{WIDGETS}/a/scale", 'widgets.example.com "a" not found'),
    ],
)
def test_what_is_not_there_is_told_in_the_shape_of_whoever_lacks_it(path: str, wanted: bytes | str) -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(widget_kind())
        await api.create(WIDGETS, {"metadata": {"name": "a"}, "spec": {}})
        found = await api.call("GET", path)
        assert found.code == 404
        if isinstance(wanted, bytes):
            assert found.body == wanted
            assert found.headers["content-type"].startswith("text/plain")
        else:
            assert (found.reason, found.message) == ("NotFound", wanted)

    api_server.run(scenario)
