"""Clusters in a test's own process, fakes, one virtual time, contract suites. Nothing imports it but tests.

`from pinnace.testing import Cluster` is the beginning (docs/testing-with-pinnace.md); the names below are loaded when they are first used, so
that the pytest plug-in costs nothing where nobody asks for a cluster.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pinnace.testing.behaviour import Behaviour as Behaviour
    from pinnace.testing.blocking import Cluster as BlockingCluster
    from pinnace.testing.local_cluster import Cluster as Cluster
    from pinnace.testing.local_cluster import NotSo as NotSo
    from pinnace.testing.local_cluster import run as run
    from pinnace.testing.simulated_node import NodeSpec as NodeSpec

__all__ = ["Behaviour", "BlockingCluster", "Cluster", "NodeSpec", "NotSo", "run"]

_WHERE = {
    "Behaviour": ("behaviour", "Behaviour"),
    "BlockingCluster": ("blocking", "Cluster"),
    "Cluster": ("local_cluster", "Cluster"),
    "NodeSpec": ("simulated_node", "NodeSpec"),
    "NotSo": ("local_cluster", "NotSo"),
    "run": ("local_cluster", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
