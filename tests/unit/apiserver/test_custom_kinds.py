"""Custom kinds that come, change and go while the server runs: whatever was made of the kinds follows."""

import asyncio
from collections.abc import Sequence
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


def definition(*versions: str, stored: str) -> dict[str, Any]:
    """Widgets of several versions; a version's own field is called as the version is."""
    return {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == stored,
                    "schema": {
                        "openAPIV3Schema": {
                            **SCHEMA,
                            "properties": {**SCHEMA["properties"], version: {"type": "string"}},
                        }
                    },
                }
                for version in versions
            ],
        }
    }


V1, V2 = WIDGETS, WIDGETS.replace("/v1/", "/v2/")


def test_an_object_is_of_the_version_in_which_it_is_read() -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(*custom.kinds_of(definition("v1", "v2", stored="v1")))
        await api.create(V1, {"metadata": {"name": "a"}, "spec": {"color": "red"}, "v1": "only here"})
        created = await api.create(V2, {"metadata": {"name": "b"}, "spec": {"color": "blue"}})
        assert created["apiVersion"] == "example.com/v2"
        read = await api.get(f"{V2}/a")
        assert (read["apiVersion"], read["spec"]) == ("example.com/v2", {"color": "red"})
        assert "v1" not in read
        assert read["metadata"]["resourceVersion"]
        assert (await api.get(f"{V1}/a"))["v1"] == "only here"
        for path, wanted in ((V1, "example.com/v1"), (V2, "example.com/v2")):
            listed = await api.get(path)
            assert listed["apiVersion"] == wanted
            assert [item["apiVersion"] for item in listed["items"]] == [wanted, wanted]
        changed = await api.patch(f"{V2}/a", {"spec": {"color": "green"}})
        assert (changed.json["apiVersion"], changed.json["metadata"]["generation"]) == ("example.com/v2", 2)
        same = await api.patch(f"{V2}/b", {"spec": {"color": "blue"}})
        assert same.json["apiVersion"] == "example.com/v2"
        dry = await api.patch(f"{V2}/b?dryRun=All", {"spec": {"color": "red"}})
        assert dry.json["apiVersion"] == "example.com/v2"
        held = await api.patch(f"{V2}/a", {"metadata": {"finalizers": ["example.com/x"]}})
        assert held.code == 200
        deleted = await api.call("DELETE", f"{V2}/a")
        assert deleted.json["apiVersion"] == "example.com/v2"
        collected = await api.call("DELETE", V2)
        assert {item["apiVersion"] for item in collected.json["items"]} == {"example.com/v2"}

    api_server.run(scenario)


def test_objects_stay_readable_when_another_version_becomes_the_stored_one() -> None:
    async def scenario(api: api_server.Api) -> None:
        registry = api.server.services.registry
        registry.add(*custom.kinds_of(definition("v1", "v2", stored="v1")))
        await api.create(V1, {"metadata": {"name": "old"}})
        registry.add(*custom.kinds_of(definition("v1", "v2", stored="v2")))
        await api.create(V1, {"metadata": {"name": "new"}})
        for path, wanted in ((V1, "example.com/v1"), (V2, "example.com/v2")):
            items = (await api.get(path))["items"]
            assert [(item["metadata"]["name"], item["apiVersion"]) for item in items] == [
                ("new", wanted),
                ("old", wanted),
            ]
        touched = await api.patch(f"{V2}/old", {"metadata": {"labels": {"a": "b"}}})
        assert touched.json["apiVersion"] == "example.com/v2"

    api_server.run(scenario)


@pytest.mark.parametrize("accept", ["application/json", "application/json;as=Table;g=meta.k8s.io;v=v1"])
def test_watchers_of_each_version_see_their_own(accept: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(*custom.kinds_of(definition("v1", "v2", stored="v1")))
        await api.create(V1, {"metadata": {"name": "a"}})
        headers = {"accept": accept}
        query = "?includeObject=Object" if "Table" in accept else ""
        async with api.watch(V1 + query, headers=headers) as first, api.watch(V2 + query, headers=headers) as second:
            for _ in range(2):
                for watch, wanted in ((first, "example.com/v1"), (second, "example.com/v2")):
                    shown = (await watch.next())["object"]
                    obj = shown["rows"][0]["object"] if "rows" in shown else shown
                    assert obj["apiVersion"] == wanted
                await api.patch(f"{V2}/a", {"spec": {"color": "red"}})

    api_server.run(scenario)


class _Webhook:
    """Somebody else who converts: slow, and asked for many at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def convert(self, objects: Sequence[Any], api_version: str) -> Sequence[Any]:
        self.asked.append(len(objects))
        await asyncio.sleep(0)
        return [{**obj, "apiVersion": api_version, "spec": {"color": "converted"}} for obj in objects]


def test_a_list_is_converted_in_one_go_and_only_what_needs_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        webhook = _Webhook()
        api.server.services.registry.add(*custom.kinds_of(definition("v1", "v2", stored="v1"), webhook))
        for name in ("a", "b", "c"):
            await api.create(V1, {"metadata": {"name": name}, "spec": {"color": "red"}})
        assert (await api.get(V1))["items"][0]["spec"] == {"color": "red"}
        assert webhook.asked == []
        assert [item["spec"] for item in (await api.get(V2))["items"]] == [{"color": "converted"}] * 3
        assert webhook.asked == [3]
        async with api.watch(V2) as watch:
            assert {(await watch.next())["object"]["spec"]["color"] for _ in range(3)} == {"converted"}
        assert webhook.asked == [3, 3]

    api_server.run(scenario)


def test_watches_end_with_their_kind_and_no_others_do() -> None:
    async def scenario(api: api_server.Api) -> None:
        registry = api.server.services.registry
        kind = widget_kind()
        registry.add(kind)
        await api.create(WIDGETS, {"metadata": {"name": "a"}})
        async with api.watch(WIDGETS) as widgets, api.watch("/api/v1/namespaces/default/configmaps") as others:
            assert (await widgets.next())["type"] == "ADDED"
            registry.add(custom.kind("example.com", "v1", "Gadget", "gadgets"))
            await api.patch(f"{WIDGETS}/a", {"spec": {"color": "red"}})
            assert (await widgets.next())["type"] == "MODIFIED"
            registry.remove(kind)
            with pytest.raises(StopAsyncIteration):
                await widgets.next()
            await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
            assert (await others.next())["object"]["metadata"]["name"] == "c"
        assert (await api.call("GET", WIDGETS)).body == PAGE
        registry.add(widget_kind())
        assert (await api.get(f"{WIDGETS}/a"))["spec"] == {"color": "red"}

    api_server.run(scenario)


def test_a_watch_of_a_kind_that_is_replaced_ends_too() -> None:
    async def scenario(api: api_server.Api) -> None:
        registry = api.server.services.registry
        registry.add(widget_kind())
        async with api.watch(WIDGETS) as watch:
            waiting = asyncio.ensure_future(watch.next())
            await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
            registry.add(widget_kind(has_status=True))
            with pytest.raises(StopAsyncIteration):
                await waiting

    api_server.run(scenario)


SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def test_anything_with_paths_to_its_replicas_is_scaled() -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(widget_kind(has_status=True, scale=SCALE))
        await api.create(WIDGETS, {"metadata": {"name": "a"}, "spec": {"replicas": 2, "color": "red"}})
        await api.replace(
            f"{WIDGETS}/a/status",
            {**await api.get(f"{WIDGETS}/a"), "status": {"replicas": 1, "selector": "app=w"}},
        )
        scale = await api.get(f"{WIDGETS}/a/scale")
        assert (scale["kind"], scale["apiVersion"], scale["metadata"]["name"]) == ("Scale", "autoscaling/v1", "a")
        assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=w"})
        scaled = await api.replace(f"{WIDGETS}/a/scale", {**scale, "spec": {"replicas": 5}})
        assert scaled["spec"] == {"replicas": 5}
        obj = await api.get(f"{WIDGETS}/a")
        assert (obj["spec"], obj["metadata"]["generation"]) == ({"replicas": 5, "color": "red"}, 2)
        patched = await api.patch(f"{WIDGETS}/a/scale", {"spec": {"replicas": 3}})
        assert patched.json["spec"] == {"replicas": 3}
        refused = await api.patch(f"{WIDGETS}/a/scale", {"spec": {"replicas": -1}})
        assert refused.causes == [("FieldValueInvalid", "spec.replicas")]
        stale = await api.call("PUT", f"{WIDGETS}/a/scale", scale)
        assert stale.code == 409

    api_server.run(scenario)


def test_an_object_that_states_no_replicas_has_no_scale() -> None:
    async def scenario(api: api_server.Api) -> None:
        api.server.services.registry.add(widget_kind(scale=SCALE))
        await api.create(WIDGETS, {"metadata": {"name": "a"}})
        shown = await api.call("GET", f"{WIDGETS}/a/scale")
        assert (shown.code, shown.message) == (
            500,
            'Internal error occurred: the spec replicas field ".spec.replicas" does not exist',
        )
        empty = await api.patch(f"{WIDGETS}/a/scale", {"metadata": {"labels": {"a": "b"}}})
        assert (empty.code, empty.message) == (400, 'the spec replicas field ".spec.replicas" cannot be empty')
        assert (await api.patch(f"{WIDGETS}/a/scale", {"spec": {"replicas": 3}})).json["spec"] == {"replicas": 3}

    api_server.run(scenario)


def test_columns_fields_status_and_deprecation_are_those_of_the_kind_as_it_is_now() -> None:
    async def scenario(api: api_server.Api) -> None:
        registry = api.server.services.registry
        registry.add(widget_kind())
        for name, color in (("a", "red"), ("b", "blue")):
            await api.create(WIDGETS, {"metadata": {"name": name}, "spec": {"color": color}})
        assert (await api.call("GET", f"{WIDGETS}?fieldSelector=spec.color=red")).code == 400
        assert len((await api.get(f"{WIDGETS}?fieldSelector=metadata.name!=b"))["items"]) == 1
        registry.add(
            widget_kind(
                selectable_fields=[".spec.color"],
                printer_columns=[{"name": "Color", "type": "string", "jsonPath": ".spec.color"}],
                deprecation="example.com/v1 Widget is deprecated",
            )
        )
        chosen = await api.call("GET", f"{WIDGETS}?fieldSelector=spec.color=red")
        assert [item["metadata"]["name"] for item in chosen.json["items"]] == ["a"]
        assert chosen.warnings == ['299 - "example.com/v1 Widget is deprecated"']
        table = await api.get(WIDGETS, headers={"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Color"]
        assert [row["cells"] for row in table["rows"]] == [["a", "red"], ["b", "blue"]]

    api_server.run(scenario)
