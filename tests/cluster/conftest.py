"""Clusters for the tests of this folder: one shared by those that do not break it, and one of their own for those that do."""

import os
import pathlib
import re
from collections.abc import Iterator

import pytest

from pinnace.testing import cluster as clusters
from pinnace.testing import images


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A docker-archive with busybox as `busybox:test`."""
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    images.busybox_archive(path, "busybox:test")
    return path


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, busybox_archive: pathlib.Path) -> Iterator[clusters.Cluster]:
    """A cluster with a node for the tests that do not break it. What it leaves behind fails the run."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = clusters.Cluster(tmp_path_factory.mktemp("cluster") / "data", clusters.free_port())
    try:
        found.up()
        found.pinnace("image", "load", str(busybox_archive))
        yield found
    finally:
        found.pinnace("down", "--purge", check=False)
    clusters.assert_no_traces(found.data)


@pytest.fixture
def own_cluster(tmp_path: pathlib.Path, busybox_archive: pathlib.Path) -> Iterator[clusters.Cluster]:
    """A cluster for one test that breaks things."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = clusters.Cluster(tmp_path / "data", clusters.free_port())
    try:
        found.up()
        found.pinnace("image", "load", str(busybox_archive))
        yield found
    finally:
        found.pinnace("down", "--purge", check=False)
    clusters.assert_no_traces(found.data)


@pytest.fixture
def namespace(cluster: clusters.Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50]
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=true", "--timeout=60s")
