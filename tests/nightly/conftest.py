"""Clusters for the campaigns, each of its own: campaigns break things."""

import os
import pathlib
from collections.abc import Iterator

import pytest

from pinnace.testing import cluster as clusters
from pinnace.testing import images


@pytest.fixture
def control_plane(tmp_path: pathlib.Path) -> Iterator[clusters.Cluster]:
    """No node."""
    found = clusters.Cluster(tmp_path / "data", clusters.free_port())
    try:
        found.up("--no-node")
        yield found
    finally:
        found.pinnace("down", "--purge", check=False)
    clusters.assert_no_traces(found.data)


@pytest.fixture
def node_cluster(tmp_path: pathlib.Path) -> Iterator[clusters.Cluster]:
    """With a node and `busybox:test`."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = clusters.Cluster(tmp_path / "data", clusters.free_port())
    archive = tmp_path / "busybox.tar"
    images.busybox_archive(archive, "busybox:test")
    try:
        found.up()
        found.pinnace("image", "load", str(archive))
        yield found
    finally:
        found.pinnace("down", "--purge", check=False)
    clusters.assert_no_traces(found.data)
