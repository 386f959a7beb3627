"""The cluster's nftables table: its fixed chains and what each is for. Pure: returns nft(8) text.

One table per cluster (`ip pinnace-<id>`). Everything that grows with the number of Services or pods is an element of a map or a set; the number
of chains grows only with the number of *distinct endpoint counts*:

* `services`  address . protocol . port -> `goto n5`: a Service with five endpoints;
* chain `n5`  picks one of five at random (`h5`: by a hash of the client's address, for ClientIP affinity) and finds the endpoint in
* `endpoints` address . protocol . port . index -> address . port.

Node ports go the same way through `nodeports`, `p5` / `q5` and `nodeport_endpoints`. A packet still addressed to the Service range when it comes to be
forwarded has no endpoint, and is refused. All of it is built so that changing one Service changes elements only.
"""

import dataclasses
import ipaddress

MASQUERADE_MARK = 0x4000
"""Set on connections whose source must be rewritten (upstream's kube-proxy uses the same bit)."""


@dataclasses.dataclass(frozen=True, slots=True)
class TableSettings:
    table: str
    bridge: str
    pod_cidr: ipaddress.IPv4Network
    """Of the whole cluster."""
    service_cidr: ipaddress.IPv4Network


def base_table(settings: TableSettings) -> str:
    """Creates the table, or brings an older one to this form; elements of maps stay."""
    name = settings.table
    service = "type ipv4_addr . inet_proto . inet_service : verdict;"
    port = "type inet_proto . inet_service : verdict;"
    key = "ip daddr . meta l4proto . th dport"
    return f"""
add table ip {name}
add map ip {name} services {{ {service} }}
add map ip {name} nodeports {{ {port} }}
add map ip {name} endpoints {{ type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }}
add map ip {name} nodeport_endpoints {{ type inet_proto . inet_service . mark : ipv4_addr . inet_service; }}
add map ip {name} hostports {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
add set ip {name} hairpin {{ type ipv4_addr . ipv4_addr; }}
add chain ip {name} translate
add chain ip {name} prerouting {{ type nat hook prerouting priority dstnat; policy accept; }}
add chain ip {name} output {{ type nat hook output priority -100; policy accept; }}
add chain ip {name} postrouting {{ type nat hook postrouting priority srcnat; policy accept; }}
add chain ip {name} forward {{ type filter hook forward priority filter; policy accept; }}
add chain ip {name} local_out {{ type filter hook output priority filter; policy accept; }}
flush chain ip {name} translate
flush chain ip {name} prerouting
flush chain ip {name} output
flush chain ip {name} postrouting
flush chain ip {name} forward
flush chain ip {name} local_out
add rule ip {name} translate {key} vmap @services
add rule ip {name} translate fib daddr type != local return
add rule ip {name} translate ip daddr {settings.service_cidr} return
add rule ip {name} translate meta l4proto . th dport vmap @nodeports
add rule ip {name} translate dnat ip to meta l4proto . th dport map @hostports
add rule ip {name} prerouting jump translate
add rule ip {name} output jump translate
add rule ip {name} postrouting ct mark & {MASQUERADE_MARK:#x} != 0 masquerade
add rule ip {name} postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade
add rule ip {name} postrouting ct status dnat ip saddr 127.0.0.0/8 masquerade
add rule ip {name} postrouting ip saddr {settings.pod_cidr} ip daddr != {settings.pod_cidr} oifname != "{settings.bridge}" masquerade
add rule ip {name} forward ip daddr {settings.service_cidr} meta l4proto tcp reject with tcp reset
add rule ip {name} forward ip daddr {settings.service_cidr} reject
add rule ip {name} local_out fib daddr type != local ip daddr {settings.service_cidr} meta l4proto tcp reject with tcp reset
add rule ip {name} local_out fib daddr type != local ip daddr {settings.service_cidr} reject
"""


def pick_chain(table: str, chain: str) -> str:
    """The chain that picks one of `n` endpoints. Its first letter says how: `n` at random and `h` by the client, for Service addresses;
    `p` and `q` the same for node ports, whose sources are rewritten so that the answer comes back through this node;
    `l` and `m` the same for node ports with externalTrafficPolicy Local, which keep the client's address."""
    kind, count = chain[0], int(chain[1:])
    pick = f"jhash ip saddr mod {count}" if kind in "hqm" else f"numgen random mod {count}"
    key = "ip daddr . meta l4proto . th dport" if kind in "nh" else "meta l4proto . th dport"
    name = "endpoints" if kind in "nh" else "nodeport_endpoints"
    # The index passes through the packet's mark, which is a key that every version of nft can declare.
    text = f"add chain ip {table} {chain}\nflush chain ip {table} {chain}\n"
    text += f"add rule ip {table} {chain} meta mark set {pick}\n"
    if kind in "pq":
        text += f"add rule ip {table} {chain} ct mark set ct mark | {MASQUERADE_MARK:#x}\n"
    return text + f"add rule ip {table} {chain} dnat ip to {key} . meta mark map @{name}\n"


def delete_table(table: str) -> str:
    """Adding it first makes the deletion of what is not there succeed."""
    return f"add table ip {table}\ndelete table ip {table}\n"
