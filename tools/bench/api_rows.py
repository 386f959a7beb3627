"""Rows of the API alone: a control plane without a node, load from wrk over TLS."""

import json
from typing import Any

import clusters
import rows
import wrk

from pinnace.testing.cluster import Cluster

LISTED_PODS = 1000


def measure(report: rows.Report, seconds: int) -> None:
    with clusters.running("--no-node") as cluster:
        server = clusters.component_pids(cluster)["server"]
        token = clusters.admin_token(cluster)
        base = f"https://127.0.0.1:{cluster.port}"
        pods = base + "/api/v1/namespaces/{}/pods"
        for name in ("writes", "lists"):
            cluster.kubectl("create", "namespace", name)
        idle = clusters.pss_bytes([server])

        def load(row: str, cost: str, url: str, **how: Any) -> wrk.Result:
            before = clusters.cpu_seconds([server])
            result = wrk.run(url, token, **how)
            spent = clusters.cpu_seconds([server]) - before
            report.add(row, str(result))
            if cost:
                report.add(cost, f"{1000 * spent / max(1, result.requests):.3f} ms")
            return result

        writes = pods.format("writes")
        load("P1", "CPU-create", writes, clients=32, seconds=seconds, script="create.lua", arguments=("w",))
        stored = _count(cluster, "writes")
        if stored:
            growth = clusters.pss_bytes([server]) - idle
            report.add("P8-pods", f"{growth / 1e6 / stored * 1000:.1f} MB ({stored} pods)")
        change = {"clients": 16, "script": "change.lua"}
        patches = ("PATCH", "w", str(min(stored, 1000)))
        load("P1b-patch", "CPU-patch", writes, seconds=seconds, arguments=patches, **change)
        deleting = max(1, min(seconds, stored // 6000))
        load("P1b-delete", "CPU-delete", writes, seconds=deleting, arguments=("DELETE", "w", "0"), **change)
        fill(cluster, LISTED_PODS)
        lists = pods.format("lists")
        load("P2", "CPU-get", f"{lists}/l-1", clients=16, seconds=seconds)
        before = clusters.pss_bytes([server])
        load("P3", "CPU-list", lists, clients=4, seconds=seconds)
        load("P3-label", "", f"{lists}?labelSelector=group%3Dg1", clients=4, seconds=seconds)
        report.add("P3-memory", f"{max(0, clusters.pss_bytes([server]) - before) / 2**20:.1f} MiB")


def fill(cluster: Cluster, count: int) -> None:
    """`count` pods of about 5 kB as l-1 … in the namespace `lists`."""
    padding = "x" * 3000
    items = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"l-{index}",
                "labels": {"app": "bench", "group": f"g{index % 10}"},
                "annotations": {"note": padding},
            },
            "spec": {"nodeSelector": {"bench": "none"}, "containers": [{"name": "c", "image": "busybox"}]},
        }
        for index in range(1, count + 1)
    ]
    cluster.kubectl(
        "-n", "lists", "create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


def _count(cluster: Cluster, namespace: str) -> int:
    page = json.loads(cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods?limit=1").stdout)
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))
