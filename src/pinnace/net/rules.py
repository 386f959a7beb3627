"""The cluster's nftables table: its fixed chains and what each is for. Pure: returns nft(8) text.

One table per cluster (`ip pinnace-<id>`; `base_table` makes it and keeps it). What grows with the number of Services or pods is elements of
maps and sets; the number of chains grows only with the number of *distinct ways to pick* (`Pick`: how many endpoints, masquerade or not,
affinity or not).

* `services`  address . protocol . port -> a chain that picks, or `drop`. `nodeports` protocol . port: the same for the node's own addresses;
* `endpoints` address . protocol . port . mark -> address . port of an endpoint, found by the mark that the chain has picked: at 0, 1, 2 … every
  endpoint, from LOCAL on those of this node, and at its own number (its address) each endpoint of a Service with client affinity;
* `identities` address . protocol . port . mark -> that number; `affinity` remembers it: client . address . protocol . port -> number, for as long
  as the Service says. It is a number and not an index so that a client stays with its endpoint while others come and go; a client whose endpoint
  is gone finds nothing and picks again.

`services_outside` and `nodeports_outside` take precedence for packets that neither a pod nor the node sent: they hold the Services with
`externalTrafficPolicy: Local`. `refused`: addresses of Services without endpoints. A packet still addressed to the Service range when it comes to be
forwarded has none either. Both are refused by the filter chains, since a chain that translates cannot.

Host ports of pods are fronts like those of Services: who has which is `pinnace.proxy`'s to say. `reserved`: ports at which the node's own
servers listen, which nothing takes away from them at any address of the node.

All of it is built so that changing one Service changes elements only.
"""

import dataclasses
import ipaddress

from pinnace.kernel import elements

MASQUERADE_MARK = 0x4000
"""Set on connections whose source must be rewritten (upstream's kube-proxy uses the same bit)."""
LOCAL = 1 << 16
"""Where the endpoints of this node begin: an EndpointSlice object never brings a Service to as many endpoints, no address is as low."""
AFFINITY_CLIENTS = 1 << 18
"""At most so many clients are remembered at once; further ones pick at random."""

SERVICE_MAPS = ("services", "services_outside", "endpoints", "identities")
NODE_PORT_MAPS = ("nodeports", "nodeports_outside", "nodeport_endpoints", "nodeport_identities")
PROXY_MAPS = (*SERVICE_MAPS, *NODE_PORT_MAPS, "refused")
"""Everything that is the proxy's; `hairpin` is the pod network's."""

CHAINS = (
    "translate",
    "from_outside",
    "guard",
    "prerouting",
    "output",
    "postrouting",
    "forward",
    "local_out",
)
"""Those that are always there: of this table, and the one of the table that guards the bridge."""

_SERVICE_KEY = "ip daddr . meta l4proto . th dport"
_NODE_PORT_KEY = "meta l4proto . th dport"
_CLIENT_KEY = "ip saddr . ip daddr . meta l4proto . th dport"


@dataclasses.dataclass(frozen=True, slots=True)
class TableSettings:
    table: str
    bridge: str
    pod_cidr: ipaddress.IPv4Network
    """Of the whole cluster."""
    service_cidr: ipaddress.IPv4Network
    reserved_ports: tuple[int, ...] = ()
    """TCP ports of servers of the node's own (API, kubelet)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pick:
    """One way to pick an endpoint: a chain."""

    count: int
    is_node_port: bool = False
    is_masqueraded: bool = False
    """So that the answer comes back through this node."""
    is_local: bool = False
    """Among the endpoints of this node."""
    affinity_seconds: int = 0
    """0: none. Otherwise a client stays with its endpoint until it has opened no connection for so long."""

    @property
    def chain(self) -> str:
        parts = ["nodeport" if self.is_node_port else "service", str(self.count)]
        parts += ["masquerade"] * self.is_masqueraded + ["local"] * self.is_local
        parts += [f"affinity{self.affinity_seconds}"] * bool(self.affinity_seconds)
        return "_".join(parts)


def base_table(settings: TableSettings) -> str:
    """Creates the table, or brings an older one to this form; elements of maps stay."""
    name = settings.table
    service, node_port = "ipv4_addr . inet_proto . inet_service", "inet_proto . inet_service"
    declarations = [
        f"map ip {name} services {{ type {service} : verdict; }}",
        f"map ip {name} services_outside {{ type {service} : verdict; }}",
        f"map ip {name} endpoints {{ type {service} . mark : ipv4_addr . inet_service; }}",
        f"map ip {name} identities {{ type {service} . mark : mark; }}",
        f"map ip {name} nodeports {{ type {node_port} : verdict; }}",
        f"map ip {name} nodeports_outside {{ type {node_port} : verdict; }}",
        f"map ip {name} nodeport_endpoints {{ type {node_port} . mark : ipv4_addr . inet_service; }}",
        f"map ip {name} nodeport_identities {{ type {node_port} . mark : mark; }}",
        f"map ip {name} affinity {{ type ipv4_addr . {service} : mark; flags dynamic,timeout; size {AFFINITY_CLIENTS}; }}",
        f"set ip {name} refused {{ type {service}; }}",
        f"set ip {name} reserved {{ type {node_port}; }}",
        f"set ip {name} hairpin {{ type ipv4_addr . ipv4_addr; }}",
        f"chain ip {name} translate",
        f"chain ip {name} from_outside",
        f"chain ip {name} guard {{ type filter hook prerouting priority raw; policy accept; }}",
        f"chain ip {name} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}",
        f"chain ip {name} output {{ type nat hook output priority -100; policy accept; }}",
        f"chain ip {name} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}",
        f"chain ip {name} forward {{ type filter hook forward priority filter; policy accept; }}",
        f"chain ip {name} local_out {{ type filter hook output priority filter; policy accept; }}",
    ]
    lines = [f"add table ip {name}", *(f"add {line}" for line in declarations)]
    lines += [f"flush chain ip {name} {chain}" for chain in CHAINS]
    lines.append(f"flush set ip {name} reserved")
    lines += [f"add element ip {name} reserved {{ tcp . {port} }}" for port in settings.reserved_ports]
    lines += [f"add rule ip {name} {rule}" for rule in _rules(settings)]
    return "\n".join(lines) + "\n"


def _rules(settings: TableSettings) -> list[str]:
    services, pods, bridge = settings.service_cidr, settings.pod_cidr, settings.bridge
    is_elsewhere = "fib daddr type != local"
    reserved = f"{_NODE_PORT_KEY} @reserved fib daddr type local return"
    refusals = [
        f"{condition} {answer}"
        for condition in (f"ip daddr {services}", f"{_SERVICE_KEY} @refused")
        for answer in ("meta l4proto tcp reject with tcp reset", "reject")
    ]
    return [
        # The bridge routes loopback addresses for the sake of node ports at 127.0.0.1: a pod must not use that to reach the node's own servers.
        f'guard iifname "{bridge}" ip daddr 127.0.0.0/8 drop',
        f"translate {reserved}",
        f"translate {_SERVICE_KEY} vmap @services",
        f"translate {is_elsewhere} return",
        f"translate ip daddr {services} return",
        # Of the loopback range node ports take 127.0.0.1 alone: others are the addresses of local servers (127.0.0.53 …).
        "translate ip daddr 127.0.0.0/8 ip daddr != 127.0.0.1 return",
        f"translate {_NODE_PORT_KEY} vmap @nodeports",
        f"from_outside {reserved}",
        f"from_outside {_SERVICE_KEY} vmap @services_outside",
        f"from_outside fib daddr type local ip daddr != {services} {_NODE_PORT_KEY} vmap @nodeports_outside",
        f"prerouting ip saddr != {pods} fib saddr type != local jump from_outside",
        "prerouting jump translate",
        "output jump translate",
        f"postrouting ct mark & {MASQUERADE_MARK:#x} != 0 masquerade",
        "postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade",
        "postrouting ct status dnat ip saddr 127.0.0.0/8 masquerade",
        f'postrouting ip saddr {pods} ip daddr != {pods} oifname != "{bridge}" masquerade',
        *(f"forward {refusal}" for refusal in refusals),
        *(f"local_out {is_elsewhere} {refusal}" for refusal in refusals),
    ]


def pick_chain(table: str, pick: Pick) -> str:
    """Makes the chain, or brings it to this form. What was picked passes through the packet's mark, a key that every version of nft can declare."""
    key = _NODE_PORT_KEY if pick.is_node_port else _SERVICE_KEY
    endpoints = "nodeport_endpoints" if pick.is_node_port else "endpoints"
    identities = "nodeport_identities" if pick.is_node_port else "identities"
    at_random = f"meta mark set numgen random mod {pick.count}" + f" offset {LOCAL}" * pick.is_local
    translate = f"dnat ip to {key} . meta mark map @{endpoints}"
    rules = [f"ct mark set ct mark | {MASQUERADE_MARK:#x}"] if pick.is_masqueraded else []
    if pick.affinity_seconds:
        remember = f"@affinity {{ {_CLIENT_KEY} timeout {pick.affinity_seconds}s : meta mark }}"
        rules += [
            # Each connection of a known client renews its time. The last lookup finds nothing when the endpoint has gone.
            f"meta mark set {_CLIENT_KEY} map @affinity update {remember} {translate}",
            f"{at_random} meta mark set {key} . meta mark map @{identities} delete {remember}",
            f"add {remember} {translate}",
        ]
    else:
        rules.append(at_random)
    rules.append(translate)
    head = f"add chain ip {table} {pick.chain}\nflush chain ip {table} {pick.chain}\n"
    return head + "".join(f"add rule ip {table} {pick.chain} {rule}\n" for rule in rules)


def hairpin(node_range: ipaddress.IPv4Network) -> list[elements.Change]:
    """A pod that reaches itself through a Service must see another address than its own: every pod of the node, in one set."""
    pods = [(address.packed * 2, b"") for address in node_range.hosts()]
    return [
        elements.Change("hairpin", is_add=False, is_flush=True),
        elements.Change("hairpin", is_add=True, elements=pods),
    ]


def delete_table(family: str, table: str) -> str:
    """Adding it first makes the deletion of what is not there succeed."""
    return f"add table {family} {table}\ndelete table {family} {table}\n"
