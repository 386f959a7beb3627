"""pytest's entry point: the fixtures `pinnace_cluster` (a fresh one for each test) and `pinnace_shared_cluster` (one for the session).

    @pytest.mark.pinnace(nodes=3)
    def test_it(pinnace_cluster): ...

The marker's arguments are those of `pinnace.testing.BlockingCluster`. Loading this module costs nothing: the cluster's own modules are
loaded by the first test that asks for one.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pinnace import testing

if TYPE_CHECKING:
    from pinnace.testing import blocking


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "pinnace(nodes, seed, jumps): what the cluster of the fixture pinnace_cluster is like"
    )


@pytest.fixture
def pinnace_cluster(request: pytest.FixtureRequest) -> "Iterator[blocking.Cluster]":
    """A Kubernetes cluster in this process, for this test alone."""
    marker = request.node.get_closest_marker("pinnace")
    with testing.BlockingCluster(**(marker.kwargs if marker is not None else {})) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pinnace_shared_cluster() -> "Iterator[blocking.Cluster]":
    """One cluster for all tests that ask for it: each should keep to a namespace of its own."""
    with testing.BlockingCluster() as cluster:
        yield cluster
