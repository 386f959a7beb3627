"""Verbs, errors and bodies of the client, against the in-memory API."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import resources
from pinnace.client import client, streams, transport
from pinnace.testing import fake_api
from pinnace.web import messages


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def connect(api: fake_api.FakeApi) -> client.Client:
    return client.Client(transport.DirectTransport(api.handle, "someone"), user_agent="tester")


def test_verbs_round_trip() -> None:
    async def main() -> None:
        api = fake_api.FakeApi()
        cluster = connect(api)
        made = await cluster.create(resources.CONFIG_MAPS, "default", config_map("a", x="1"))
        assert await cluster.get(resources.CONFIG_MAPS, "default", "a") == made
        updated = await cluster.update(resources.CONFIG_MAPS, {**made, "data": {"x": "2"}})
        assert int(updated["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
        patched = await cluster.patch(resources.CONFIG_MAPS, "default", "a", {"data": {"y": "3"}})
        assert patched["data"] == {"x": "2", "y": "3"}
        await cluster.delete(resources.CONFIG_MAPS, "default", "a", uid=made["metadata"]["uid"])
        with pytest.raises(client.NotFound):
            await cluster.get(resources.CONFIG_MAPS, "default", "a")
        assert {request.user for request in api.requests} == {"someone"}
        assert {request.headers["user-agent"] for request in api.requests} == {"tester"}

    asyncio.run(main())


def test_list_joins_all_pages_and_names_the_type_of_its_items() -> None:
    async def main() -> None:
        cluster = connect(fake_api.FakeApi())
        count = client.PAGE_SIZE * 2 + 1
        for number in range(count):
            await cluster.create(resources.PODS, "default", {"metadata": {"name": f"p{number}"}})
        found = await cluster.list(resources.PODS, "default")
        assert len(found.items) == count
        assert {(item["apiVersion"], item["kind"]) for item in found.items} == {("v1", "Pod")}

    asyncio.run(main())


def test_list_starts_over_when_the_snapshot_expires_between_pages() -> None:
    async def main() -> None:
        api = fake_api.FakeApi()
        cluster = connect(api)
        for number in range(client.PAGE_SIZE + 1):
            await cluster.create(resources.PODS, "default", {"metadata": {"name": f"p{number}"}})

        async def handle(request: messages.Request) -> messages.Answer:
            if "continue" in request.query_values():
                return messages.Response(410, (), b'{"kind":"Status","code":410,"reason":"Expired"}')
            return await api.handle(request)

        found = await client.Client(transport.DirectTransport(handle, None)).list(resources.PODS, "default")
        assert len(found.items) == client.PAGE_SIZE + 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", client.Invalid),
        (401, "Unauthorized", client.Forbidden),
        (403, "Forbidden", client.Forbidden),
        (404, "NotFound", client.NotFound),
        (405, "MethodNotAllowed", client.Invalid),
        (409, "AlreadyExists", client.AlreadyExists),
        (409, "Conflict", client.Conflict),
        (410, "Expired", client.Expired),
        (422, "Invalid", client.Invalid),
        (429, "TooManyRequests", client.Unavailable),
        (500, "InternalError", client.Unavailable),
        (504, "Timeout", client.Unavailable),
    ],
)
def test_each_status_becomes_the_error_that_tells_what_to_do(
    code: int, reason: str, error: type[client.ApiError]
) -> None:
    body = orjson.dumps({"kind": "Status", "code": code, "reason": reason, "message": "why"})
    found = client.error_of(code, body)
    assert type(found) is error
    assert (found.code, found.reason, str(found)) == (code, reason, "why")


def test_an_answer_that_is_no_status_keeps_its_text() -> None:
    found = client.error_of(502, b"bad gateway")
    assert isinstance(found, client.Unavailable)
    assert str(found) == "bad gateway"


def test_watch_delivers_changes_in_order_and_closes_its_source() -> None:
    async def main() -> None:
        api = fake_api.FakeApi()
        cluster = connect(api)
        start = (await cluster.list(resources.CONFIG_MAPS)).resource_version
        made = await cluster.create(resources.CONFIG_MAPS, "default", config_map("a"))
        await cluster.delete(resources.CONFIG_MAPS, "default", "a")
        seen = []
        events = cluster.watch(resources.CONFIG_MAPS, resource_version=start)
        async for event in events:
            seen.append((event.type, event.object["metadata"]["uid"]))
            if len(seen) == 2:
                break
        await events.aclose()
        uid = made["metadata"]["uid"]
        assert seen == [("ADDED", uid), ("DELETED", uid)]

    asyncio.run(main())


def test_watch_raises_the_error_that_an_error_event_carries() -> None:
    async def handle(request: messages.Request) -> messages.Answer:
        async def body() -> AsyncIterator[messages.Chunk]:
            yield b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'

        return messages.Response(200, (), body())

    async def main() -> None:
        cluster = client.Client(transport.DirectTransport(handle, None))
        with pytest.raises(client.Expired, match="too old"):
            await anext(cluster.watch(resources.PODS, resource_version="1"))

    asyncio.run(main())


def test_a_closed_request_is_unavailable() -> None:
    async def handle(request: messages.Request) -> messages.Answer:
        raise messages.Disconnected

    async def main() -> None:
        with pytest.raises(client.Unavailable):
            await client.Client(transport.DirectTransport(handle, None)).get(resources.PODS, "default", "a")

    asyncio.run(main())


@given(
    st.lists(st.binary(max_size=5).map(lambda line: line.replace(b"\n", b"x"))),
    st.lists(st.integers(min_value=1, max_value=7)),
)
def test_lines_are_the_same_however_the_stream_is_cut(lines: Sequence[bytes], cuts: Sequence[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)

    async def body() -> AsyncIterator[messages.Chunk]:
        rest = data
        for size in cuts:
            yield rest[:size]
            rest = rest[size:]
        yield [rest[:1], rest[1:]]

    async def collect() -> list[bytes]:
        return [line async for line in streams.lines(body())]

    assert asyncio.run(collect()) == [line for line in lines if line]


def test_an_unfinished_last_line_is_dropped() -> None:
    async def collect() -> list[bytes]:
        return [line async for line in streams.lines([b"one\ntw"])]

    assert asyncio.run(collect()) == [b"one"]
