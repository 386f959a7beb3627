"""Pods on the bridge and Services in the kernel, with real packets between real namespaces."""

import asyncio
import contextlib
import functools
import ipaddress
import os
import pathlib
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from pinnace.assemble import settings
from pinnace.kernel import elements, namespaces, nftables
from pinnace.kit import clock
from pinnace.net import base_table, bridge, guard, host_ports, interface, rules
from pinnace.proxy import dataplane, plan

pytestmark = pytest.mark.privileged

ID = f"t{os.getpid() % 100000}"
TABLE = rules.TableSettings(
    f"pinnace-{ID}", f"pn{ID}", ipaddress.IPv4Network("10.200.0.0/16"), ipaddress.IPv4Network("10.201.0.0/16")
)
NODE = ipaddress.IPv4Network("10.200.5.0/24")


class Network(bridge.BridgeNetwork):
    """With the tables of its own."""

    def __init__(self, folder: pathlib.Path, node_address: ipaddress.IPv4Address | None = None) -> None:
        self.table = base_table.BaseTable(TABLE)
        self.host_ports = host_ports.HostPorts()
        settings = bridge.Settings(NODE, ipaddress.IPv4Address("10.201.0.10"), folder / "network.json", node_address)
        super().__init__(settings, self.table, self.host_ports, clock.SystemClock())

    async def open(self) -> None:
        await self.table.open()
        await super().open()

    async def close(self) -> None:
        await super().close()
        await self.table.close()

    async def purge(self) -> None:
        await super().purge()
        await self.table.purge()


make = Network


@contextlib.contextmanager
def pods(folder: pathlib.Path, count: int) -> Iterator[list[pathlib.Path]]:
    pins = [folder / f"net-{index}" for index in range(count)]
    for pin in pins:
        namespaces.pin_new({"net": pin})
    try:
        yield pins
    finally:
        for pin in pins:
            namespaces.unpin(pin)


class Echo:
    """A TCP server in a namespace that answers each connection with its own name and the client's address."""

    def __init__(self, pin: pathlib.Path, port: int, name: str) -> None:
        self._socket = namespaces.run_in_network(pin, lambda: socket.create_server(("", port)))
        self._name = name
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.sendall(f"{self._name} {peer[0]}".encode())

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


def ask(address: str, port: int, pin: pathlib.Path | None = None) -> tuple[str, str]:
    """(who answered, which client address it saw)."""

    def connect() -> tuple[str, str]:
        with socket.create_connection((address, port), timeout=3) as connection:
            name, _, client = connection.makefile().read().partition(" ")
            return name, client

    return namespaces.run_in_network(pin, connect) if pin else connect()


def service(**spec: object) -> dict[str, object]:
    return {"metadata": {"name": "s", "namespace": "d"}, "spec": {"clusterIP": "10.201.0.7", **spec}}


def slices(*addresses: interface.Attachment) -> list[dict[str, object]]:
    return [
        {
            "metadata": {"name": "s-1", "namespace": "d"},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": [str(one.address)], "nodeName": "here", "conditions": {"ready": True}}
                for one in addresses
            ],
        }
    ]


def show(plane: dataplane.Kernel, old: plan.Entries, new: plan.Entries) -> None:
    plane.make_chains(plan.picks(new))
    plane.write(plan.changes(old, new))
    plane.forget_udp(plan.stale_udp(old, new))


def test_pods_reach_each_other_and_services_and_nothing_is_left(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        network = make(tmp_path)
        await network.open()
        echoes: list[Echo] = []
        plane = dataplane.Kernel.open(TABLE.table)
        try:
            with pods(tmp_path, 3) as pins:
                found = [await network.attach(f"pod-{index}", pin) for index, pin in enumerate(pins)]
                assert [str(one.address) for one in found] == ["10.200.5.2", "10.200.5.3", "10.200.5.4"]
                echoes = [Echo(pins[1], 8080, "one"), Echo(pins[2], 8080, "two")]
                assert ask("10.200.5.3", 8080, pins[0]) == ("one", "10.200.5.2")
                assert ask("10.200.5.3", 8080)[0] == "one"

                spec = service(ports=[{"port": 80, "nodePort": 31999, "protocol": "TCP"}])
                entries = plan.entries(spec, slices(found[1], found[2]), "here")
                show(plane, plan.EMPTY, entries)
                # The client's address arrives unchanged, and both endpoints are chosen.
                answers = {ask("10.201.0.7", 80, pins[0]) for _ in range(40)}
                assert answers == {("one", "10.200.5.2"), ("two", "10.200.5.2")}
                assert {ask("10.201.0.7", 80)[0] for _ in range(40)} == {"one", "two"}
                # A pod reaches itself through its own Service.
                assert {ask("10.201.0.7", 80, pins[1])[0] for _ in range(40)} == {"one", "two"}
                assert {ask("127.0.0.1", 31999)[0] for _ in range(40)} == {"one", "two"}

                nothing = plan.entries(spec, slices(), "here")
                show(plane, entries, nothing)
                with pytest.raises(ConnectionRefusedError):
                    ask("10.201.0.7", 80, pins[0])
                with pytest.raises(ConnectionRefusedError):
                    ask("10.201.0.7", 80)
        finally:
            for echo in echoes:
                echo.close()
            plane.close()
            await network.purge()
            await network.close()
        assert not pathlib.Path(f"/sys/class/net/{TABLE.bridge}").exists()
        assert not [one for one in found if pathlib.Path(f"/sys/class/net/{one.interface}").exists()]

    asyncio.run(main())


def test_a_bridge_that_is_gone_is_noticed(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        network = make(tmp_path)
        await network.open()
        try:
            await network.check()
            await asyncio.to_thread(subprocess.run, ("ip", "link", "delete", TABLE.bridge), check=True)
            with pytest.raises(interface.NetworkError, match=f"the bridge {TABLE.bridge} is gone"):
                await network.check()
        finally:
            await network.purge()
            await network.close()

    asyncio.run(main())


def test_datagrams_to_the_node_are_answered_from_the_address_that_was_asked(tmp_path: pathlib.Path) -> None:
    """A server on all of the node's addresses, behind a Service whose endpoint is the node, and asked directly."""
    node = ipaddress.IPv4Address(settings.own_address())

    def ask_udp(address: str, port: int) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(3)
            asking.connect((address, port))
            asking.send(b"who")
            return asking.recv(100)

    async def main() -> None:
        network = make(tmp_path, node)
        await network.open()
        plane = dataplane.Kernel.open(TABLE.table)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("0.0.0.0", 0))
            port = server.getsockname()[1]

            def serve() -> None:
                for _ in range(2):
                    server.sendto(*server.recvfrom(100))

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            try:
                with pods(tmp_path, 1) as pins:
                    await network.attach("pod-0", pins[0])
                    spec = service(ports=[{"port": 53, "protocol": "UDP"}])
                    piece = {
                        "addressType": "IPv4",
                        "ports": [{"port": port, "protocol": "UDP"}],
                        "endpoints": [{"addresses": [str(node)]}],
                    }
                    show(plane, plan.EMPTY, plan.entries(spec, [piece], "here"))
                    for asked in ((str(node), port), ("10.201.0.7", 53)):
                        assert namespaces.run_in_network(pins[0], functools.partial(ask_udp, *asked)) == b"who"
                thread.join()
            finally:
                plane.close()
                await network.purge()
                await network.close()

    asyncio.run(main())


def test_client_affinity_keeps_to_one_endpoint(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        network = make(tmp_path)
        await network.open()
        echoes: list[Echo] = []
        plane = dataplane.Kernel.open(TABLE.table)
        try:
            with pods(tmp_path, 3) as pins:
                found = [await network.attach(f"pod-{index}", pin) for index, pin in enumerate(pins)]
                echoes = [Echo(pins[1], 8080, "one"), Echo(pins[2], 8080, "two")]
                spec = service(sessionAffinity="ClientIP", ports=[{"port": 80, "protocol": "TCP"}])
                entries = plan.entries(spec, slices(found[1], found[2]), "here")
                show(plane, plan.EMPTY, entries)
                assert len({ask("10.201.0.7", 80, pins[0])[0] for _ in range(20)}) == 1
        finally:
            for echo in echoes:
                echo.close()
            plane.close()
            await network.purge()
            await network.close()

    asyncio.run(main())


def test_addresses_survive_a_restart_and_orphans_are_collected(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        first = make(tmp_path)
        await first.open()
        try:
            with pods(tmp_path, 2) as pins:
                ports = (interface.HostPort("", 31888, 8080, "TCP"),)
                kept = await first.attach("kept", pins[0], ports)
                await first.attach("orphan", pins[1])
                await first.close()
                second = make(tmp_path)
                await second.open()
                assert {one.sandbox_id for one in await second.attachments()} == {"kept", "orphan"}
                assert await second.attach("kept", pins[0]) == kept
                await second.collect(frozenset({"kept"}))
                assert [one.sandbox_id for one in await second.attachments()] == ["kept"]
                claim = second.host_ports.all()["kept"]
                assert (claim.address, claim.ports) == (kept.address, ports)
                assert claim == first.host_ports.all()["kept"]
                await second.detach("kept")
                await second.detach("kept")
                assert not second.host_ports.all()
                await second.close()
        finally:
            last = make(tmp_path)
            await last.purge()
            await last.close()

    asyncio.run(main())


def test_rules_that_another_program_removed_are_made_anew_and_their_keepers_told(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        table = base_table.BaseTable(TABLE)
        told = asyncio.Queue[str]()

        async def restore() -> None:
            told.put_nowait("told")

        table.on_restored(restore)
        await table.open()
        nft = nftables.Nftables()
        watching = asyncio.create_task(table.watch(clock.SystemClock()))
        try:
            before = nft.run(f"list table ip {TABLE.table}")
            for command in (f"delete table ip {TABLE.table}", f"flush chain ip {TABLE.table} translate"):
                nft.run(command)
                await asyncio.wait_for(told.get(), 30)
                assert nft.run(f"list table ip {TABLE.table}") == before
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await table.purge()
            await table.close()

    asyncio.run(main())


def test_what_touches_nothing_of_ours_is_no_reason_to_write(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        table = base_table.BaseTable(TABLE)
        await table.open()
        plane = dataplane.Kernel.open(TABLE.table)
        try:
            spec = service(ports=[{"port": 80, "nodePort": 31999, "protocol": "TCP"}])
            ends = interface.Attachment("s", (ipaddress.IPv4Address("10.200.5.9"),), (), "pv")
            show(plane, plan.EMPTY, plan.entries(spec, slices(ends), "here"))
            assert not await table.restore_if_changed()
            plane.write([elements.Change(name, is_add=False, is_flush=True) for name in rules.PROXY_MAPS])
            assert not await table.restore_if_changed()
        finally:
            plane.close()
            await table.purge()
            await table.close()

    asyncio.run(main())


def test_a_kernel_that_cannot_filter_bridges_is_said_and_serves(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "table_text", lambda name: "add table no-such-family x\n")

    async def main() -> None:
        network = make(tmp_path)
        await network.open()
        try:
            assert "pods can pose as each other" in caplog.text
            with pods(tmp_path, 1) as pins:
                await network.attach("pod", pins[0])
                assert not await network.table.restore_if_changed()
                await network.detach("pod")
        finally:
            await network.purge()
            await network.close()

    asyncio.run(main())
