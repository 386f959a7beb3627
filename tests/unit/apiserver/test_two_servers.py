"""Two API servers over one store: nothing is counted in one server's memory, so that nothing is given twice or beyond its number."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from pinnace.apiserver import server
from pinnace.apiserver.storage import envelope
from pinnace.kit import clock
from pinnace.store import memory
from pinnace.testing import api_server

NAMESPACE = "/api/v1/namespaces/default"
CONFIG_MAPS = f"{NAMESPACE}/configmaps"
QUOTA = f"{NAMESPACE}/resourcequotas/q"


def run(scenario: Callable[[api_server.Api, api_server.Api], Awaitable[None]]) -> None:
    async def main() -> None:
        time = clock.SystemClock()
        store = memory.MemoryStore(envelope.stamp, time)
        servers = [
            server.ApiServer(store, time, api_server.options(node_port_last=30007), rng=random.Random(seed))
            for seed in (1, 2)
        ]
        for each in servers:
            await each.start()
        try:
            async with asyncio.timeout(60):
                await scenario(*(api_server.Api(each, store) for each in servers))
        finally:
            for each in servers:
                await each.stop()
            await store.close()

    asyncio.run(main())


async def make(
    apis: Sequence[api_server.Api], path: str, count: int, obj: Callable[[str], api_server.Object]
) -> list[int]:
    """The codes of `count` creations at once, each server's in turn."""
    answers = await asyncio.gather(
        *(apis[number % len(apis)].call("POST", path, obj(f"n{number}")) for number in range(count))
    )
    return [answer.code for answer in answers]


def config_map(name: str) -> api_server.Object:
    return {"metadata": {"name": name}}


async def wait_used(api: api_server.Api, wanted: str) -> None:
    async with api.watch(f"{NAMESPACE}/resourcequotas") as watch:
        while (await watch.next())["object"].get("status", {}).get("used") != {"configmaps": wanted}:
            pass


def test_a_quota_is_used_up_and_no_more_whichever_server_is_asked() -> None:
    async def scenario(*apis: api_server.Api) -> None:
        hard = {"spec": {"hard": {"configmaps": "10"}}}
        await apis[0].create(f"{NAMESPACE}/resourcequotas", {"metadata": {"name": "q"}, **hard})
        await wait_used(apis[1], "0")
        codes = await make(apis, CONFIG_MAPS, 40, config_map)
        assert sorted(set(codes)) == [201, 403]
        assert codes.count(201) == 10
        assert (await apis[0].get(QUOTA))["status"]["used"] == {"configmaps": "10"}

    run(scenario)


def test_counts_of_both_servers_free_only_what_is_gone() -> None:
    """Objects come and go at both servers while both count: at no moment are there more than the quota allows."""

    async def scenario(*apis: api_server.Api) -> None:
        hard = {"spec": {"hard": {"configmaps": "5"}}}
        await apis[0].create(f"{NAMESPACE}/resourcequotas", {"metadata": {"name": "q"}, **hard})
        await wait_used(apis[1], "0")
        most = 0

        async def come_and_go(number: int) -> None:
            nonlocal most
            rng = random.Random(number)
            for turn in range(20):
                name = f"n{number}-{turn}"
                await apis[rng.randrange(2)].call("POST", CONFIG_MAPS, config_map(name))
                most = max(most, len((await apis[rng.randrange(2)].get(CONFIG_MAPS))["items"]))
                for each in apis:
                    await each.server._quota_counts.recount("default")
                await apis[rng.randrange(2)].call("DELETE", f"{CONFIG_MAPS}/{name}")

        await asyncio.gather(*(come_and_go(number) for number in range(12)))
        assert most == 5
        await wait_used(apis[0], "0")
        codes = await make(apis, CONFIG_MAPS, 10, config_map)
        assert codes.count(201) == 5

    run(scenario)
