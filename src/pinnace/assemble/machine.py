"""What the node and its taking down both have of the machine: the engine and the network of one cluster."""

import ipaddress

from pinnace.assemble import places, registry_files, settings
from pinnace.engine import engine as engines
from pinnace.kit import clock
from pinnace.net import bridge, rules


def engine(where: places.Places, cluster: settings.Cluster, time: clock.Clock) -> engines.Engine:
    return engines.Engine(
        where.engine,
        where.run,
        cluster.cgroup,
        time,
        registry_files.of_cluster(where),
        registry_files.docker_config,
        keep_layer_blobs=not cluster.discard_unpacked_layers,
    )


def table(cluster: settings.Cluster) -> rules.TableSettings:
    return rules.TableSettings(
        cluster.table,
        cluster.bridge,
        ipaddress.IPv4Network(cluster.pod_cidr),
        ipaddress.IPv4Network(cluster.service_cidr),
        reserved_ports=(cluster.port, cluster.kubelet_port),
    )


def network(where: places.Places, cluster: settings.Cluster, node_range: ipaddress.IPv4Network) -> bridge.Settings:
    return bridge.Settings(
        node_range,
        ipaddress.IPv4Address(cluster.cluster_dns),
        where.network_state,
        node_address=ipaddress.IPv4Address(cluster.node_ip),
    )
