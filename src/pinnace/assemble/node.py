"""The node process: kubelet, proxy, DNS and engine. Root.

    python -m pinnace.assemble.node DATA_DIR

Runs in a mount namespace of its own (see docs/architecture.md), entered before anything makes a thread.
"""

import contextlib
import functools
import ipaddress
import logging
import pathlib
import random
import sys

from pinnace.api import resources
from pinnace.assemble import connect, machine, node_control, places, process, settings
from pinnace.client import client, events, informer
from pinnace.dns import cluster_view, figures_endpoint
from pinnace.dns import server as dns
from pinnace.kernel import namespaces
from pinnace.kit import backoff, clock, tasks
from pinnace.kubelet import agent
from pinnace.kubelet import settings as kubelet_settings
from pinnace.kubelet.endpoint import server
from pinnace.net import base_table, bridge, host_ports
from pinnace.proxy import claims, plan
from pinnace.proxy import loop as proxy
from pinnace.web import server as web_server
from pinnace.web import tls

log = logging.getLogger(__name__)

STOP_SECONDS = 3.0
RETRY = backoff.Backoff(first=0.01, limit=1.0, factor=1.15)
"""Grows slowly: node and server start together, and what is slept beyond the server's first answer is a later first pod."""


async def run(where: places.Places, cluster: settings.Cluster) -> None:
    time = clock.SystemClock()
    api = connect.over_tls(where.pki, cluster.url, "node", user_agent="kubelet")
    proxy_api = connect.over_tls(where.pki, cluster.url, "proxy", user_agent="kube-proxy")
    dns_api = connect.over_tls(where.pki, cluster.url, "dns", user_agent="coredns")
    engine = machine.engine(where, cluster, time)
    await engine.open()
    table = base_table.BaseTable(machine.table(cluster))
    ports_of_pods = host_ports.HostPorts()
    node_range = await pod_range(api, cluster, time)
    await table.open()
    network = bridge.BridgeNetwork(machine.network(where, cluster, node_range), table, ports_of_pods, time)
    await network.open()
    recorder = events.EventRecorder(api, "kubelet", time, host=cluster.node_name)
    volumes_api = connect.over_tls(where.pki, cluster.url, "volumes", user_agent="kubelet")
    kubelet = agent.Kubelet(
        api, engine, network, time, node_settings(where, cluster), recorder, volumes_api=volumes_api
    )
    control = web_server.HttpServer(node_control.handler(engine.images), time=time)
    listener = web_server.HttpServer(server.handler(kubelet, api), time=time)
    names: dns.DnsServer | None = None
    figures: web_server.HttpServer | None = None
    try:
        async with tasks.Supervisor(time) as supervisor:
            supervisor.start("rules of the network", functools.partial(table.watch, time))
            names = start_services(supervisor, proxy_api, dns_api, table, ports_of_pods, cluster, time)
            figures = web_server.HttpServer(figures_endpoint.handler(names.expose), time=time)
            await names.start(cluster.cluster_dns, dns.PORT)
            await start_figures(figures, cluster)
            context = tls.server_context(
                where.pki / "node.crt", where.pki / "node.key", client_authority=where.pki / "ca.crt"
            )
            await listener.start("", cluster.kubelet_port, context)
            await control.start_unix(node_control.socket_of(where))
            supervisor.start("kubelet events", recorder.run)
            supervisor.start("kubelet", kubelet.run)
            process.settle_memory()
            supervisor.start("memory", process.keep_memory_small)
            await process.stop_requested()
    finally:
        if names is not None:
            await names.stop()
        if figures is not None:
            await figures.stop(STOP_SECONDS)
        await listener.stop(STOP_SECONDS)
        await control.stop(STOP_SECONDS)
        await engine.close()
        await network.close()
        await table.close()
        await volumes_api.close()
        await dns_api.close()
        await proxy_api.close()
        await api.close()


def node_settings(where: places.Places, cluster: settings.Cluster) -> kubelet_settings.Settings:
    return kubelet_settings.Settings(
        node_name=cluster.node_name,
        node_ip=cluster.node_ip,
        data_dir=where.engine.parent,
        logs_dir=where.logs / "pods",
        cluster_dns=(cluster.cluster_dns,),
        cluster_domain=cluster.cluster_domain,
        port=cluster.kubelet_port,
        reserved_host_ports=(cluster.port,),
    )


async def pod_range(api: client.Client, cluster: settings.Cluster, time: clock.Clock) -> ipaddress.IPv4Network:
    """The node's part of the pod range, as the node-ipam controller assigned it. Registers the Node where it is not there yet."""
    failures = 0
    told = ""
    while True:
        try:
            node = await api.get(resources.NODES, None, cluster.node_name)
            assigned = node.get("spec", {}).get("podCIDR")
            if assigned:
                return ipaddress.IPv4Network(assigned)
        except client.NotFound:
            await register(api, cluster)
        except client.Unavailable as error:
            if str(error) != told:
                told = str(error)
                log.info("the API is not there yet: %s", told)
        await time.sleep(RETRY.delay(failures))
        failures += 1


async def register(api: client.Client, cluster: settings.Cluster) -> None:
    labels = {"kubernetes.io/hostname": cluster.node_name, "kubernetes.io/os": "linux"}
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": cluster.node_name, "labels": labels},
        "spec": {"taints": [taint]},
    }
    with contextlib.suppress(client.AlreadyExists):
        await api.create(resources.NODES, None, node)


def start_services(
    supervisor: tasks.Supervisor,
    api: client.Client,
    dns_api: client.Client,
    table: base_table.BaseTable,
    ports_of_pods: host_ports.HostPorts,
    cluster: settings.Cluster,
    time: clock.Clock,
) -> dns.DnsServer:
    """Proxy and DNS over one set of informers; DNS alone looks at namespaces."""
    services = informer.Informer(api, resources.SERVICES, time)
    slices = informer.Informer(api, resources.ENDPOINT_SLICES, time)
    services.add_index(cluster_view.BY_CLUSTER_IP, cluster_view.cluster_ips)
    slices.add_index(cluster_view.BY_ENDPOINT, cluster_view.endpoint_addresses)
    slices.add_index(proxy.BY_SERVICE, proxy.service_of_slice)
    namespaces_known = informer.Informer(dns_api, resources.NAMESPACES, time)
    view = cluster_view.ClusterView(services, slices, namespaces_known)
    here = proxy.Node(cluster.node_name, cluster.table, reserved_fronts(cluster))
    recorder = events.EventRecorder(api, "kube-proxy", time, host=cluster.node_name)
    rules_loop = proxy.Proxy(services, slices, ports_of_pods, here, time, recorder.warning)
    table.on_restored(rules_loop.write_anew)
    supervisor.start("services informer", services.run)
    supervisor.start("endpoint slices informer", slices.run)
    supervisor.start("namespaces informer", namespaces_known.run)
    supervisor.start("proxy events", recorder.run)
    supervisor.start("proxy", rules_loop.run)
    upstreams = dns.upstreams_of(pathlib.Path("/etc/resolv.conf"), cluster.cluster_dns)
    return dns.DnsServer(cluster.cluster_domain, view, upstreams, random.Random())  # noqa: S311 - the order of addresses


async def start_figures(figures: web_server.HttpServer, cluster: settings.Cluster) -> None:
    """Names do not depend on it: another program of the machine may have the port on every address."""
    try:
        await figures.start(cluster.cluster_dns, figures_endpoint.PORT)
    except OSError as error:
        log.warning("the figures of the DNS server are not served: %s", error)


def reserved_fronts(cluster: settings.Cluster) -> claims.Reserved:
    return claims.Reserved(
        ranges=(ipaddress.IPv4Network(cluster.pod_cidr), ipaddress.IPv4Network(cluster.service_cidr)),
        node_addresses=frozenset({cluster.node_ip}),
        node_ports=frozenset((plan.PROTOCOLS["TCP"], port) for port in (cluster.port, cluster.kubelet_port)),
    )


def main() -> None:
    where, cluster = settings.require(pathlib.Path(sys.argv[1]))
    namespaces.enter_or_create_mount_namespace(where.mount_namespace)
    process.run(lambda: run(where, cluster), where.log_of("node"), cluster.log_level)


if __name__ == "__main__":
    main()
