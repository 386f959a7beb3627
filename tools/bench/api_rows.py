"""Rows of the API alone: a control plane without a node, load from wrk over TLS."""

import json

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
        created = wrk.run(
            pods.format("writes"), token, clients=32, seconds=seconds, script="create.lua", arguments=("w",)
        )
        report.add("P1", str(created))
        stored = _count(cluster, "writes")
        if stored:
            growth = clusters.pss_bytes([server]) - idle
            report.add("P8-pods", f"{growth / 1e6 / stored * 1000:.1f} MB ({stored} pods)")
        target = pods.format("writes")
        patched = wrk.run(
            target,
            token,
            clients=16,
            seconds=seconds,
            script="change.lua",
            arguments=("PATCH", "w", str(min(stored, 1000))),
        )
        report.add("P1b-patch", str(patched))
        deleting = max(1, min(seconds, stored // 6000))
        deleted = wrk.run(
            target, token, clients=16, seconds=deleting, script="change.lua", arguments=("DELETE", "w", "0")
        )
        report.add("P1b-delete", str(deleted))
        fill(cluster, LISTED_PODS)
        one = wrk.run(pods.format("lists") + "/l-1", token, clients=16, seconds=seconds)
        report.add("P2", str(one))
        before = clusters.pss_bytes([server])
        report.add("P3", str(wrk.run(pods.format("lists"), token, clients=4, seconds=seconds)))
        label = pods.format("lists") + "?labelSelector=group%3Dg1"
        report.add("P3-label", str(wrk.run(label, token, clients=4, seconds=seconds)))
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
