"""One suite for every cluster, seen from outside alone: through its socket, with the official Python client.

    PINNACE_TARGET=in-process            (the default) `pinnace.testing` in this process
    PINNACE_TARGET=processes             `pinnace up` with real containers; root
    PINNACE_TARGET=/path/to/kubeconfig   any cluster, upstream's too

`PINNACE_TARGET_IMAGE` names an image with a shell for targets that execute containers. One small file per behaviour; each test's first words name the
sentence of the specification that it proves.
"""

import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import pytest

from pinnace import testing
from pinnace.testing import cluster as clusters
from pinnace.testing import images

TARGET = os.environ.get("PINNACE_TARGET", "in-process")
SECONDS = 60.0


class Target:
    """A cluster from outside."""

    def __init__(self, kubeconfig: str, image: str) -> None:
        self.image = image
        self.connection = kubernetes.config.new_client_from_config(kubeconfig)
        self.core = kubernetes.client.CoreV1Api(self.connection)
        self.apps = kubernetes.client.AppsV1Api(self.connection)
        self.batch = kubernetes.client.BatchV1Api(self.connection)

    def wait(self, find: Callable[[], Any], seconds: float = SECONDS) -> Any:
        """What `find` finds as soon as that is something."""
        deadline = time.monotonic() + seconds
        while not (found := find()):
            assert time.monotonic() < deadline, f"still not so after {seconds:g} seconds"
            time.sleep(0.05)  # another process's work, of which nothing tells
        return found

    def pod(self, name: str, script: str, **spec: Any) -> dict[str, Any]:
        container = {"name": "main", "image": self.image, "command": ["sh", "-c", script], **spec.pop("container", {})}
        return {"metadata": {"name": name}, "spec": {"containers": [container], "restartPolicy": "Never", **spec}}

    def run(self, namespace: str, name: str, script: str, **spec: Any) -> Any:
        """The pod once it has ended."""
        self.core.create_namespaced_pod(namespace, self.pod(name, script, **spec))

        def ended() -> Any:
            pod = self.core.read_namespaced_pod(name, namespace)
            return pod if pod.status.phase in ("Succeeded", "Failed") else None

        return self.wait(ended)


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if TARGET == "in-process":
        with testing.BlockingCluster(nodes=2) as cluster:
            yield from _connected(cluster.kubeconfig, "app:1")
    elif TARGET == "processes":
        yield from _processes(tmp_path_factory)
    else:
        yield from _connected(TARGET, os.environ.get("PINNACE_TARGET_IMAGE", "busybox"))


def _connected(kubeconfig: str, image: str) -> Iterator[Target]:
    found = Target(kubeconfig, image)
    with found.connection:
        yield found


def _processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    folder: pathlib.Path = tmp_path_factory.mktemp("blackbox")
    cluster = clusters.Cluster(folder / "data", clusters.free_port())
    images.busybox_archive(folder / "busybox.tar", "busybox:test")
    try:
        cluster.up()
        cluster.pinnace("image", "load", str(folder / "busybox.tar"))
        yield from _connected(str(cluster.kubeconfig), "busybox:test")
    finally:
        cluster.pinnace("down", "--purge", check=False)


@pytest.fixture
def namespace(target: Target, request: pytest.FixtureRequest) -> Iterator[str]:
    """Of the test's own, deleted afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].strip("-")
    target.core.create_namespace({"metadata": {"name": name}})
    yield name
    target.core.delete_namespace(name)
