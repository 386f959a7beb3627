"""Rows of a whole cluster: start-up, pod starts, memory."""

import concurrent.futures
import contextlib
import io
import json
import pathlib
import statistics
import tempfile
import threading
import time

import clusters
import kubernetes
import rows
import urllib3

from pinnace.testing import cluster as harness
from pinnace.testing import images

IMAGE = "busybox:bench"
STARTS = 30


def measure(report: rows.Report) -> None:
    with tempfile.TemporaryDirectory(prefix="pinnace-bench-") as folder:
        archive = pathlib.Path(folder) / "busybox.tar"
        images.busybox_archive(archive, IMAGE)
        with clusters.running() as cluster:
            cluster.pinnace("image", "load", str(archive))
            time.sleep(5)  # idle means idle
            pids = clusters.component_pids(cluster)
            parts = {name: clusters.pss_bytes([pid]) / 1e6 for name, pid in pids.items()}
            shown = ", ".join(f"{name} {size:.0f}" for name, size in parts.items())
            report.add("P8", f"{sum(parts.values()):.0f} MB ({shown})")
            starts = Starts(cluster)
            times = [starts.one(f"s{index}") for index in range(STARTS)]
            report.add(
                "P6", f"p50 {statistics.median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f} ms of {STARTS}"
            )
            starts.clear()
            report.add("P7-50", f"{starts.many('m', 50):.2f} s")
            starts.clear()
            report.add("P7-100", f"{starts.many('n', 100):.2f} s")
            starts.clear()  # the next start is that of a cluster without work
            starts.close()
            cluster.pinnace("down")
            began = time.monotonic()
            cluster.up()
            report.add("P9-ready", f"{time.monotonic() - began:.2f} s")
            cluster.pinnace("down")
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                starting = pool.submit(cluster.up)
                first_running(cluster)
                report.add("P9-pod", f"{time.monotonic() - began:.2f} s")
                starting.result()


def first_running(cluster: harness.Cluster) -> None:
    """Create a pod as soon as the API answers and wait until it runs; in this process, as each kubectl would take a share of the start."""
    settings = kubernetes.client.Configuration()
    settings.retries = False
    kubernetes.config.load_kube_config(str(cluster.kubeconfig), client_configuration=settings)
    api = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(settings))
    while True:
        try:
            api.create_namespaced_pod("default", pod("first"))
            break
        except (urllib3.exceptions.HTTPError, kubernetes.client.ApiException):  # not there, or not ready, yet
            time.sleep(0.01)
    while api.read_namespaced_pod("first", "default").status.phase != "Running":
        time.sleep(0.01)


def pod(name: str) -> dict[str, object]:
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "1000000"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


class Starts:
    """Creates pods with the official client and sees them run by a watch, whose lines are read with little work of our own."""

    def __init__(self, cluster: harness.Cluster) -> None:
        self._api = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(cluster.kubeconfig)))
        self._running: set[str] = set()
        self._changed = threading.Condition()
        self._events = self._api.list_namespaced_pod("default", watch=True, _preload_content=False)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        lines = io.TextIOWrapper(self._events, encoding="utf-8")
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # the connection has been shut down
            for line in lines:
                event = json.loads(line)
                with self._changed:
                    name = event["object"]["metadata"]["name"]
                    if event["type"] == "DELETED":
                        self._running.discard(name)
                    elif event["object"]["status"].get("phase") == "Running":
                        self._running.add(name)
                    self._changed.notify_all()

    def one(self, name: str) -> float:
        began = time.monotonic()
        self._api.create_namespaced_pod("default", pod(name))
        self._wait(lambda: name in self._running)
        return time.monotonic() - began

    def many(self, prefix: str, count: int) -> float:
        names = {f"{prefix}{index}" for index in range(count)}
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._api.create_namespaced_pod("default", pod(name)), names))
        self._wait(lambda: names <= self._running)
        return time.monotonic() - began

    def clear(self) -> None:
        self._api.delete_collection_namespaced_pod("default", grace_period_seconds=0)
        self._wait(lambda: not self._running)

    def close(self) -> None:
        self._events.shutdown()
        self._thread.join()

    def _wait(self, condition) -> None:  # type: ignore[no-untyped-def]
        with self._changed:
            if not self._changed.wait_for(condition, timeout=120):
                raise TimeoutError("pods did not get there within 120 s")
