"""A pod that forges frames (it holds CAP_NET_RAW, as by default) reaches nobody under another's name. Real frames between real namespaces.

"Nothing arrives" is seen without waiting: after the forged frames an honest one goes the same way, and it is the first to arrive.
"""

import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import pathlib
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest

from pinnace.kernel import namespaces, nftables
from pinnace.kit import clock
from pinnace.net import base_table, bridge, guard, host_ports, interface, rules

pytestmark = pytest.mark.privileged

ID = f"a{os.getpid() % 100000}"
TABLE = rules.TableSettings(
    f"pinnace-{ID}", f"pn{ID}", ipaddress.IPv4Network("10.208.0.0/16"), ipaddress.IPv4Network("10.209.0.0/16")
)
NODE = ipaddress.IPv4Network("10.208.5.0/24")
GATEWAY, DNS = "10.208.5.1", "10.209.0.10"
PORT = 7777
BROADCAST = "ff:ff:ff:ff:ff:ff"
IP, ARP, IP6 = 0x0800, 0x0806, 0x86DD
PATIENCE = 5.0


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def frame(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", kind) + payload


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str]) -> bytes:
    ends = b"".join(mac(link) + socket.inet_aton(address) for link, address in (sender, target))
    return struct.pack("!HHBBH", 1, IP, 6, 4, operation) + ends


def datagram(source: str, target: str, content: bytes) -> bytes:
    body = struct.pack("!HHHH", PORT, PORT, 8 + len(content), 0) + content
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + body


def router_advertisement(source: str) -> bytes:
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + struct.pack("!BB", 1, 1) + mac(source)
    addresses = socket.inet_pton(socket.AF_INET6, "fe80::1") + socket.inet_pton(socket.AF_INET6, "ff02::1")
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + addresses + body


@dataclasses.dataclass
class World:
    attacker: interface.Attachment
    victim: interface.Attachment
    pins: tuple[pathlib.Path, pathlib.Path]
    table: base_table.BaseTable
    network: bridge.BridgeNetwork

    @property
    def own_mac(self) -> str:
        return guard.mac_of(self.attacker.address)

    @property
    def victims_mac(self) -> str:
        return guard.mac_of(self.victim.address)

    def forge(self, *frames: bytes) -> None:
        """From the attacker's link, as they are."""

        def send() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind(("eth0", 0))
                for one in frames:
                    link.send(one)

        namespaces.run_in_network(self.pins[0], send)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], bytes]]:
        """A server of datagrams on the gateway: returns what comes next."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((GATEWAY, PORT))
            server.settimeout(PATIENCE)
            yield lambda: server.recv(100)

    @contextlib.contextmanager
    def sniffing_as_victim(self) -> Iterator[Callable[[], bytes]]:
        """What comes next to the victim's link of what the tests send, whoever it is for."""

        def listen() -> socket.socket:
            link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            link.bind(("eth0", 3))
            return link

        with namespaces.run_in_network(self.pins[1], listen) as link:
            link.settimeout(PATIENCE)

            def receive() -> bytes:
                while True:
                    data, (_, _, direction, *_) = link.recvfrom(2000)
                    is_told = data[6:12] in (mac(self.own_mac), mac(self.victims_mac)) or data.endswith(b"honest")
                    if direction != socket.PACKET_OUTGOING and is_told:  # the host reports its groups meanwhile
                        return data

            yield receive

    def say(self, content: bytes) -> None:
        """The host to the victim, honestly."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.sendto(content, (str(self.victim.address), PORT))


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    table = base_table.BaseTable(TABLE)
    settings = bridge.Settings(NODE, ipaddress.IPv4Address(DNS), tmp_path / "network.json")
    network = bridge.BridgeNetwork(settings, table, host_ports.HostPorts(), clock.SystemClock())
    pins = (tmp_path / "attacker", tmp_path / "victim")
    with contextlib.ExitStack() as stack:
        asyncio.run(table.open())
        for end in (table.close, table.purge):
            stack.callback(lambda end=end: asyncio.run(end()))
        asyncio.run(network.open())
        for end in (network.close, network.purge):
            stack.callback(lambda end=end: asyncio.run(end()))
        for pin in pins:
            namespaces.pin_new({"net": pin})
            stack.callback(namespaces.unpin, pin)
        attacker, victim = (asyncio.run(network.attach(pin.name, pin)) for pin in pins)
        yield World(attacker, victim, pins, table, network)


def test_the_guard_is_there(world: World) -> None:
    """Or what follows would prove less than it says."""
    assert world.table.guards


def test_no_source_but_the_pod_s_own_reaches_the_host(world: World) -> None:
    forged = (str(world.victim.address), DNS, GATEWAY, "127.0.0.1", "10.208.5.77", "203.0.113.5", "0.0.0.0")
    with world.listening() as receive:
        for source in forged:
            packet = datagram(source, GATEWAY, source.encode())
            world.forge(frame(world.own_mac, guard.GATEWAY_MAC, IP, packet))
            world.forge(frame(world.victims_mac, guard.GATEWAY_MAC, IP, packet))
        own = str(world.attacker.address)
        world.forge(frame(world.victims_mac, guard.GATEWAY_MAC, IP, datagram(own, GATEWAY, b"another's link")))
        world.forge(frame(world.own_mac, guard.GATEWAY_MAC, IP, datagram(own, GATEWAY, b"honest")))
        assert receive() == b"honest"


def test_a_tagged_frame_is_no_way_around(world: World) -> None:
    with world.listening() as receive:
        packet = struct.pack("!HH", 1, IP) + datagram(str(world.victim.address), GATEWAY, b"tagged")
        world.forge(frame(world.own_mac, guard.GATEWAY_MAC, 0x8100, packet))
        own = datagram(str(world.attacker.address), GATEWAY, b"honest")
        world.forge(frame(world.own_mac, guard.GATEWAY_MAC, IP, own))
        assert receive() == b"honest"


def test_nobody_is_told_by_a_pod_who_the_gateway_or_another_pod_is(world: World) -> None:
    victim, own = str(world.victim.address), str(world.attacker.address)
    lies = [
        frame(world.own_mac, target, ARP, arp(operation, (world.own_mac, address), (world.victims_mac, victim)))
        for operation in (1, 2)
        for address in (GATEWAY, victim, "10.208.5.77")
        for target in (BROADCAST, world.victims_mac, guard.GATEWAY_MAC)
    ]
    with world.sniffing_as_victim() as receive:
        world.forge(*lies)
        # An honest one goes to the host alone: nothing of the bridge's is flooded to pods.
        world.forge(frame(world.own_mac, BROADCAST, ARP, arp(1, (world.own_mac, own), ("00:" * 5 + "00", victim))))
        world.say(b"honest")
        assert receive().endswith(b"honest")
    shown = subprocess.run(("ip", "neigh", "show", "dev", TABLE.bridge), capture_output=True, text=True, check=True)
    known = {line.split()[0]: line.split()[2:] for line in shown.stdout.splitlines()}
    assert known == {
        own: [world.own_mac, "PERMANENT"],
        victim: [world.victims_mac, "PERMANENT"],
    }


def test_a_pod_does_not_take_another_s_place_at_the_bridge(world: World) -> None:
    """Frames under the victim's link address do not move it to the attacker's port."""
    packet = datagram(str(world.attacker.address), GATEWAY, b"moved")
    world.forge(*[frame(world.victims_mac, guard.GATEWAY_MAC, IP, packet)] * 3)
    with world.sniffing_as_victim() as receive:
        world.say(b"honest")
        assert receive().endswith(b"honest")


def test_a_pod_does_not_speak_to_another_past_the_host(world: World) -> None:
    victim = str(world.victim.address)
    packet = datagram(str(world.attacker.address), victim, b"past the host")
    with world.sniffing_as_victim() as receive:
        world.forge(frame(world.own_mac, world.victims_mac, IP, packet), frame(world.own_mac, BROADCAST, IP, packet))
        world.say(b"honest")
        assert receive().endswith(b"honest")


def test_a_pod_is_no_router_of_ipv6(world: World) -> None:
    with world.sniffing_as_victim() as receive:
        for target in ("33:33:00:00:00:01", world.victims_mac, guard.GATEWAY_MAC):
            world.forge(frame(world.own_mac, target, IP6, router_advertisement(world.own_mac)))
        world.say(b"honest")
        assert receive().endswith(b"honest")
    assert not pathlib.Path("/proc/net/if_inet6").read_text().count(TABLE.bridge)


def test_a_pod_that_forgot_its_gateway_finds_it_again(world: World) -> None:
    """With CAP_NET_ADMIN it may flush its neighbours: the honest question is answered."""
    command = ("nsenter", f"--net={world.pins[0]}", "ip", "neigh", "flush", "all", "nud", "permanent")
    subprocess.run(command, check=True, capture_output=True)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.sendto(b"found", (GATEWAY, PORT))

    with world.listening() as receive:
        namespaces.run_in_network(world.pins[0], send)
        assert receive() == b"found"


def test_what_a_pod_that_is_gone_might_say_is_forgotten(world: World) -> None:
    asyncio.run(world.network.detach("victim"))
    listing = nftables.Nftables().run(f"list set bridge {TABLE.table} {guard.MEMBERS}")
    assert world.attacker.interface in listing
    assert world.victim.interface not in listing
    shown = subprocess.run(("ip", "neigh", "show", "dev", TABLE.bridge), capture_output=True, text=True, check=True)
    assert str(world.victim.address) not in shown.stdout


def test_the_guard_comes_back_with_the_rules(world: World) -> None:
    """Another program's `flush ruleset` opens nothing for longer than it takes to hear of it."""
    nft = nftables.Nftables()
    for command in (f"delete table bridge {TABLE.table}", f"flush table bridge {TABLE.table}"):
        nft.run(command)
        assert asyncio.run(world.table.restore_if_changed())
    with world.listening() as receive:
        forged = datagram(str(world.victim.address), GATEWAY, b"forged")
        world.forge(frame(world.own_mac, guard.GATEWAY_MAC, IP, forged))
        honest = datagram(str(world.attacker.address), GATEWAY, b"honest")
        world.forge(frame(world.own_mac, guard.GATEWAY_MAC, IP, honest))
        assert receive() == b"honest"
    assert not asyncio.run(world.table.restore_if_changed())
