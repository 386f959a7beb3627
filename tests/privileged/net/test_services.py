"""What clients of Services meet, with real packets: pods on the bridge, the node itself, and a machine outside."""

import asyncio
import contextlib
import dataclasses
import ipaddress
import os
import pathlib
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.kernel import conntrack, elements, namespaces
from pinnace.kit import clock
from pinnace.net import base_table, bridge, guard, host_ports, interface, rules
from pinnace.proxy import dataplane, plan

pytestmark = pytest.mark.privileged

ID = f"s{os.getpid() % 100000}"
OWN_PORT = 31996
TABLE = rules.TableSettings(
    f"pinnace-{ID}",
    f"pn{ID}",
    ipaddress.IPv4Network("10.204.0.0/16"),
    ipaddress.IPv4Network("10.205.0.0/16"),
    reserved_ports=(OWN_PORT,),
)
NODE = ipaddress.IPv4Network("10.204.5.0/24")
NODE_ADDRESS, OUTSIDE_ADDRESS = "10.206.0.1", "10.206.0.2"
CLUSTER_IP = "10.205.0.7"
PORT, TARGET, NODE_PORT = 80, 8080, 31997
TCP_PORT = {"port": PORT, "nodePort": NODE_PORT, "protocol": "TCP"}
UDP_PORT = {"port": PORT, "nodePort": NODE_PORT, "protocol": "UDP"}


class Server:
    """Answers each connection (TCP) or datagram (UDP) in a namespace with its own name and the client's address."""

    def __init__(self, pin: pathlib.Path | None, name: str, kind: socket.SocketKind, port: int = TARGET) -> None:
        self._name = name
        self._kind = kind
        self._socket = namespaces.run_in_network(pin, lambda: self._open(port)) if pin else self._open(port)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _open(self, port: int) -> socket.socket:
        here = socket.socket(socket.AF_INET, self._kind)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        here.bind(("", port))
        if self._kind == socket.SOCK_STREAM:
            here.listen(64)
        return here

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self._kind == socket.SOCK_STREAM:
                    connection, peer = self._socket.accept()
                    with connection:
                        connection.sendall(f"{self._name} {peer[0]}".encode())
                else:
                    data, peer = self._socket.recvfrom(100)
                    if not data:
                        return
                    self._socket.sendto(f"{self._name} {peer[0]}".encode(), peer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()


@dataclasses.dataclass
class World:
    pods: list[interface.Attachment]
    pins: list[pathlib.Path]
    outside: pathlib.Path
    plane: dataplane.Kernel
    network: bridge.BridgeNetwork
    host_ports: host_ports.HostPorts
    shown: plan.Entries = dataclasses.field(default_factory=dict)

    def show(self, *addresses: str, here: int = 99, **spec: Any) -> None:
        """A Service with these endpoints, the first `here` of them on this node."""
        spec.setdefault("ports", [TCP_PORT, UDP_PORT])
        status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}
        service = {"metadata": {"name": "s", "namespace": "d"}, "spec": {"clusterIP": CLUSTER_IP, **spec}}
        ends = [
            {"addresses": [one], "nodeName": "here" if index < here else "there"} for index, one in enumerate(addresses)
        ]
        pieces = [
            {"metadata": {}, "addressType": "IPv4", "ports": [{"port": TARGET, "protocol": name}], "endpoints": ends}
            for name in ("TCP", "UDP")
        ]
        wanted = plan.entries({**service, "status": status}, pieces, "here")
        self.plane.make_chains(plan.picks(wanted))
        self.plane.write(plan.changes(self.shown, wanted))
        self.plane.forget_udp(plan.stale_udp(self.shown, wanted))
        self.shown = wanted

    def show_host_ports(self) -> None:
        """What the network has been asked for."""
        wanted: dict[plan.Front, plan.Backends] = {}
        for claim in self.host_ports.all().values():
            wanted.update(plan.of_host_ports(claim))
        self.plane.make_chains(plan.picks(wanted))
        self.plane.write(plan.changes(self.shown, wanted))
        self.plane.forget_udp(plan.stale_udp(self.shown, wanted))
        self.shown = wanted

    def address(self, pod: int) -> str:
        return str(self.pods[pod].address)


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Iterator[World]:
    """Three pods; `one` and `two` serve TCP and UDP in the second and third. Nothing of it stays."""
    table, ports = base_table.BaseTable(TABLE), host_ports.HostPorts()
    settings = bridge.Settings(NODE, ipaddress.IPv4Address("10.205.0.10"), tmp_path / "network.json")
    network = bridge.BridgeNetwork(settings, table, ports, clock.SystemClock())
    pins = [tmp_path / f"net-{index}" for index in range(3)]
    outside = tmp_path / "outside"
    cable = f"po{ID}"
    with contextlib.ExitStack() as stack:
        asyncio.run(table.open())
        stack.callback(lambda: asyncio.run(table.close()))
        stack.callback(lambda: asyncio.run(table.purge()))
        asyncio.run(network.open())
        stack.callback(lambda: asyncio.run(network.close()))
        stack.callback(lambda: asyncio.run(network.purge()))
        plane = dataplane.Kernel.open(TABLE.table)
        stack.callback(plane.close)
        for pin in (*pins, outside):
            namespaces.pin_new({"net": pin})
            stack.callback(namespaces.unpin, pin)
        pods = [asyncio.run(network.attach(f"pod-{index}", pin)) for index, pin in enumerate(pins)]
        stack.callback(cut_cable, cable)
        lay_cable(outside, cable)
        for index, name in ((1, "one"), (2, "two")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                server = Server(pins[index], name, kind)
                stack.callback(server.close)
        yield World(pods, pins, outside, plane, network, ports)


def lay_cable(outside: pathlib.Path, name: str) -> None:
    inside = f"nsenter --net={outside} ip"
    for command in (
        f"ip link add {name} type veth peer name eth0 netns {outside}",
        f"ip address add {NODE_ADDRESS}/30 dev {name}",
        f"ip link set {name} up",
        f"{inside} address add {OUTSIDE_ADDRESS}/30 dev eth0",
        f"{inside} link set eth0 up",
        f"{inside} route add default via {NODE_ADDRESS}",
    ):
        subprocess.run(command.split(), check=True)


def cut_cable(name: str) -> None:
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def ask(address: str, port: int, pin: pathlib.Path | None = None, seconds: float = 3) -> tuple[str, str]:
    """(who answered, which client address it saw). Raises ConnectionRefusedError, TimeoutError."""

    def connect() -> tuple[str, str]:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            name, _, client = connection.makefile().read().partition(" ")
            return name, client

    return namespaces.run_in_network(pin, connect) if pin else connect()


class UdpClient:
    """One socket, hence one tracked connection for as long as it speaks."""

    def __init__(self, address: str, port: int, pin: pathlib.Path | None) -> None:
        self._socket = namespaces.run_in_network(pin, self._open) if pin else self._open()
        self._socket.connect((address, port))

    def _open(self) -> socket.socket:
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.settimeout(1)
        return here

    def ask(self) -> str:
        self._socket.send(b"?")
        return self._socket.recv(100).decode().partition(" ")[0]

    def close(self) -> None:
        self._socket.close()


def test_a_client_with_affinity_stays_with_its_endpoint_while_others_come_and_go(world: World) -> None:
    one, two = world.address(1), world.address(2)
    sticky: dict[str, Any] = {"sessionAffinity": "ClientIP"}
    world.show(one, two, **sticky)
    (first,) = {ask(CLUSTER_IP, PORT, world.pins[0])[0] for _ in range(15)}
    mine, other = (one, two) if first == "one" else (two, one)
    for endpoints in ([mine], ["10.204.5.200", mine, other], [other, mine], [mine, "10.204.5.1"]):
        world.show(*endpoints, **sticky)
        assert {ask(CLUSTER_IP, PORT, world.pins[0])[0] for _ in range(5)} == {first}
    world.show(other, **sticky)
    assert ask(CLUSTER_IP, PORT, world.pins[0])[0] != first
    # It has another one now, and keeps that when the first comes back.
    world.show(one, two, **sticky)
    assert {ask(CLUSTER_IP, PORT, world.pins[0])[0] for _ in range(15)} == {"one", "two"} - {first}
    world.show(one, two)
    assert {ask(CLUSTER_IP, PORT, world.pins[0])[0] for _ in range(40)} == {"one", "two"}


def test_affinity_of_a_node_port_and_its_end_after_the_time_that_the_service_says(world: World) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    world.show(
        world.address(1), world.address(2), sessionAffinity="ClientIP", sessionAffinityConfig=config, type="NodePort"
    )
    assert len({ask(NODE_ADDRESS, NODE_PORT, world.outside)[0] for _ in range(10)}) == 1
    seen: set[str] = set()
    while len(seen) < 2:  # for ever where affinity never ends
        seen.add(ask(NODE_ADDRESS, NODE_PORT, world.outside)[0])
        while "10.206" in world.plane.nft.run(f"list map ip {TABLE.table} affinity"):
            pass


def test_a_udp_client_that_never_pauses_follows_the_endpoints(world: World) -> None:
    client = UdpClient(CLUSTER_IP, PORT, world.pins[0])
    by_node_port = UdpClient(NODE_ADDRESS, NODE_PORT, world.outside)
    world.show()
    for asking in (client, by_node_port):
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            asking.ask()
    for index, name in ((1, "one"), (2, "two"), (1, "one")):
        world.show(world.address(index), type="NodePort")
        assert [client.ask(), client.ask(), by_node_port.ask()] == [name] * 3
    world.show()
    with pytest.raises(ConnectionRefusedError):
        [client.ask() for _ in range(2)]
    client.close()
    by_node_port.close()


def test_connections_to_the_port_of_others_elsewhere_stay(world: World) -> None:
    """Or whoever may take a UDP port of the node could cut others' connections to that port of any server."""
    server = Server(world.outside, "outside", socket.SOCK_DGRAM, NODE_PORT)
    client = UdpClient(OUTSIDE_ADDRESS, NODE_PORT, world.pins[0])

    def known() -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = set()

        def note(flow: conntrack.Flow) -> bool:
            found.add((str(flow.address), flow.port))
            return False

        world.plane.connections.forget(conntrack.UDP, note)
        return found

    try:
        assert client.ask() == "outside"
        world.show(world.address(1))
        world.show(world.address(2))
        assert (OUTSIDE_ADDRESS, NODE_PORT) in known()
    finally:
        client.close()
        server.close()


def test_the_same_port_of_two_protocols_goes_one_by_one(world: World) -> None:
    world.show(world.address(1), ports=[TCP_PORT])
    assert ask(CLUSTER_IP, PORT, world.pins[0])[0] == "one"
    client = UdpClient(CLUSTER_IP, PORT, world.pins[0])
    with pytest.raises(ConnectionRefusedError):
        client.ask()
    world.show(world.address(1), ports=[UDP_PORT])
    assert client.ask() == "one"
    with pytest.raises(ConnectionRefusedError):
        ask(CLUSTER_IP, PORT, world.pins[0])
    client.close()


def test_a_node_port_is_taken_at_the_node_s_own_addresses_alone(world: World) -> None:
    world.show(world.address(1), type="NodePort")
    for address in ("127.0.0.1", NODE_ADDRESS, "10.204.5.1"):
        assert ask(address, NODE_PORT)[0] == "one"
    assert ask(NODE_ADDRESS, NODE_PORT, world.pins[0])[0] == "one"
    assert ask(NODE_ADDRESS, NODE_PORT, world.outside)[0] == "one"
    local = Server(None, "local", socket.SOCK_STREAM, NODE_PORT)
    assert ask("127.0.0.53", NODE_PORT)[0] == "local"
    local.close()
    with pytest.raises(ConnectionRefusedError):
        ask(CLUSTER_IP, NODE_PORT, world.pins[0])


def datagram_by_hand(source: str, target: str, port: int) -> bytes:
    """A frame to the gateway, as a pod with CAP_NET_RAW can send it."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 31, 1, 0, 64, 17, 0, *map(socket.inet_aton, (source, target)))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + header[12:]
    links = (guard.GATEWAY_MAC, guard.mac_of(ipaddress.IPv4Address(source)))
    ends = b"".join(bytes.fromhex(link.replace(":", "")) for link in links)
    return ends + b"\x08\0" + header + struct.pack("!HHHH", 999, port, 11, 0) + b"hey"


def test_a_pod_does_not_reach_servers_of_the_node_that_listen_on_loopback_alone(world: World) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.5)
    raw = namespaces.run_in_network(world.pins[0], lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    raw.bind(("eth0", 0))
    frame = datagram_by_hand(world.address(0), "127.0.0.1", server.getsockname()[1])
    raw.send(frame)
    with pytest.raises(TimeoutError):
        server.recv(10)
    world.plane.nft.run(f"flush chain ip {TABLE.table} guard")
    raw.send(frame)
    assert server.recv(10) == b"hey"  # or the test would prove nothing
    raw.close()
    server.close()


def test_nothing_takes_the_ports_of_the_node_s_own_servers_at_any_of_its_addresses(world: World) -> None:
    """The rules themselves see to that, whatever is in the maps: which addresses a machine has is not known for good."""
    own = Server(None, "node", socket.SOCK_STREAM, OWN_PORT)
    try:
        ports = [{"port": OWN_PORT, "nodePort": OWN_PORT, "protocol": "TCP"}]
        world.show(world.address(1), externalIPs=[NODE_ADDRESS, "198.51.100.8"], ports=ports)
        for pin in (None, world.pins[0], world.outside):
            assert ask(NODE_ADDRESS, OWN_PORT, pin)[0] == "node"
            assert ask("198.51.100.8", OWN_PORT, pin)[0] == "one"
        assert ask("127.0.0.1", OWN_PORT)[0] == "node"
    finally:
        own.close()


def test_external_addresses_and_those_of_a_balancer_lead_to_the_service(world: World) -> None:
    world.show(world.address(1), type="LoadBalancer", externalIPs=["198.51.100.8"])
    for address in ("198.51.100.8", "198.51.100.9"):
        for pin in (None, world.pins[0], world.outside):
            assert ask(address, PORT, pin)[0] == "one"
    world.show(type="LoadBalancer", externalIPs=["198.51.100.8"])
    for pin in (None, world.pins[0], world.outside):
        with pytest.raises(ConnectionRefusedError):
            ask("198.51.100.8", PORT, pin)


def test_the_local_policy_keeps_the_client_s_address_and_drops_where_no_endpoint_is_here(world: World) -> None:
    local: dict[str, Any] = {"externalTrafficPolicy": "Local", "type": "LoadBalancer"}
    world.show(world.address(1), world.address(2), here=1, **local)
    for address, port in ((NODE_ADDRESS, NODE_PORT), ("198.51.100.9", PORT)):
        assert {ask(address, port, world.outside) for _ in range(15)} == {("one", OUTSIDE_ADDRESS)}
        # Pods reach every endpoint.
        assert {ask(address, port, world.pins[0])[0] for _ in range(40)} == {"one", "two"}
    world.show(world.address(1), here=0, **local)
    for address, port in ((NODE_ADDRESS, NODE_PORT), ("198.51.100.9", PORT)):
        with pytest.raises(TimeoutError):
            ask(address, port, world.outside, seconds=0.3)
        assert ask(address, port, world.pins[0])[0] == "one"
    world.show(world.address(1), here=0, internalTrafficPolicy="Local")
    with pytest.raises(TimeoutError):
        ask(CLUSTER_IP, PORT, world.pins[0], seconds=0.3)
    world.show(internalTrafficPolicy="Local")
    with pytest.raises(ConnectionRefusedError):
        ask(CLUSTER_IP, PORT, world.pins[0])


def test_a_pod_in_the_node_s_network_serves_and_a_pod_reaches_itself(world: World) -> None:
    server = Server(None, "host", socket.SOCK_STREAM)
    world.show(NODE_ADDRESS)
    for pin in (None, world.pins[0]):
        assert ask(CLUSTER_IP, PORT, pin)[0] == "host"
    server.close()
    world.show(world.address(1))
    assert ask(CLUSTER_IP, PORT, world.pins[1])[0] == "one"


def test_rewriting_everything_is_noticed_by_no_client(world: World) -> None:
    """What a restarted agent does."""
    world.show(world.address(1), world.address(2))
    flushes = [elements.Change(name, is_add=False, is_flush=True) for name in rules.PROXY_MAPS]
    done = threading.Event()
    failures: list[Exception] = []
    answers: set[str] = set()

    def hammer() -> None:
        while not done.is_set():
            try:
                answers.add(ask(CLUSTER_IP, PORT)[0])
            except OSError as error:
                failures.append(error)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        while len(answers) < 2 and not failures:
            pass
        for _ in range(100):
            world.plane.make_chains(plan.picks(world.shown))
            world.plane.write([*flushes, *plan.changes({}, world.shown)])
    finally:
        done.set()
        thread.join()
    assert failures == []


def test_host_ports_with_and_without_an_address(world: World, tmp_path: pathlib.Path) -> None:
    pin = tmp_path / "more"
    namespaces.pin_new({"net": pin})
    servers = [Server(pin, "pod", socket.SOCK_STREAM), Server(pin, "pod", socket.SOCK_DGRAM)]
    ports = (
        interface.HostPort(NODE_ADDRESS, 31881, TARGET, "TCP"),
        interface.HostPort("", 31882, TARGET, "TCP"),
        interface.HostPort("", 31882, TARGET, "UDP"),
    )
    try:
        client = UdpClient(NODE_ADDRESS, 31882, world.outside)
        with pytest.raises(ConnectionRefusedError):
            client.ask()
        asyncio.run(world.network.attach("more", pin, ports))
        world.show_host_ports()
        assert client.ask() == "pod"
        assert ask(NODE_ADDRESS, 31881, world.outside)[0] == "pod"
        assert ask("127.0.0.1", 31882)[0] == "pod"
        with pytest.raises(ConnectionRefusedError):
            ask("127.0.0.1", 31881)
        asyncio.run(world.network.detach("more"))
        world.show_host_ports()
        with pytest.raises(ConnectionRefusedError):
            ask(NODE_ADDRESS, 31881, world.outside)
        client.close()
    finally:
        for server in servers:
            server.close()
        namespaces.unpin(pin)
