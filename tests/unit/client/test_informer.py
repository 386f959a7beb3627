"""The informer's guarantees, under virtual time and against an API that fails."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.api import resources
from pinnace.client import client, informer, transport
from pinnace.testing import fake_api, loop_time
from pinnace.web import messages


def pod(name: str, node: str = "", **extra: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **extra}, "spec": {"nodeName": node}}


class Mirror:
    """What a handler that believes every notification thinks is there."""

    def __init__(self) -> None:
        self.objects: dict[str, client.Object] = {}
        self.trace: list[tuple[str, str]] = []

    def __call__(self, old: client.Object | None, new: client.Object | None) -> None:
        if old is None:
            assert new is not None
            assert new["metadata"]["name"] not in self.objects
            self.trace.append(("added", new["metadata"]["name"]))
        else:
            assert self.objects.pop(old["metadata"]["name"]) is old
            self.trace.append(("changed" if new else "deleted", old["metadata"]["name"]))
        if new is not None:
            self.objects[new["metadata"]["name"]] = new


@contextlib.asynccontextmanager
async def running(pods: informer.Informer) -> AsyncIterator[None]:
    task = asyncio.create_task(pods.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def make(api: fake_api.FakeApi, clock: loop_time.LoopClock) -> tuple[client.Client, informer.Informer, Mirror]:
    cluster = client.Client(transport.DirectTransport(api.handle, None))
    pods = informer.Informer(cluster, resources.PODS, clock, rng=random.Random(1))
    pods.add_index("node", lambda obj: [obj["spec"]["nodeName"]] if obj["spec"].get("nodeName") else [])
    mirror = Mirror()
    pods.add_handler(mirror)
    return cluster, pods, mirror


def test_cache_indexes_and_handlers_follow_the_cluster() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        cluster, pods, mirror = make(fake_api.FakeApi(), clock)
        await cluster.create(resources.PODS, "one", pod("a", "n1", managedFields=[{"manager": "x"}]))
        async with running(pods):
            await pods.wait_synced()
            b = await cluster.create(resources.PODS, "two", pod("b", "n1"))
            await loop_time.settle()
            assert [obj["metadata"]["name"] for obj in pods.by_index("node", "n1")] == ["a", "b"]
            assert [obj["metadata"]["name"] for obj in pods.list("two")] == ["b"]
            assert "managedFields" not in pods.list("one")[0]["metadata"]
            await cluster.update(resources.PODS, {**b, "spec": {"nodeName": "n2"}})
            await cluster.delete(resources.PODS, "one", "a")
            await loop_time.settle()
            assert pods.by_index("node", "n1") == ()
            assert pods.index_values("node") == ("n2",)
            assert pods.get("one", "a") is None
            assert mirror.trace == [("added", "a"), ("added", "b"), ("changed", "b"), ("deleted", "a")]
            late = Mirror()
            pods.add_handler(late)
            assert late.trace == [("added", "b")]

    loop_time.run(main)


def test_resumes_where_it_was_when_a_watch_ends() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        cluster, pods, mirror = make(api, clock)
        async with running(pods):
            await pods.wait_synced()
            await asyncio.sleep(5)
            await api.cut_watches()
            await cluster.create(resources.PODS, "one", pod("a"))
            await asyncio.sleep(5)
            lists = [request for request in api.requests if request.method == "GET" and "watch" not in request.query]
            assert len(lists) == 1
            assert mirror.trace == [("added", "a")]

    loop_time.run(main)


def test_relists_when_the_history_is_gone_and_reports_what_vanished() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        cluster, pods, mirror = make(api, clock)
        await cluster.create(resources.PODS, "one", pod("gone"))
        await cluster.create(resources.PODS, "one", pod("replaced"))
        await cluster.create(resources.PODS, "one", pod("same"))
        async with running(pods):
            await pods.wait_synced()
            await loop_time.settle()
            mirror.trace.clear()

            def refuse_watches(request: messages.Request) -> None:
                if "watch" in request.query:
                    raise messages.Disconnected

            api.fault = refuse_watches
            await api.cut_watches()
            await cluster.delete(resources.PODS, "one", "gone")
            await cluster.delete(resources.PODS, "one", "replaced")
            await cluster.create(resources.PODS, "one", pod("replaced"))
            api.compact()
            await asyncio.sleep(60)
            assert mirror.trace == []
            api.fault = lambda request: None
            await asyncio.sleep(60)
            assert mirror.trace == [("deleted", "replaced"), ("added", "replaced"), ("deleted", "gone")]

    loop_time.run(main)


@pytest.mark.parametrize("code", [403, 404, 500])
def test_keeps_trying_with_growing_pauses_while_the_list_is_refused(code: int) -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        times: list[float] = []

        async def refuse(request: messages.Request) -> messages.Answer:
            times.append(clock.monotonic())
            return messages.Response(code, (), b"{}")

        pods = informer.Informer(
            client.Client(transport.DirectTransport(refuse, None)), resources.PODS, clock, rng=random.Random(1)
        )
        async with running(pods):
            await asyncio.sleep(600)
        assert not pods.is_synced
        assert 20 <= len(times) <= 60
        assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 45

    loop_time.run(main)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd"), st.sampled_from(["n1", "n2", ""])),
        st.tuples(st.just("delete"), st.sampled_from("abcd"), st.just("")),
        st.tuples(st.sampled_from(["cut", "compact", "pause", "break", "mend"]), st.just(""), st.just("")),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_ends_up_equal_to_the_cluster_whatever_happened_on_the_way(steps: list[tuple[str, str, str]]) -> None:
    def broken(request: messages.Request) -> None:
        if request.method == "GET":
            raise messages.Disconnected

    async def step(api: fake_api.FakeApi, cluster: client.Client, what: str, name: str, node: str) -> None:
        there = api.objects.get(("/api/v1/pods", "one", name))
        if what == "put" and there is None:
            await cluster.create(resources.PODS, "one", pod(name, node))
        elif what == "put" and there is not None:
            await cluster.update(resources.PODS, {**there, "spec": {"nodeName": node}})
        elif what == "delete" and there is not None:
            await cluster.delete(resources.PODS, "one", name)
        elif what == "cut":
            await api.cut_watches()
        elif what == "compact":
            api.compact()
        elif what == "pause":
            await asyncio.sleep(10)
        elif what in ("break", "mend"):
            api.fault = broken if what == "break" else lambda request: None

    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        cluster, pods, mirror = make(api, clock)
        async with running(pods):
            for what, name, node in steps:
                await step(api, cluster, what, name, node)
            api.fault = lambda request: None
            await asyncio.sleep(120)
            expected = {key[2]: obj for key, obj in api.objects.items()}
            assert {obj["metadata"]["name"]: obj for obj in pods.list()} == expected
            assert mirror.objects == expected
            for node in ("n1", "n2"):
                found = {obj["metadata"]["name"] for obj in pods.by_index("node", node)}
                assert found == {name for name, obj in expected.items() if obj["spec"]["nodeName"] == node}

    loop_time.run(main)
