"""WATCH: ordered, unique, without gaps, resumable."""

import asyncio

import pytest

from pinnace.apiserver.http import frames
from pinnace.testing import api_server

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **labels: str) -> api_server.Object:
    return {"metadata": {"name": name, "labels": labels}}


def test_a_watch_from_a_list_sees_every_change_once_in_order() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("before"))
        version = (await api.get(CONFIG_MAPS))["metadata"]["resourceVersion"]
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={version}") as watch:
            await api.create(CONFIG_MAPS, config_map("a"))
            await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
            await api.call("DELETE", f"{CONFIG_MAPS}/a")
            events = [await watch.next() for _ in range(3)]
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        seen = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert seen == [int(version) + 1, int(version) + 2, int(version) + 3]
        assert events[2]["object"]["data"] == {"x": "1"}

    api_server.run(scenario)


@pytest.mark.parametrize("query", ["", "resourceVersion=0"])
def test_a_watch_without_a_version_begins_with_what_is_there(query: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a"))
        async with api.watch(f"{CONFIG_MAPS}?{query}") as watch:
            await api.create(CONFIG_MAPS, config_map("b"))
            assert await watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]

    api_server.run(scenario)


def test_a_watch_resumes_where_another_one_ended() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, config_map("a"))
        await api.create(CONFIG_MAPS, config_map("b"))
        await api.create(CONFIG_MAPS, config_map("c"))
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={made['metadata']['resourceVersion']}") as watch:
            assert await watch.take(2) == [("ADDED", "b"), ("ADDED", "c")]

    api_server.run(scenario)


def test_a_version_that_is_compacted_ends_the_watch_with_410() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(CONFIG_MAPS, config_map("a"))
        await api.create(CONFIG_MAPS, config_map("b"))
        await api.store.compact(api.store.revision)
        async with api.watch(f"{CONFIG_MAPS}?resourceVersion={int(made['metadata']['resourceVersion']) - 1}") as watch:
            event = await watch.next()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")

    api_server.run(scenario)


def test_objects_enter_and_leave_a_selection_as_added_and_deleted() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = f"{CONFIG_MAPS}?labelSelector=in%3Dyes"
        async with api.watch(path) as watch:
            await api.create(CONFIG_MAPS, config_map("a", **{"in": "no"}))
            await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": "yes"}}})
            await api.patch(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
            left = await api.patch(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"in": "no"}}})
            await api.call("DELETE", f"{CONFIG_MAPS}/a")
            await api.create(CONFIG_MAPS, config_map("b", **{"in": "yes"}))
            events = [await watch.next() for _ in range(4)]
        assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
        gone = events[2]["object"]["metadata"]
        assert gone["labels"] == {"in": "yes"}
        assert gone["resourceVersion"] == left.json["metadata"]["resourceVersion"]

    api_server.run(scenario)


def test_a_watch_of_one_name_sees_that_object_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        async with api.watch(f"{CONFIG_MAPS}?fieldSelector=metadata.name%3Da") as watch:
            for name in ("ab", "b", "a"):
                await api.create(CONFIG_MAPS, config_map(name))
            assert await watch.take(1) == [("ADDED", "a")]

    api_server.run(scenario)


def test_initial_events_end_with_a_bookmark_that_says_so() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, config_map("a"))
        query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with api.watch(f"{CONFIG_MAPS}?{query}") as watch:
            added, bookmark = await watch.next(), await watch.next()
        assert added["type"] == "ADDED"
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {frames.INITIAL_EVENTS_END: "true"}
        assert bookmark["object"]["metadata"]["resourceVersion"] == str(api.store.revision)
        refused = await api.call("GET", f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true")
        assert refused.code == 422

    api_server.run(scenario)


def test_a_watch_ends_with_its_time_and_a_bookmark_of_where_it_was() -> None:
    async def scenario(api: api_server.Api) -> None:
        async with api.watch(f"{CONFIG_MAPS}?timeoutSeconds=1&allowWatchBookmarks=true") as watch:
            await api.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "elsewhere"}})
            bookmark = await watch.next()
            assert bookmark["type"] == "BOOKMARK"
            assert bookmark["object"]["metadata"]["resourceVersion"] == str(api.store.revision)
            with pytest.raises(StopAsyncIteration):
                await watch.next()

    api_server.run(scenario)


def test_watchers_share_the_bytes_of_an_event() -> None:
    async def scenario(api: api_server.Api) -> None:
        streams = [await api.send("GET", f"{CONFIG_MAPS}?watch=1") for _ in range(3)]
        waiting = [asyncio.ensure_future(anext(stream.body)) for stream in streams]  # type: ignore[union-attr,arg-type]
        await asyncio.sleep(0)
        await api.create(CONFIG_MAPS, config_map("a"))
        chunks = [await chunk for chunk in waiting]
        assert chunks[0][1] is chunks[1][1] is chunks[2][1]
        for stream in streams:
            await stream.body.aclose()  # type: ignore[union-attr]

    api_server.run(scenario)


def test_a_watch_as_tables_names_the_columns_once() -> None:
    async def scenario(api: api_server.Api) -> None:
        accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with api.watch(CONFIG_MAPS, headers=accept) as watch:
            await api.create(CONFIG_MAPS, config_map("a"))
            await api.create(CONFIG_MAPS, config_map("b"))
            first, second = (await watch.next())["object"], (await watch.next())["object"]
        assert first["kind"] == second["kind"] == "Table"
        assert first["columnDefinitions"]
        assert not second["columnDefinitions"]
        assert second["rows"][0]["cells"][0] == "b"

    api_server.run(scenario)
