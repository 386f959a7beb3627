"""Many writers at once, over a store that really commits, some of whom go away in the middle of their request: quotas, ports and
addresses are never given twice, never beyond their number, and what a writer that went away had reserved comes back (G8, G9)."""

import asyncio
import collections
import contextlib
import os
import pathlib
import random
from typing import Any

import pytest

from pinnace.apiserver import server
from pinnace.apiserver.admission import resource_quota
from pinnace.apiserver.storage import envelope
from pinnace.kit import clock
from pinnace.store import sqlite
from pinnace.testing import api_server

NAMESPACE = "/api/v1/namespaces/default"
HARD = {"configmaps": "12", "services.nodeports": "6", "pods": "8", "requests.cpu": "2"}
PORTS = 8
WRITERS = int(os.environ.get("PINNACE_CONTENDERS", "24"))
ROUNDS = int(os.environ.get("PINNACE_ROUNDS", "6"))


def config_map(name: str) -> api_server.Object:
    return {"metadata": {"name": name}}


def service(name: str) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}


def pod(name: str) -> api_server.Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "300m"}, "limits": {"cpu": "300m"}}}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"metadata": {"name": name}, "spec": spec}


KINDS = {"configmaps": config_map, "services": service, "pods": pod}


class Witness:
    """Follows every change and keeps what was too much at some moment."""

    def __init__(self, api: api_server.Api) -> None:
        self.api = api
        self.wrong: list[str] = []
        self.there: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}

    async def follow(self, kind: str) -> None:
        async with self.api.watch(f"{NAMESPACE}/{kind}") as watch:
            while True:
                event = await watch.next()
                name = event["object"]["metadata"]["name"]
                if event["type"] == "DELETED":
                    self.there[kind].pop(name, None)
                elif name not in ("kubernetes", "kube-root-ca.crt"):
                    self.there[kind][name] = event["object"]
                self.judge(kind)

    def judge(self, kind: str) -> None:
        there = self.there[kind]
        limit = {"configmaps": 12, "services": 6, "pods": 6}[kind]
        if len(there) > limit:
            self.wrong.append(f"{len(there)} {kind}, {limit} are allowed")
        if kind == "services":
            for field, values in (
                ("node port", [one["spec"]["ports"][0].get("nodePort") for one in there.values()]),
                ("address", [one["spec"].get("clusterIP") for one in there.values()]),
            ):
                self.wrong += [
                    f"{field} {value} is given twice" for value, n in collections.Counter(values).items() if n > 1
                ]


async def writer(api: api_server.Api, number: int, rng: random.Random) -> None:
    for turn in range(ROUNDS):
        kind = rng.choice(list(KINDS))
        name = f"w{number}-{turn}"
        making = asyncio.create_task(api.call("POST", f"{NAMESPACE}/{kind}", KINDS[kind](name)))
        if rng.random() < 0.3:
            # The client goes away: at once, or a few steps later.
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        if kind == "services" and rng.random() < 0.3:
            change = {"spec": {"type": rng.choice(("ClusterIP", "NodePort"))}}
            await api.patch(f"{NAMESPACE}/{kind}/{name}", change)
        if rng.random() < 0.8:
            await api.call("DELETE", f"{NAMESPACE}/{kind}/{name}?gracePeriodSeconds=0")


async def fill(api: api_server.Api, kind: str, count: int) -> int:
    """How many of `count` can be made one after the other."""
    answers = [await api.call("POST", f"{NAMESPACE}/{kind}", KINDS[kind](f"last-{number}")) for number in range(count)]
    return sum(answer.code == 201 for answer in answers)


async def wait_counted(api: api_server.Api, config_maps: int) -> None:
    """Until the quota knows that nothing but this is left: what deletions free is counted a moment after them."""
    wanted = {**dict.fromkeys(HARD, "0"), "configmaps": str(config_maps)}
    async with api.watch(f"{NAMESPACE}/resourcequotas") as watch:
        while (await watch.next())["object"].get("status", {}).get("used") != wanted:
            pass


async def contend(api: api_server.Api, seed: int) -> list[str]:
    await api.call("POST", f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "default"}})
    await api.create(f"{NAMESPACE}/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": HARD}})
    witness = Witness(api)
    watching = [asyncio.create_task(witness.follow(kind)) for kind in KINDS]
    await asyncio.gather(*(writer(api, number, random.Random(f"{seed} {number}")) for number in range(WRITERS)))
    for kind in KINDS:
        for one in (await api.get(f"{NAMESPACE}/{kind}"))["items"]:
            name = one["metadata"]["name"]
            if name not in ("kubernetes", "kube-root-ca.crt"):
                await api.call("DELETE", f"{NAMESPACE}/{kind}/{name}?gracePeriodSeconds=0")
    # Nothing is left but what everybody needs: all of it can be had again.
    system = sum(
        one["metadata"]["name"] == "kube-root-ca.crt" for one in (await api.get(f"{NAMESPACE}/configmaps"))["items"]
    )
    await wait_counted(api, system)
    made = {kind: await fill(api, kind, 20) for kind in KINDS}
    if made != {"configmaps": 12 - system, "services": 6, "pods": 6}:
        witness.wrong.append(f"in the end there was room for {made}")
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    return witness.wrong


def run(folder: pathlib.Path, seed: int) -> list[str]:
    found: list[str] = []

    async def main() -> None:
        time = clock.SystemClock()
        store = await sqlite.open_store(folder / "store.db", envelope.stamp, time)
        settings = api_server.options(node_port_last=30000 + PORTS - 1, service_cidr="10.43.0.0/28")
        api = server.ApiServer(store, time, settings)
        await api.start()
        try:
            async with asyncio.timeout(100):
                found.extend(await contend(api_server.Api(api, store), seed))
        finally:
            await api.stop()
            await store.close()

    asyncio.run(main())
    return found


def test_nothing_is_given_twice_or_beyond_its_number(tmp_path: pathlib.Path) -> None:
    assert run(tmp_path, int(os.environ.get("PINNACE_SEED", "1"))) == []


def test_the_witness_sees_a_quota_that_nobody_checks(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_quota, "_require_room", lambda attributes, quota, delta: None)
    assert any("are allowed" in line for line in run(tmp_path, 1))
