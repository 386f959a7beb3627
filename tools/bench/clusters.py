"""A cluster for measuring: started in a temporary folder, ended and deleted afterwards."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator

from pinnace.testing import cluster as clusters


@contextlib.contextmanager
def running(*options: str) -> Iterator[clusters.Cluster]:
    with tempfile.TemporaryDirectory(prefix="pinnace-bench-", ignore_cleanup_errors=True) as folder:
        cluster = clusters.Cluster(pathlib.Path(folder) / "data", clusters.free_port())
        try:
            cluster.up(*options)
            yield cluster
        finally:
            cluster.pinnace("down", "--purge", check=False)


def admin_token(cluster: clusters.Cluster) -> str:
    """wrk shows no client certificate, so it gets the token of an account that may do everything."""
    cluster.kubectl("-n", "default", "create", "serviceaccount", "bench")
    cluster.kubectl(
        "create", "clusterrolebinding", "bench", "--clusterrole=cluster-admin", "--serviceaccount=default:bench"
    )
    return cluster.kubectl("-n", "default", "create", "token", "bench", "--duration=1h").stdout.strip()


def pss_bytes(pids: list[int]) -> int:
    """Proportional set size: memory shared with others counts by its share."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pids: list[int]) -> float:
    """Of all their threads, in user and in system mode (proc_pid_stat(5), fields 14 and 15)."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def component_pids(cluster: clusters.Cluster) -> dict[str, int]:
    status = json.loads(cluster.pinnace("status", "--output", "json", check=False).stdout)
    return {component["name"]: component["pid"] for component in status if component["pid"]}
