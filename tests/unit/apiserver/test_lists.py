"""LIST: selection, snapshots and pages."""

from typing import Any

import pytest

from pinnace.apiserver.storage import versions
from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def fill(api: api_server.Api, count: int) -> None:
    for number in range(count):
        labels = {"parity": "even" if number % 2 == 0 else "odd"}
        await api.create(CONFIG_MAPS, {"metadata": {"name": f"c-{number:02}", "labels": labels}})


def names(listed: api_server.Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_a_list_carries_kind_version_and_items_in_the_order_of_their_names() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 3)
        listed = await api.get(CONFIG_MAPS)
        assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
        assert listed["metadata"] == {"resourceVersion": str(api.store.revision)}
        assert names(listed) == ["c-00", "c-01", "c-02"]

    api_server.run(scenario)


def test_an_empty_list_is_a_list() -> None:
    async def scenario(api: api_server.Api) -> None:
        assert (await api.get("/api/v1/namespaces/nowhere/pods"))["items"] == []

    api_server.run(scenario)


def test_selectors_by_label_and_field() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 6)
        assert names(await api.get(f"{CONFIG_MAPS}?labelSelector=parity%3Dodd")) == ["c-01", "c-03", "c-05"]
        assert names(await api.get(f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Dc-02")) == ["c-02"]
        assert names(await api.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault&limit=1")) == ["c-00"]
        bad = await api.call("GET", f"{CONFIG_MAPS}?fieldSelector=spec.x%3Dy")
        assert (bad.code, bad.reason) == (400, "BadRequest")
        assert (await api.call("GET", f"{CONFIG_MAPS}?labelSelector=a%20b")).code == 400
        assert (await api.call("GET", f"{CONFIG_MAPS}?timeoutSeconds=soon")).code == 400

    api_server.run(scenario)


def test_a_table_holds_metadata_objects_or_nothing_beside_its_cells() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 1)
        table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}

        async def beside(include: str) -> Any:
            shown = await api.get(f"{CONFIG_MAPS}?includeObject={include}", headers=table)
            return shown["rows"][0]["object"]

        assert (await beside("Metadata"))["kind"] == "PartialObjectMetadata"
        assert (await beside("Object"))["kind"] == "ConfigMap"
        assert await beside("None") is None
        assert (await api.call("GET", f"{CONFIG_MAPS}?includeObject=Some", headers=table)).code == 400

    api_server.run(scenario)


def test_who_uses_a_deprecated_kind_is_warned() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("GET", "/api/v1/namespaces/default/endpoints")
        assert answer.warnings == [
            '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
        ]
        assert (await api.call("GET", CONFIG_MAPS)).warnings == []

    api_server.run(scenario)


def test_pages_are_one_snapshot_whatever_happens_in_between() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 7)
        first = await api.get(f"{CONFIG_MAPS}?limit=3")
        assert names(first) == ["c-00", "c-01", "c-02"]
        assert first["metadata"]["remainingItemCount"] == 4
        await api.call("DELETE", f"{CONFIG_MAPS}/c-03")
        await api.create(CONFIG_MAPS, {"metadata": {"name": "c-03b"}})
        second = await api.get(f"{CONFIG_MAPS}?limit=3&continue={first['metadata']['continue']}")
        third = await api.get(f"{CONFIG_MAPS}?limit=3&continue={second['metadata']['continue']}")
        assert names(second) + names(third) == ["c-03", "c-04", "c-05", "c-06"]
        assert "continue" not in third["metadata"]
        versions_seen = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
        assert len(versions_seen) == 1

    api_server.run(scenario)


def test_pages_of_a_selection_are_full_pages_without_a_count() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 9)
        first = await api.get(f"{CONFIG_MAPS}?limit=2&labelSelector=parity%3Dodd")
        assert names(first) == ["c-01", "c-03"]
        assert "remainingItemCount" not in first["metadata"]
        rest = await api.get(f"{CONFIG_MAPS}?labelSelector=parity%3Dodd&continue={first['metadata']['continue']}")
        assert names(rest) == ["c-05", "c-07"]

    api_server.run(scenario)


def test_a_continue_token_that_is_too_old_answers_410_with_a_fresh_one() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 4)
        first = await api.get(f"{CONFIG_MAPS}?limit=2")
        await api.call("DELETE", f"{CONFIG_MAPS}/c-03")
        await api.store.compact(api.store.revision)
        expired = await api.call("GET", f"{CONFIG_MAPS}?limit=2&continue={first['metadata']['continue']}")
        assert (expired.code, expired.reason) == (410, "Expired")
        fresh = expired.json["metadata"]["continue"]
        assert names(await api.get(f"{CONFIG_MAPS}?continue={fresh}")) == ["c-02"]

    api_server.run(scenario)


def test_the_state_at_an_exact_version_is_still_there() -> None:
    async def scenario(api: api_server.Api) -> None:
        await fill(api, 2)
        version = api.store.revision
        await api.call("DELETE", f"{CONFIG_MAPS}/c-00")
        exact = await api.get(f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")
        assert names(exact) == ["c-00", "c-01"]
        assert exact["metadata"]["resourceVersion"] == str(version)
        newer = await api.get(f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
        assert names(newer) == ["c-01"]

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("resourceVersionMatch=Exact", "resourceVersionMatch"),
        ("resourceVersion=0&resourceVersionMatch=Exact", "resourceVersionMatch"),
        ("resourceVersion=1&resourceVersionMatch=Newest", "resourceVersionMatch"),
        ("sendInitialEvents=true", "sendInitialEvents"),
        ("resourceVersion=x", "resourceVersion"),
    ],
)
def test_options_that_exclude_each_other_are_invalid(query: str, field: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("GET", f"{CONFIG_MAPS}?{query}")
        assert answer.code == 422
        assert answer.causes[0][1] == field

    api_server.run(scenario)


def test_a_continue_token_is_read_back_and_nothing_else_is_taken_for_one() -> None:
    token = versions.Continue(7, "default/a")
    assert versions.Continue.decode(token.encode()) == token
    for bad in ("", "x", "e30", "bnVsbA"):
        with pytest.raises(Exception, match="continue key is not valid"):
            versions.Continue.decode(bad)
