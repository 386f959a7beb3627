"""The client over real sockets: the same as in process, and clear when nobody answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pinnace.api import resources
from pinnace.client import client, transport
from pinnace.testing import fake_api
from pinnace.web import server


@contextlib.asynccontextmanager
async def served(api: fake_api.FakeApi) -> AsyncIterator[tuple[server.HttpServer, str]]:
    http = server.HttpServer(api.handle)
    port = await http.start("127.0.0.1", 0)
    try:
        yield http, f"http://127.0.0.1:{port}"
    finally:
        await http.stop(0)


def test_verbs_and_selectors_cross_the_wire_with_a_fresh_token_each_time() -> None:
    async def main() -> None:
        api = fake_api.FakeApi()
        tokens = iter(["first", "second", "third"])
        async with served(api) as (_, url):
            cluster = client.Client(transport.HttpTransport(url, token=lambda: next(tokens)))
            made = await cluster.create(resources.PODS, "default", {"metadata": {"name": "a"}})
            assert await cluster.get(resources.PODS, "default", "a") == made
            await cluster.list(resources.PODS, label_selector="app in (a,b),x!=y z")
            await cluster.close()
        assert [request.headers["authorization"] for request in api.requests] == [
            "Bearer first",
            "Bearer second",
            "Bearer third",
        ]
        assert api.requests[2].query_values()["labelSelector"] == ["app in (a,b),x!=y z"]

    asyncio.run(main())


def test_a_watch_streams_and_a_lost_server_is_unavailable() -> None:
    async def main() -> None:
        api = fake_api.FakeApi()
        async with served(api) as (http, url):
            cluster = client.Client(transport.HttpTransport(url))
            events = cluster.watch(resources.PODS, resource_version="1")
            made = await cluster.create(resources.PODS, "default", {"metadata": {"name": "a"}})
            first = await anext(events)
            assert (first.type, first.object) == ("ADDED", made)
            await http.stop(0)
            with pytest.raises((client.Unavailable, StopAsyncIteration)):
                await anext(events)
            with pytest.raises(client.Unavailable):
                await cluster.get(resources.PODS, "default", "a")
            await cluster.close()

    asyncio.run(main())
