"""What `up` decides once for a cluster and every process reads afterwards: `DIR/cluster.json`."""

import dataclasses
import ipaddress
import json
import os
import pathlib
import socket

from pinnace.assemble import places, processes
from pinnace.kit import files

POD_RANGES = ipaddress.IPv4Network("10.42.0.0/15")
"""The usual cluster of a machine takes 10.42/16 for pods and 10.43/16 for Services; others take one of the pairs that follow."""
MAX_CLUSTERS = 64
DEFAULT_PORT = 6443
KUBELET_PORT = 10250
OTHER_KUBELET_PORTS = 20250
"""From here on for clusters that are not the machine's usual one."""


class SettingsError(Exception):
    """A setting is unusable; the text names it, its value and what would be right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """The identity of a cluster. Changing a field of a cluster that has pods needs `down --purge` first."""

    name: str
    """Of the kubeconfig context; no effect on the cluster itself."""
    id: str
    """See `places.cluster_id`."""
    port: int
    """Of the API, TLS, on every address of the machine."""
    node: bool
    """False: a control plane alone (`up --no-node`)."""
    node_name: str
    node_ip: str
    """The address at which pods and other nodes reach this machine."""
    kubelet_port: int
    pod_cidr: str
    service_cidr: str
    cluster_domain: str = "cluster.local"
    log_level: str = "info"
    """Of the server and the node: debug, info, warning or error."""
    discard_unpacked_layers: bool = False
    """Whether layers are not kept as they came once they are unpacked: less disk, and images cannot be pushed or saved."""

    @property
    def cluster_dns(self) -> str:
        """The tenth address of the Service range, as upstream's installers choose it."""
        return str(ipaddress.IPv4Network(self.service_cidr)[10])

    @property
    def kubernetes_service_ip(self) -> str:
        return str(ipaddress.IPv4Network(self.service_cidr)[1])

    @property
    def bridge(self) -> str:
        """At most 15 characters: the kernel's limit for interface names."""
        return f"pn{self.id}"

    @property
    def table(self) -> str:
        return f"pinnace-{self.id}"

    @property
    def cgroup(self) -> str:
        return f"/pinnace-{self.id}"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


def load(where: places.Places) -> Cluster | None:
    try:
        text = where.cluster_file.read_text()
    except FileNotFoundError:
        return None
    try:
        return Cluster(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"{where.cluster_file} is not readable ({error}); restore it, or `pinnace down --purge`"
        ) from error


def save(where: places.Places, cluster: Cluster) -> None:
    text = json.dumps(dataclasses.asdict(cluster), indent=2) + "\n"
    files.write_atomic(where.cluster_file, text.encode(), durable=True)


def decide(
    where: places.Places,
    *,
    name: str,
    port: int,
    node: bool,
    addresses_in_use: frozenset[ipaddress.IPv4Address],
    log_level: str = "info",
    discard_unpacked_layers: bool = False,
) -> Cluster:
    """A new cluster's settings. `addresses_in_use` are those of this machine's interfaces."""
    pod_cidr, service_cidr = free_ranges(addresses_in_use, first_range(where))
    return Cluster(
        name=name,
        id=places.cluster_id(where.data),
        port=port,
        node=node,
        node_name=socket.gethostname().lower(),
        node_ip=own_address(),
        kubelet_port=free_port(first_kubelet_port(where)),
        pod_cidr=str(pod_cidr),
        service_cidr=str(service_cidr),
        log_level=log_level,
        discard_unpacked_layers=discard_unpacked_layers,
    )


def first_range(where: places.Places) -> int:
    """Which pair of ranges to try first: 0 for the machine's usual cluster, for others one that depends on their folder.

    A stopped cluster keeps its ranges and nobody sees them in use: were all to try the same ones, the next new cluster would take them.
    """
    if where.data == places.default_data_dir(places.DEFAULT_NAME):
        return 0
    return 1 + int(places.cluster_id(where.data), 16) % (MAX_CLUSTERS - 1)


def first_kubelet_port(where: places.Places) -> int:
    """Which port of the node agent to try first, for the same reason: clusters that start at the same moment, or one that was
    stopped, would all take the usual one."""
    number = first_range(where)
    return OTHER_KUBELET_PORTS + number if number else KUBELET_PORT


def free_ranges(
    in_use: frozenset[ipaddress.IPv4Address], first: int = 0
) -> tuple[ipaddress.IPv4Network, ipaddress.IPv4Network]:
    """A pair of /16 that no interface of this machine has an address in (a running cluster's bridge has one in each), from
    the `first` pair on."""
    base = int(POD_RANGES.network_address)
    for offset in range(MAX_CLUSTERS):
        pair = ipaddress.IPv4Network((base + (first + offset) % MAX_CLUSTERS * 2**17, 15))
        if not any(address in pair for address in in_use):
            pods, services = pair.subnets(1)
            return pods, services
    raise SettingsError(f"no free address range: interfaces use all {MAX_CLUSTERS} pairs from {POD_RANGES} on")


def own_address() -> str:
    """The address that this machine uses towards others; loopback where it has no network at all.

    Connecting a datagram socket sends nothing: it only asks the kernel for the route.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def free_port(wanted: int) -> int:
    """`wanted` if nobody listens there, else any free one."""
    for candidate in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SettingsError("no free TCP port on this machine")


def require_own(where: places.Places) -> None:
    """Another user's cluster runs in that user's folders: to look for it in one's own would call it stopped."""
    owner = where.cluster_file.stat().st_uid
    if os.geteuid() not in (owner, 0):
        whose = "root" if owner == 0 else f"user {owner}"
        raise SettingsError(f"the cluster in {where.data} belongs to {whose}: run this with sudo")


def require(data_dir: pathlib.Path) -> tuple[places.Places, Cluster]:
    """Of a cluster that must exist already."""
    where = places.of(data_dir)
    cluster = load(where)
    if cluster is None:
        others = ", ".join(processes.data_dirs())
        seen = f" (running: {others})" if others else ""
        raise SettingsError(
            f"no cluster in {where.data}: start one with `pinnace up`, or name its folder with --data-dir{seen}"
        )
    require_own(where)
    return where, cluster
