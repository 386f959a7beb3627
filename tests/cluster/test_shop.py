"""The sample application as its README tells to run it: nginx, a Python API and PostgreSQL, real servers from Debian's packages."""

import json
import pathlib
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

SHOP = pathlib.Path(__file__).parents[2] / "examples" / "shop"
COMPASS = 4


class Shop:
    """The shop through its front door."""

    def __init__(self, cluster: clusters.Cluster) -> None:
        self.cluster = cluster
        (port,) = cluster.get("service", "web", "--namespace", "shop")["spec"]["ports"]
        self.url = f"http://localhost:{port['nodePort']}"

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", "shop", *arguments).stdout

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def wait_answers(self, seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self.ask("/api/state")
            except OSError:
                assert time.monotonic() < deadline, self.kubectl("get", "pods,pvc,events", "-o", "wide")
                time.sleep(0.2)


@pytest.fixture(scope="module")
def shop(cluster: clusters.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    archives = tmp_path_factory.mktemp("shop")
    command = [sys.executable, "-m", "pinnace.cli.main", "image", "build-base", "-q"]
    built = clusters.run([*command, "-f", str(SHOP / "images.yaml"), "-o", str(archives)], check=True, timeout=300)
    cluster.pinnace("image", "load", "-q", *built.stdout.split())
    cluster.kubectl("apply", "-f", str(SHOP / "manifests"))
    for what in ("statefulset/db", "deployment/api", "deployment/web"):
        cluster.kubectl("--namespace", "shop", "rollout", "status", what, "--timeout=90s")
    found = Shop(cluster)
    found.wait_answers()
    yield found
    cluster.kubectl("delete", "namespace", "shop", "--timeout=60s")


def test_the_page_comes_from_nginx_and_its_rows_from_postgresql(shop: Shop) -> None:
    with urllib.request.urlopen(shop.url, timeout=10) as answer:
        assert answer.headers["Server"] == "nginx"
        assert answer.headers["X-Web-Pod"].startswith("web-")
        assert b"The chandlery" in answer.read()
    state = shop.ask("/api/state")
    assert len(state["items"]) == 8
    assert state["pod"].startswith("api-")
    assert state["database"]["version"].startswith("15.")


def test_rows_outlive_the_database_s_pod(shop: Shop) -> None:
    shop.ask("/api/visit", "POST")
    before = shop.ask(f"/api/buy/{COMPASS}", "POST")
    shop.kubectl("delete", "pod", "db-0", "--timeout=60s")
    shop.kubectl("rollout", "status", "statefulset/db", "--timeout=90s")
    after = shop.wait_answers()
    assert after["database"]["started"] > before["database"]["started"]
    for kept in ("visits", "items", "orders"):
        assert after[kept] == before[kept]


def test_loading_again_changes_nothing(shop: Shop) -> None:
    before = shop.ask("/api/state")
    shop.kubectl("delete", "job", "load")
    shop.cluster.kubectl("apply", "-f", str(SHOP / "manifests"))
    shop.kubectl("wait", "--for=condition=complete", "job/load", "--timeout=60s")
    assert "0 of 8 items added" in shop.kubectl("logs", "job/load")
    assert shop.ask("/api/state")["items"] == before["items"]


def test_nothing_of_the_shop_runs_as_root(shop: Shop) -> None:
    for pod in ("statefulset/db", "deployment/api", "deployment/web"):
        assert shop.kubectl("exec", pod, "--", "id", "-u").strip() not in ("", "0")
