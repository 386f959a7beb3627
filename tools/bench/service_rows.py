"""Rows of the data plane: Services in the kernel's maps, in a network namespace of the benchmark's own; and the cluster's names."""

import asyncio
import ipaddress
import multiprocessing
import random
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from typing import Any

import rows

from pinnace.assemble import process
from pinnace.client import cache
from pinnace.dns import cluster_view, server
from pinnace.kernel import namespaces, nftables
from pinnace.kit import clock
from pinnace.net import host_ports, rules
from pinnace.proxy import loop

SERVICES = 10_000
ENDPOINTS = 5
CHANGES = 300
NAMES = 1000
DNS_PORT = 15353
PRIVATE = rules.TableSettings(
    "pinnace-bench", "pnbench", ipaddress.IPv4Network("10.200.0.0/16"), ipaddress.IPv4Network("10.201.0.0/16")
)

Object = dict[str, Any]


class Store(cache.Cache):
    """An informer that is told what happens."""

    is_synced = True

    def __init__(self) -> None:
        super().__init__()
        self._handlers: list[Any] = []

    def add_handler(self, handler: Any) -> None:
        self._handlers.append(handler)

    async def wait_synced(self) -> None:
        return None

    def put(self, obj: Object) -> None:
        old = self.set(cache.key_of(obj), obj)
        for handler in self._handlers:
            handler(old, obj)


def service(index: int) -> Object:
    address = str(ipaddress.IPv4Address(int(PRIVATE.service_cidr[1]) + index))
    spec = {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    return {"metadata": {"namespace": "default", "name": f"service-{index}"}, "spec": spec}


def piece(index: int, shift: int = 0) -> Object:
    first = int(PRIVATE.pod_cidr[2]) + index * ENDPOINTS + shift
    endpoints = [
        {"addresses": [str(ipaddress.IPv4Address(first + offset))], "conditions": {"ready": True}}
        for offset in range(ENDPOINTS)
    ]
    name = f"service-{index}"
    return {
        "metadata": {"namespace": "default", "name": f"{name}-x", "labels": {loop.SERVICE_NAME_LABEL: name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


class Written:
    """A data plane that says when a transaction is in the kernel."""

    def __init__(self, inner: Any, wake: Any) -> None:
        self._inner = inner
        self._wake = wake

    def make_chains(self, picks: Any) -> None:
        self._inner.make_chains(picks)

    def write(self, changes: Any) -> None:
        self._inner.write(changes)
        self._wake()

    def forget_udp(self, fronts: Any) -> None:
        self._inner.forget_udp(fronts)


async def _proxy() -> dict[str, Any]:
    services, slices = Store(), Store()
    slices.add_index(loop.BY_SERVICE, loop.service_of_slice)
    for index in range(SERVICES):
        services.put(service(index))
        slices.put(piece(index))
    running = asyncio.get_running_loop()
    written = asyncio.Event()

    def wake() -> None:
        running.call_soon_threadsafe(written.set)

    def make(table: str) -> Written:
        return Written(loop.dataplane.Kernel.open(table), wake)

    here = loop.Node("node", PRIVATE.table)
    proxy = loop.Proxy(services, slices, host_ports.HostPorts(), here, clock.SystemClock(), print, make)  # type: ignore[arg-type]
    worst = [0.0]
    watching = asyncio.create_task(_watch_loop(worst))
    began = time.perf_counter()
    task = asyncio.create_task(proxy.run())
    await written.wait()
    full = time.perf_counter() - began
    watching.cancel()
    times = []
    for number in range(CHANGES):
        await asyncio.sleep(0.003)
        written.clear()
        began = time.perf_counter()
        slices.put(piece(number * 31 % SERVICES, shift=1 + number % 7))
        await written.wait()
        times.append(time.perf_counter() - began)
    task.cancel()
    return {"full": full, "blocked": worst[0], "times": sorted(times)}


async def _watch_loop(worst: list[float]) -> None:
    """How long the event loop was kept from its other tasks."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        worst[0] = max(worst[0], time.perf_counter() - before - 0.001)


def _in_namespace(answers: Any) -> None:
    namespaces.unshare(namespaces.FLAGS["net"])
    nftables.Nftables().run(rules.base_table(PRIVATE))
    process.settle_memory()
    answers.put(asyncio.run(_proxy()))


def measure(report: rows.Report, seconds: int) -> None:
    if report.wants("P10"):
        measure_proxy(report)
    if report.wants("P11") and shutil.which("dnsperf") is None:
        report.add("P11", "not measured: apt-get install dnsperf")
    elif report.wants("P11"):
        measure_names(report, seconds)


def measure_proxy(report: rows.Report) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_in_namespace, args=(answers,))
    child.start()
    found = answers.get(timeout=120)
    child.join()
    times = found["times"]
    report.add("P10-full", f"{found['full']:.2f} s (event loop held {found['blocked'] * 1000:.0f} ms)")
    report.add(
        "P10",
        f"p50 {statistics.median(times) * 1000:.1f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.1f} ms",
    )


def _serve_names(ready: Any, stop: Any, answers: Any) -> None:
    async def main() -> None:
        services, slices = Store(), Store()
        slices.add_index(cluster_view.BY_SERVICE, loop.service_of_slice)
        view = cluster_view.ClusterView(services, slices, Store())  # type: ignore[arg-type]
        for index in range(NAMES):
            services.put(service(index))
        names = server.DnsServer("cluster.local", view, [], random.Random(0))
        await names.start("127.0.0.1", DNS_PORT)
        process.settle_memory()
        before = resource.getrusage(resource.RUSAGE_SELF)
        ready.set()
        await asyncio.to_thread(stop.wait)
        after = resource.getrusage(resource.RUSAGE_SELF)
        answers.put(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        await names.stop()

    asyncio.run(main())


def measure_names(report: rows.Report, seconds: int) -> None:
    """`dnsperf` asks for NAMES Services in turn, half of the questions for AAAA as clients do."""
    context = multiprocessing.get_context("spawn")
    ready, stop, answers = context.Event(), context.Event(), context.Queue()
    child = context.Process(target=_serve_names, args=(ready, stop, answers))
    child.start()
    ready.wait(60)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as questions:
        for index in range(NAMES):
            for kind in ("A", "AAAA"):
                questions.write(f"service-{index}.default.svc.cluster.local {kind}\n")
        questions.flush()
        arguments = ["-s", "127.0.0.1", "-p", str(DNS_PORT), "-d", questions.name, "-l", str(seconds), "-c", "8"]
        shown = subprocess.run(["dnsperf", *arguments], check=True, capture_output=True, text=True).stdout
    stop.set()
    burnt = answers.get(timeout=60)
    child.join()
    completed = int(re.search(r"Queries completed:\s+(\d+)", shown).group(1))  # type: ignore[union-attr]
    lost = int(re.search(r"Queries lost:\s+(\d+)", shown).group(1))  # type: ignore[union-attr]
    report.add("P11", f"{completed / burnt:,.0f} ({completed / seconds:,.0f}/s served, {lost} lost)")
