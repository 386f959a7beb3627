"""No pod is placed where it would take the port of a server of the node's own."""

import random

from pinnace.api import labels
from pinnace.scheduler import decide, defaults, framework, pods, volumes
from pinnace.testing import scheduling


def test_ports_of_the_node_s_own_servers_are_taken_until_they_are_elsewhere() -> None:
    node = scheduling.node("n1")
    nodes = scheduling.cluster(node)
    profile = defaults.profile(volumes.Catalog(), lambda namespace: ())

    def fits(**port: object) -> bool:
        wanted = pods.read(scheduling.pod("p", ports=[port]))
        return not isinstance(decide.Decider(profile, nodes, random.Random(1)).decide(wanted), framework.Diagnosis)

    for reserved, free in (("6443,10250", False), ("10250", True), ("6443", False), ("", True), ("x,99999999", True)):
        node["metadata"]["annotations"] = {labels.RESERVED_HOST_PORTS: reserved}
        nodes.put_node(node)
        assert fits(hostPort=6443) is free
        assert fits(hostPort=6443, hostIP="127.0.0.1") is free
        assert fits(hostPort=6443, protocol="UDP")
    node["metadata"]["annotations"] = {labels.RESERVED_HOST_PORTS: "6443"}
    nodes.put_node(node)
    nodes.remove_node("n1")
    del node["metadata"]["annotations"]
    nodes.put_node(node)
    assert fits(hostPort=6443)
