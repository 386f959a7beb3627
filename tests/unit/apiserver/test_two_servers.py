"""Two API servers over one store: nothing is counted in one server's memory, so that nothing is given twice or beyond its number."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from pinnace.apiserver import server
from pinnace.apiserver.keepers import node_ports
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


def service(name: str) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}


def test_no_node_port_and_no_address_is_given_twice_whichever_server_is_asked() -> None:
    async def scenario(*apis: api_server.Api) -> None:
        codes = await make(apis, f"{NAMESPACE}/services", 30, service)
        assert sorted(set(codes)) == [201, 500]
        made = [
            one for one in (await apis[1].get(f"{NAMESPACE}/services"))["items"] if one["spec"]["type"] == "NodePort"
        ]
        # Every port of the range, each once.
        assert sorted(one["spec"]["ports"][0]["nodePort"] for one in made) == list(range(30000, 30008))
        assert len({one["spec"]["clusterIP"] for one in made}) == 8
        await asyncio.gather(
            *(
                apis[number % 2].call("DELETE", f"{NAMESPACE}/services/{one['metadata']['name']}")
                for number, one in enumerate(made)
            )
        )
        assert (await make(apis, f"{NAMESPACE}/services", 8, service)) == [201] * 8

    run(scenario)


def test_of_many_who_ask_for_one_port_one_gets_it() -> None:
    def wanting(name: str) -> api_server.Object:
        made = service(name)
        made["spec"]["ports"][0]["nodePort"] = 30003
        return made

    async def scenario(*apis: api_server.Api) -> None:
        codes = await make(apis, f"{NAMESPACE}/services", 10, wanting)
        assert (codes.count(201), codes.count(422)) == (1, 9)

    run(scenario)


def test_an_allocation_that_is_wrong_or_lost_is_put_right_at_the_next_start() -> None:
    async def scenario(*apis: api_server.Api) -> None:
        stored = apis[0].server.services.objects
        await apis[0].create(f"{NAMESPACE}/services", service("a"))
        record = stored.find(node_ports.KIND, "", node_ports.NAME)
        assert record is not None
        right = envelope.parse(record)
        del right["metadata"]["resourceVersion"]
        await stored.replace(node_ports.KIND, record, {**right, "data": "/w=="})
        assert (await apis[1].call("POST", f"{NAMESPACE}/services", service("b"))).code == 500
        for lose in (False, True):
            if lose:
                assert await stored.delete(node_ports.KIND, record)
            await node_ports.NodePorts(stored, 30000, 30007, random.Random(1)).repair()
            record = stored.find(node_ports.KIND, "", node_ports.NAME)
            assert record is not None
            assert envelope.parse(record)["data"] == right["data"]
        await apis[1].create(f"{NAMESPACE}/services", service("b"))

    run(scenario)
