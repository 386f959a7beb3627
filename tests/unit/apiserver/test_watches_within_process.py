"""Watches within the server's process: the objects that they hand over are what the bytes say, whoever wrote them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest

from pinnace.api import resources
from pinnace.client import client, transport
from pinnace.testing import api_server

POD = {
    "metadata": {"generateName": "p-", "labels": {"a": "b"}},
    "spec": {
        "containers": [
            {"name": "c", "image": "i", "resources": {"requests": {"cpu": "0.5"}}, "ports": [{"containerPort": 80}]}
        ]
    },
}
SERVICE = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}
CASES = [
    (resources.PODS, POD),
    (resources.SERVICES, SERVICE),
    (resources.CONFIG_MAPS, {"metadata": {"name": "m"}, "data": {"k": "v"}}),
]


@pytest.mark.parametrize(("resource", "body"), CASES)
def test_what_a_watch_hands_over_is_what_a_read_decodes_to(resource: resources.Resource, body: dict[str, Any]) -> None:
    async def scenario(api: api_server.Api) -> None:
        direct = client.Client(transport.DirectTransport(api.server.handle, api_server.ADMIN))
        await direct.create(resources.SERVICE_ACCOUNTS, "default", {"metadata": {"name": "default"}})
        version = (await direct.list(resource, "default")).resource_version
        events = direct.watch(resource, "default", resource_version=version)
        watching = asyncio.ensure_future(_take(events, 3))
        await asyncio.sleep(0)
        made = await direct.create(resource, "default", body)
        name = made["metadata"]["name"]
        changed = await direct.patch(resource, "default", name, {"metadata": {"annotations": {"x": "y"}}})
        gone = await direct.delete(resource, "default", name, grace_period_seconds=0)
        seen = await watching
        assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
        # As texts: a tuple for a list, or an enumeration for its value, would be equal and still be something else.
        assert _text(seen[0].object) == _text(made)
        assert _text(seen[1].object) == _text(changed)
        assert seen[2].object["metadata"]["uid"] == gone["metadata"].get("uid", made["metadata"]["uid"])

    api_server.run(scenario)


def test_of_two_writers_of_one_object_the_one_that_lost_is_never_seen() -> None:
    async def scenario(api: api_server.Api) -> None:
        direct = client.Client(transport.DirectTransport(api.server.handle, api_server.ADMIN))
        made = await direct.create(resources.CONFIG_MAPS, "default", {"metadata": {"name": "m"}, "data": {}})
        events = direct.watch(resources.CONFIG_MAPS, "default", resource_version=made["metadata"]["resourceVersion"])
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        writes = [direct.update(resources.CONFIG_MAPS, {**made, "data": {"by": str(number)}}) for number in range(5)]
        answers = await asyncio.gather(*writes, return_exceptions=True)
        won = [answer for answer in answers if isinstance(answer, dict)]
        assert len(won) == 1
        assert (await waiting).object == won[0]
        await events.aclose()

    api_server.run(scenario)


async def _take(events: AsyncGenerator[client.WatchEvent, None], count: int) -> list[client.WatchEvent]:
    seen = [await anext(events) for _ in range(count)]
    await events.aclose()
    return seen


def _text(obj: Any) -> bytes:
    def refuse(value: Any) -> Any:
        raise TypeError(f"{value!r} is not JSON's own")

    flags = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
    return orjson.dumps(obj, default=refuse, option=flags)
