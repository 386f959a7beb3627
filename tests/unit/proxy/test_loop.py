"""The proxy's loop over caches that are told what happens and a data plane that can refuse: no change is lost."""

import asyncio
import ipaddress
import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.client import cache
from pinnace.kernel import elements, nftables
from pinnace.net import host_ports, interface, rules
from pinnace.proxy import dataplane, loop, plan
from pinnace.testing import clock as clocks

Object = dict[str, Any]


class Told(cache.Cache):
    """An informer that has synced already."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: list[Any] = []

    def add_handler(self, handler: Any) -> None:
        self._handlers.append(handler)

    async def wait_synced(self) -> None:
        return None

    def change(self, key: cache.Key, obj: Object | None) -> None:
        old = self.set(key, obj)
        if old is not None or obj is not None:
            for handler in self._handlers:
                handler(old, obj)


class Plane:
    """Maps as the kernel keeps them: a transaction is refused as a whole, with nothing changed."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[bytes, bytes]] = {name: {} for name in rules.PROXY_MAPS}
        self.chains: set[str] = set()
        self.refuse = 0
        self.steps: list[int] = []
        self.forgotten: list[dataplane.Fronts] = []
        self.emptied = False

    def make_chains(self, picks: Iterable[rules.Pick]) -> None:
        self.chains |= {pick.chain for pick in picks}

    def write(self, changes: Sequence[elements.Change]) -> None:
        maps = {name: dict(found) for name, found in self.maps.items()}
        for step in changes:
            if step.is_flush:
                maps[step.map].clear()
            for key, value in step.elements:
                if step.is_add and maps[step.map].get(key, value) == value:
                    maps[step.map][key] = value
                elif not step.is_add and key in maps[step.map]:
                    del maps[step.map][key]
                else:
                    raise nftables.NftablesError("no such element, or another one", step.map)
        if self.refuse:
            self.refuse -= 1
            raise nftables.NftablesError("told to refuse", "write")
        self.steps.append(sum(len(step.elements) for step in changes))
        self.maps = maps

    def forget_udp(self, fronts: dataplane.Fronts) -> None:
        self.forgotten.append(dict(fronts))


def service(number: int) -> Object:
    spec = {"clusterIP": f"10.43.0.{number}", "ports": [{"port": 80, "protocol": "TCP"}]}
    return {"metadata": {"namespace": "d", "name": f"s{number}"}, "spec": spec}


def piece(number: int, ends: Iterable[int]) -> Object:
    return {
        "metadata": {"namespace": "d", "name": f"s{number}-x", "labels": {loop.SERVICE_NAME_LABEL: f"s{number}"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [str(ipaddress.IPv4Address(0x0A2A0000 + end))]} for end in ends],
    }


class World:
    def __init__(self) -> None:
        self.services, self.slices = Told(), Told()
        self.slices.add_index(loop.BY_SERVICE, loop.service_of_slice)
        self.pods = host_ports.HostPorts()
        self.plane = Plane()
        self.warnings: list[tuple[str, str, str]] = []

    def proxy(self) -> loop.Proxy:
        return self.proxy_on(clocks.VirtualClock())

    def proxy_on(self, time: clocks.VirtualClock) -> loop.Proxy:
        here = loop.Node("node", "t")
        return loop.Proxy(self.services, self.slices, self.pods, here, time, self.warn, lambda table: self.plane)  # type: ignore[arg-type]

    def warn(self, obj: Object, reason: str, message: str) -> None:
        self.warnings.append((obj["metadata"]["name"], reason, message))

    def put(self, number: int, ends: Iterable[int]) -> None:
        self.services.change(("d", f"s{number}"), service(number))
        self.slices.change(("d", f"s{number}-x"), piece(number, ends))

    def remove(self, number: int) -> None:
        self.services.change(("d", f"s{number}"), None)
        self.slices.change(("d", f"s{number}-x"), None)

    def expected(self) -> dict[str, dict[bytes, bytes]]:
        """Of a data plane that saw only the last state."""
        plane = Plane()
        everything: dict[plan.Front, plan.Backends] = {}
        for obj in self.services.list():
            name = f"d/{obj['metadata']['name']}"
            everything.update(plan.entries(obj, self.slices.by_index(loop.BY_SERVICE, name), "node"))
        for claim in self.pods.all().values():
            everything.update(plan.of_host_ports(claim))
        plane.write(plan.changes({}, everything))
        return plane.maps


def test_the_first_sync_is_one_transaction_that_replaces_what_an_earlier_process_left() -> None:
    async def main() -> None:
        world = World()
        for number in range(1, 100):
            world.put(number, range(number, number + 3))
        world.plane.maps["services"][b"left"] = b"over"
        await world.proxy().sync(world.plane)
        assert len(world.plane.steps) == 1
        assert world.plane.maps == world.expected()
        assert world.plane.chains == {"service_3"}

    asyncio.run(main())


def test_a_change_writes_only_what_differs() -> None:
    async def main() -> None:
        world = World()
        for number in range(1, 50):
            world.put(number, (1, 2, 3))
        proxy = world.proxy()
        await proxy.sync(world.plane)
        world.slices.change(("d", "s7-x"), piece(7, (1, 2, 4)))
        await proxy.sync(world.plane)
        assert world.plane.steps[1:] == [2]
        assert world.plane.maps == world.expected()

    asyncio.run(main())


def test_a_refused_transaction_is_written_whole_the_next_time_with_what_changed_meanwhile() -> None:
    async def main() -> None:
        world = World()
        world.put(1, (1,))
        world.put(2, (2,))
        proxy = world.proxy()
        await proxy.sync(world.plane)
        world.put(3, (3,))
        world.plane.refuse = 1
        with pytest.raises(nftables.NftablesError):
            await proxy.sync(world.plane)
        world.remove(2)
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()

    asyncio.run(main())


def test_an_element_that_someone_else_removed_comes_back() -> None:
    async def main() -> None:
        world = World()
        world.put(1, (1, 2))
        proxy = world.proxy()
        await proxy.sync(world.plane)
        world.plane.maps["endpoints"].clear()
        world.put(1, (1,))
        with pytest.raises(nftables.NftablesError):
            await proxy.sync(world.plane)
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()

    asyncio.run(main())


def test_the_loop_goes_on_after_refusals_until_it_is_written() -> None:
    async def main() -> None:
        world = World()
        world.plane.refuse = 3
        world.put(1, (1,))
        time = clocks.VirtualClock()
        task = asyncio.create_task(world.proxy_on(time).run())
        while not world.plane.steps:
            await time.advance(1)
        assert world.plane.maps == world.expected()
        task.cancel()

    asyncio.run(main())


def test_what_is_removed_of_two_with_the_same_external_address_leaves_the_other_s() -> None:
    async def main() -> None:
        world = World()
        for number in (1, 2):
            world.put(number, (number,))
            shared = service(number)
            shared["spec"]["externalIPs"] = ["203.0.113.9"]
            shared["metadata"]["creationTimestamp"] = f"2026-01-0{number}T00:00:00Z"
            world.services.change(("d", f"s{number}"), shared)
        proxy = world.proxy()
        await proxy.sync(world.plane)
        told = "203.0.113.9:80/TCP: another has it already, or it is the cluster's own"
        assert world.warnings == [("s2", "AddressNotFree", told)]
        world.put(2, (5,))
        world.services.change(("d", "s2"), shared)
        await proxy.sync(world.plane)
        assert len(world.warnings) == 1
        world.remove(2)
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()
        assert len(world.plane.maps["services"]) == 2

    asyncio.run(main())


def test_who_loses_an_address_to_the_service_that_it_is_given_to_is_told() -> None:
    async def main() -> None:
        world = World()
        world.put(1, (1,))
        guest = service(1)
        guest["spec"]["externalIPs"] = ["10.43.0.2"]
        world.services.change(("d", "s1"), guest)
        proxy = world.proxy()
        await proxy.sync(world.plane)
        assert not world.warnings
        world.put(2, (2,))
        await proxy.sync(world.plane)
        assert [(name, reason) for name, reason, _ in world.warnings] == [("s1", "AddressNotFree")]

    asyncio.run(main())


def test_host_ports_come_and_go_with_their_pod() -> None:
    async def main() -> None:
        world = World()
        proxy = world.proxy()
        await proxy.sync(world.plane)
        ports = (interface.HostPort("", 8080, 80, "TCP"), interface.HostPort("127.0.0.1", 53, 53, "UDP"))
        world.pods.put("sandbox", host_ports.Claim(ipaddress.IPv4Address("10.42.0.3"), ports, "2026-01-01T00:00:00Z"))
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()
        assert (len(world.plane.maps["nodeports"]), len(world.plane.maps["services"])) == (1, 1)
        assert world.plane.chains == {"nodeport_1", "service_1"}
        world.pods.drop("sandbox")
        await proxy.sync(world.plane)
        assert not any(world.plane.maps.values())

    asyncio.run(main())


def test_a_table_that_was_made_anew_is_filled_whole() -> None:
    async def main() -> None:
        world = World()
        world.put(1, (1, 2))
        proxy = world.proxy()
        await proxy.sync(world.plane)
        world.plane.maps = {name: {} for name in rules.PROXY_MAPS}
        world.plane.chains.clear()
        await proxy.write_anew()
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()
        assert world.plane.chains == {"service_2"}

    asyncio.run(main())


actions = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 4), st.sets(st.integers(1, 5), max_size=4)),
        st.tuples(st.just("remove"), st.integers(1, 4), st.just(set())),
        st.tuples(st.just("refuse"), st.just(0), st.just(set())),
        st.tuples(st.just("sync"), st.just(0), st.just(set())),
        st.tuples(st.just("restart"), st.just(0), st.just(set())),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(actions, st.integers(0, 2**31))
def test_whatever_happens_in_between_the_maps_end_right(series: list[tuple[str, int, set[int]]], seed: int) -> None:
    """Changes during a write included: the other task runs while the proxy waits for its thread."""

    async def main() -> None:
        world, rng = World(), random.Random(seed)
        proxy = world.proxy()

        async def meddle(action: str, number: int, ends: set[int]) -> None:
            if action == "put":
                world.put(number, ends)
            elif action == "remove":
                world.remove(number)
            elif action == "refuse":
                world.plane.refuse += 1

        for action, number, ends in series:
            if action == "restart":
                proxy = world.proxy()
            syncing = None
            if action == "sync" or rng.random() < 0.3:
                syncing = asyncio.create_task(proxy.sync(world.plane))
                await asyncio.sleep(0)
            await meddle(action, number, ends)
            if syncing is not None:
                await asyncio.gather(syncing, return_exceptions=True)
        world.plane.refuse = 0
        await proxy.sync(world.plane)
        await proxy.sync(world.plane)
        assert world.plane.maps == world.expected()

    asyncio.run(main())
