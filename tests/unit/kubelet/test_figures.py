"""What the endpoint tells of use and settings."""

import asyncio
import pathlib

import orjson

from pinnace.kubelet.endpoint import auth, server, stats
from pinnace.testing import clock, node_agent, pods
from pinnace.web import messages

PEER = messages.Peer(common_name=auth.API_SERVER)


def test_cpu_use_is_the_work_between_two_looks() -> None:
    rates = stats.Rates()
    assert rates.note("a", 0.0, 0) is None
    assert rates.note("a", 0.5, 10) is None, "too soon to tell"
    assert rates.note("a", 10.0, 2_000_000_000) == 200_000_000
    assert rates.note("a", 10.5, 2_000_000_000) == 190_476_190
    assert rates.note("b", 10.5, 7) is None
    assert rates.note("a", 100.0, 3_000_000_000) is None, "the last look was too long ago"
    rates.keep({"b"})
    assert rates.note("a", 102.0, 4_000_000_000) is None


def test_the_endpoint_tells_use_settings_and_what_runs(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            await agent.create(pods.pod("web"))
            await agent.until(lambda: agent.phase("web") == "Running")
            handle = server.handler(agent.kubelet, agent.client)

            async def get(path: str) -> bytes:
                answer = await handle(messages.Request("GET", path, peer=PEER))
                assert isinstance(answer, messages.Response)
                assert answer.status == 200
                assert isinstance(answer.body, bytes)
                return answer.body

            first = orjson.loads(await get("/stats/summary"))
            assert "usageNanoCores" not in first["pods"][0]["cpu"]
            assert first["node"]["cpu"]["usageCoreNanoSeconds"] > 0
            assert isinstance(agent.time, clock.VirtualClock)
            await agent.time.advance(10.0)
            second = orjson.loads(await get("/stats/summary"))
            # The fake works a hundredth of the time.
            assert second["pods"][0]["containers"][0]["cpu"]["usageNanoCores"] == 10_000_000
            assert second["pods"][0]["cpu"]["usageNanoCores"] == 10_000_000
            assert b"\nnode_cpu_usage_seconds_total " in await get("/metrics/resource")
            assert orjson.loads(await get("/configz"))["kubeletconfig"]["maxPods"] == 110
            (running,) = orjson.loads(await get("/runningpods/"))["items"]
            assert [each["name"] for each in running["spec"]["containers"]] == ["main"]

    asyncio.run(main())
