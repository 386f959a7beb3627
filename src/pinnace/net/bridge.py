"""Pods on a bridge: the real `PodNetwork`, through netlink alone.

Each pod has a /32 and a route through the gateway, so that all its traffic is routed by the host even towards pods on the same bridge: every packet
passes the cluster's nftables table, in both directions. The bridge learns nothing from pods and floods nothing to them: which link address is
behind which port, and which address belongs to which link address, is written when a pod is attached, on both sides. `guard` drops what a pod
sends under another name.

State (which sandbox has which address) is one small file, written before the kernel is changed; what the kernel has is found again by the
interfaces' names, which derive from the sandbox ids.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import ipaddress
import json
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

from pinnace.kernel import elements, namespaces, nftables, rtnetlink
from pinnace.kit import clock, files
from pinnace.net import base_table, guard, interface, ipam, rules
from pinnace.net import host_ports as claims

T = TypeVar("T")

log = logging.getLogger(__name__)

REMOVALS = 8
"""Links that are removed at the same time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    node_range: ipaddress.IPv4Network
    """The node's own part of the pod range."""
    dns_address: ipaddress.IPv4Address
    """Carried by the bridge, so that queries never leave the node."""
    state_file: pathlib.Path
    node_address: ipaddress.IPv4Address | None = None
    """By which pods know the node: what speaks to them from the node does so from there. None: from the gateway's address."""
    mtu: int = 0
    """0: that of the interface with the default route."""


class BridgeNetwork:
    """One thread owns the netlink sockets and the state; calls are queued to it in order."""

    def __init__(
        self, settings: Settings, owner: base_table.BaseTable, host_ports: claims.HostPorts, time: clock.Clock
    ) -> None:
        """`owner` is open before this is; it is told what to write again when its tables were made anew."""
        self._settings = settings
        self._owner = owner
        self._table = owner.settings
        self._claims = host_ports
        self._clock = time
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="network")
        # The kernel takes tens of milliseconds to remove a link, most of them waiting: others go on meanwhile.
        self._removals = concurrent.futures.ThreadPoolExecutor(REMOVALS, thread_name_prefix="link removal")
        self._attached: dict[str, interface.Attachment] = {}
        self._host_ports: dict[str, claims.Claim] = {}
        self._last: ipaddress.IPv4Address | None = None
        self._links: rtnetlink.Links | None = None
        self._writer: elements.Writer | None = None
        self._bridge_index = 0
        self._mtu = settings.mtu

    async def open(self) -> None:
        await self._run(self._open)
        for sandbox_id, claim in self._host_ports.items():
            self._claims.put(sandbox_id, claim)
        self._owner.on_restored(self.restore)

    async def restore(self) -> None:
        """Write every element again, whatever is there. Raises NftablesError."""
        await self._run(self._write_elements)

    async def attach(
        self, sandbox_id: str, network_namespace: pathlib.Path, host_ports: tuple[interface.HostPort, ...] = ()
    ) -> interface.Attachment:
        attachment = await self._run(self._attach, sandbox_id, network_namespace, host_ports)
        claim = self._host_ports.get(sandbox_id)
        if claim is not None:
            self._claims.put(sandbox_id, claim)
        return attachment

    async def detach(self, sandbox_id: str) -> None:
        # Asked in the thread: behind an attachment of the same sandbox that may be on its way.
        attachment = await self._run(self._attached.get, sandbox_id)
        if attachment is None:
            return
        self._claims.drop(sandbox_id)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._removals, _delete_link, attachment.interface)
        # Only now: whoever is interrupted in between finds the link again by what is remembered.
        await self._run(self._forget, sandbox_id)

    async def check(self) -> None:
        await self._run(self._check)

    async def attachments(self) -> tuple[interface.Attachment, ...]:
        return tuple(self._attached.values())

    async def collect(self, live_sandbox_ids: frozenset[str]) -> None:
        for sandbox_id in [known for known in self._attached if known not in live_sandbox_ids]:
            await self.detach(sandbox_id)

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown()
        self._removals.shutdown()

    async def purge(self) -> None:
        await self._run(self._purge)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    # Everything below runs on the one thread.

    def _open(self) -> None:
        self._links = rtnetlink.Links()
        self._writer = elements.Writer()
        self._load()
        _write_sysctl("net/ipv4/ip_forward", "1")
        self._mtu = self._settings.mtu or rtnetlink.default_mtu()
        self._bridge_index = self._ensure_bridge()
        self._write_elements()

    def _write_elements(self) -> None:
        assert self._writer is not None
        name = self._table.table
        self._writer.write(name, rules.hairpin(self._settings.node_range))
        if self._owner.guards:
            self._writer.write(name, guard.all_members(self._attached), elements.BRIDGE)

    @property
    def _kernel(self) -> rtnetlink.Links:
        if self._links is None:
            raise interface.NetworkError("the network is not open")
        return self._links

    def _check(self) -> None:
        if self._kernel.find(self._table.bridge) is None:
            raise interface.NetworkError(
                f"the bridge {self._table.bridge} is gone; `pinnace down` and `pinnace up` make it anew"
            )

    def _ensure_bridge(self) -> int:
        links, name = self._kernel, self._table.bridge
        index = links.find(name)
        if index is None:
            links.change(rtnetlink.new_bridge(name, guard.GATEWAY_MAC))
            index = links.find(name)
            assert index is not None
        links.change(
            rtnetlink.set_address(index, ipam.gateway(self._settings.node_range), self._settings.node_range.prefixlen),
            rtnetlink.set_address(index, self._settings.dns_address, 32),
            rtnetlink.set_up(index, self._mtu),
        )
        self._speak_as_node(index)
        # A pod's packet to another pod enters and leaves through the bridge: without this the host would tell pods to talk directly.
        _write_sysctl(f"net/ipv4/conf/{name}/send_redirects", "0")
        # There is no IPv6 in the cluster: the host believes no pod that says it is a router.
        if pathlib.Path("/proc/sys/net/ipv6").exists():
            _write_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1")
        # Node ports are reachable at 127.0.0.1 too; the answer of such a connection comes from the bridge.
        _write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")
        return index

    def _speak_as_node(self, index: int) -> None:
        """A datagram to a server on the node that listens on all addresses is answered from the address of the route to the pod:
        that must be the one that was asked, or whoever translated it does not know the answer.

        Two routes to halves of the range go before the one that came with the gateway's address, which is left if they go."""
        source = self._settings.node_address
        if source is None:
            return
        halves = self._settings.node_range.subnets(prefixlen_diff=1)
        try:
            self._kernel.change(*(rtnetlink.set_route(index, half, source=source) for half in halves))
        except OSError as error:
            log.warning("the node speaks to pods from their gateway, not from %s: %s", source, error)

    def _attach(
        self, sandbox_id: str, namespace: pathlib.Path, host_ports: tuple[interface.HostPort, ...]
    ) -> interface.Attachment:
        present = self._attached.get(sandbox_id)
        if present is not None and self._kernel.find(present.interface) is not None:
            return present
        address = present.address if present else self._next_address()
        gateway = ipam.gateway(self._settings.node_range)
        attachment = interface.Attachment(sandbox_id, (address,), (gateway,), _interface_name(sandbox_id))
        self._attached[sandbox_id] = attachment
        if host_ports:
            self._host_ports[sandbox_id] = claims.Claim(address, host_ports, clock.rfc3339(self._clock.now()))
        self._save()
        try:
            self._wire(attachment, namespace)
        except (nftables.NftablesError, OSError) as error:
            _delete_link(attachment.interface)
            self._forget(sandbox_id)
            raise interface.NetworkError(f"cannot attach sandbox {sandbox_id} to the network: {error}") from error
        return attachment

    def _next_address(self) -> ipaddress.IPv4Address:
        used = {attachment.address for attachment in self._attached.values()}
        self._last = ipam.next_address(self._settings.node_range, used, self._last)
        return self._last

    def _wire(self, attachment: interface.Attachment, namespace: pathlib.Path) -> None:
        name, mac = attachment.interface, guard.mac_of(attachment.address)
        group = guard.group_of(self._table.table)
        self._admit(attachment, is_in=True)
        handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._kernel.change(
                rtnetlink.new_veth(name, self._bridge_index, "eth0", handle, self._mtu, peer_mac=mac, group=group),
                # A pod that reaches itself through a Service leaves and enters by the same port.
                rtnetlink.closed_port(name),
                rtnetlink.set_neighbour(self._bridge_index, attachment.address, mac),
            )
            port = self._kernel.find(name)
            if port is None:
                raise FileNotFoundError(f"the link {name} is not there")
            self._kernel.change(rtnetlink.set_forwarding(port, mac))
            namespaces.run_in_network(namespace, lambda: _configure_inside(attachment))
        finally:
            os.close(handle)

    def _admit(self, attachment: interface.Attachment, *, is_in: bool) -> None:
        """Let pass what comes from the pod's link under its addresses, or nothing any more. Raises NftablesError."""
        assert self._writer is not None
        if not self._owner.guards:
            return
        step = elements.Change(guard.MEMBERS, is_add=is_in, elements=[guard.member(attachment)])
        try:
            self._writer.write(self._table.table, [step], elements.BRIDGE)
        except nftables.NftablesError:
            # Not there, or there already: an attempt that was interrupted. All of them, as they have to be.
            self._writer.write(self._table.table, guard.all_members(self._attached), elements.BRIDGE)

    def _forget(self, sandbox_id: str) -> None:
        attachment = self._attached.pop(sandbox_id, None)
        if attachment is None:
            return
        self._host_ports.pop(sandbox_id, None)
        try:
            self._admit(attachment, is_in=False)
        except nftables.NftablesError as error:
            # Whoever makes the tables anew writes the elements as they are then.
            log.warning("the rules still let pass what %s would send: %s", attachment.interface, error)
        with contextlib.suppress(FileNotFoundError):  # the bridge was made anew meanwhile
            self._kernel.change(rtnetlink.delete_neighbour(self._bridge_index, attachment.address))
        self._save()

    def _close(self) -> None:
        if self._links is not None:
            self._links.close()
            self._links = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _purge(self) -> None:
        self._links = self._links or rtnetlink.Links()
        self._load()
        names = [attachment.interface for attachment in self._attached.values()]
        self._links.delete([*names, self._table.bridge])
        self._attached.clear()
        self._host_ports.clear()
        self._settings.state_file.unlink(missing_ok=True)
        self._close()

    def _load(self) -> None:
        if self._settings.state_file.parent.is_dir():
            files.remove_temporaries(self._settings.state_file.parent)
        try:
            state = json.loads(self._settings.state_file.read_text())
        except FileNotFoundError:
            return
        gateway = ipam.gateway(self._settings.node_range)
        self._last = ipaddress.IPv4Address(state["last"]) if state["last"] else None
        for sandbox_id, entry in state["sandboxes"].items():
            address = ipaddress.IPv4Address(entry["address"])
            name = _interface_name(sandbox_id)
            self._attached[sandbox_id] = interface.Attachment(sandbox_id, (address,), (gateway,), name)
            ports = tuple(interface.HostPort(**port) for port in entry["hostPorts"])
            if ports:
                self._host_ports[sandbox_id] = claims.Claim(address, ports, entry.get("since", ""))

    def _save(self) -> None:
        state = {
            "last": str(self._last) if self._last else "",
            "sandboxes": {
                sandbox_id: {"address": str(attachment.address), **_ports_entry(self._host_ports.get(sandbox_id))}
                for sandbox_id, attachment in self._attached.items()
            },
        }
        self._settings.state_file.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(self._settings.state_file, json.dumps(state).encode())


def _ports_entry(claim: claims.Claim | None) -> dict[str, Any]:
    if claim is None:
        return {"hostPorts": []}
    return {"hostPorts": [dataclasses.asdict(port) for port in claim.ports], "since": claim.since}


def _delete_link(name: str) -> None:
    """Raises NetworkError."""
    try:
        with rtnetlink.Links() as links:
            links.delete([name])
    except OSError as error:
        raise interface.NetworkError(f"cannot remove the link {name}: {error}") from error


def _configure_inside(attachment: interface.Attachment) -> None:
    """In a thread that is inside the namespace: the socket belongs to the namespace in which it is opened."""
    with rtnetlink.Links() as inside:
        index = inside.find("eth0")
        if index is None:
            raise FileNotFoundError("the pod's end of its link is not there")
        (gateway,) = (each for each in attachment.gateways if isinstance(each, ipaddress.IPv4Address))
        inside.change(
            rtnetlink.set_up(rtnetlink.LOOPBACK),
            rtnetlink.set_up(index),
            rtnetlink.set_address(index, attachment.address, 32),
            rtnetlink.set_neighbour(index, gateway, guard.GATEWAY_MAC),
            rtnetlink.set_route(index, ipaddress.IPv4Network(gateway)),
            rtnetlink.set_route(index, ipaddress.IPv4Network("0.0.0.0/0"), gateway),
        )


def _interface_name(sandbox_id: str) -> str:
    """Of the host's end; at most 15 characters, the same for the same sandbox always."""
    return "pv" + hashlib.sha256(sandbox_id.encode()).hexdigest()[:10]


def _write_sysctl(name: str, value: str) -> None:
    path = pathlib.Path("/proc/sys") / name
    if path.read_text().strip() != value:
        path.write_text(value)
