"""Nodes and the pods on them, and what stands behind Services, against the real API server under virtual time."""

import asyncio
from typing import Any

from pinnace.api import resources
from pinnace.controllers import manager
from pinnace.testing import control_plane

Object = dict[str, Any]


class Silent(control_plane.Node):
    """A node that registers, runs pods, and is never heard of again."""

    async def _beat(self) -> None:
        await asyncio.Event().wait()


async def taints(plane: control_plane.ControlPlane, name: str) -> set[tuple[str, str]]:
    node = await plane.get(resources.NODES, name)
    return {(each["key"], each["effect"]) for each in node["spec"].get("taints") or ()}


def test_each_node_gets_a_range_of_its_own() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        for number in range(5):
            await plane.create(resources.NODES, {"metadata": {"name": f"n{number}"}})
        await asyncio.sleep(2)
        ranges = [node["spec"]["podCIDR"] for node in await plane.list(resources.NODES)]
        assert sorted(ranges) == [f"10.42.{number}.0/24" for number in range(5)]

    control_plane.run(test, node=None, settings=manager.Settings(cluster_cidr="10.42.0.0/16"))


def test_a_silent_node_is_marked_and_its_pods_move_off_after_their_toleration() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NODES, {"metadata": {"name": "other"}})
        other = control_plane.Node(plane, name="other")

        async def beat() -> None:
            while True:
                await other.report(ready=True)
                await asyncio.sleep(10)

        beating = asyncio.create_task(beat())
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 1))
        await asyncio.sleep(30)
        (pod,) = await plane.list(resources.PODS)
        assert await taints(plane, "node") == set()
        await asyncio.sleep(30)
        node = await plane.get(resources.NODES, "node")
        ready = next(each for each in node["status"]["conditions"] if each["type"] == "Ready")
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert await taints(plane, "node") == {
            ("node.kubernetes.io/unreachable", "NoSchedule"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
        }
        again = await plane.get(resources.PODS, pod["metadata"]["name"])
        assert next(each for each in again["status"]["conditions"] if each["type"] == "Ready")["status"] == "False"
        await asyncio.sleep(270)
        assert "deletionTimestamp" not in (await plane.get(resources.PODS, pod["metadata"]["name"]))["metadata"]
        await asyncio.sleep(60)
        found = await plane.find(resources.PODS, pod["metadata"]["name"])
        assert found is None or "deletionTimestamp" in found["metadata"]
        beating.cancel()

    control_plane.run(test, node=Silent)


def test_nothing_is_sent_off_when_all_nodes_are_silent() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 1))
        await asyncio.sleep(900)
        (pod,) = await plane.list(resources.PODS)
        assert "deletionTimestamp" not in pod["metadata"]
        assert await taints(plane, "node") == {("node.kubernetes.io/unreachable", "NoSchedule")}

    control_plane.run(test, node=Silent)


def test_a_taint_that_a_pod_does_not_tolerate_ends_it_at_once() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        pod = control_plane.template("bare")
        pod["metadata"]["name"] = "bare"
        await plane.create(resources.PODS, pod)
        await asyncio.sleep(3)
        taint = {"key": "maintenance", "effect": "NoExecute"}
        await plane.patch(resources.NODES, "node", {"spec": {"taints": [taint]}})
        await asyncio.sleep(3)
        assert await plane.find(resources.PODS, "bare") is None
        events = {event["reason"] for event in await plane.list(resources.EVENTS)}
        assert "TaintManagerEviction" in events

    control_plane.run(test)


def test_pods_of_a_deleted_node_are_collected() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        pod = control_plane.template("bare")
        pod["metadata"]["name"] = "bare"
        await plane.create(resources.PODS, pod)
        await asyncio.sleep(3)
        await plane.delete(resources.NODES, "node")
        await asyncio.sleep(100)
        assert await plane.find(resources.PODS, "bare") is None

    control_plane.run(test, node=Silent)


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec}}


async def slices(plane: control_plane.ControlPlane, name: str) -> list[Object]:
    return await plane.list(resources.ENDPOINT_SLICES, label_selector=f"kubernetes.io/service-name={name}")


def test_slices_and_endpoints_follow_the_pods() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.SERVICES, service("web"))
        await asyncio.sleep(1)
        (empty,) = await slices(plane, "web")
        assert not empty.get("endpoints")
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 3))
        await asyncio.sleep(5)
        (found,) = await slices(plane, "web")
        assert found["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
        assert (
            found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
        )
        assert len(found["endpoints"]) == 3
        assert all(
            each["conditions"] == {"ready": True, "serving": True, "terminating": False}
            for each in found["endpoints"] or ()
        )
        endpoints = await plane.get(resources.ENDPOINTS, "web")
        assert len(endpoints["subsets"][0]["addresses"]) == 3
        await plane.patch(resources.REPLICA_SETS, "web", {"spec": {"replicas": 1}})
        await asyncio.sleep(5)
        (found,) = await slices(plane, "web")
        assert len(found["endpoints"]) == 1
        await plane.patch(resources.REPLICA_SETS, "web", {"spec": {"replicas": 0}})
        await asyncio.sleep(40)
        (without,) = await slices(plane, "web")
        assert not without.get("endpoints")
        names = {each["metadata"]["name"] for each in (empty, found, without)}
        assert len(names) == 1, "the Service's slice is changed, not replaced"
        await plane.delete(resources.SERVICES, "web")
        await asyncio.sleep(5)
        assert await slices(plane, "web") == []
        assert await plane.find(resources.ENDPOINTS, "web") is None

    control_plane.run(test)


def test_pods_that_are_not_ready_are_published_when_the_service_asks_for_it() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.SERVICES, service("plain"))
        await plane.create(resources.SERVICES, service("all", publishNotReadyAddresses=True))
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 1))
        await asyncio.sleep(5)
        ready = {
            name: (await slices(plane, name))[0]["endpoints"][0]["conditions"]["ready"] for name in ("plain", "all")
        }
        assert ready == {"plain": False, "all": True}
        plain = await plane.get(resources.ENDPOINTS, "plain")
        assert "addresses" not in plain["subsets"][0]
        assert len(plain["subsets"][0]["notReadyAddresses"]) == 1

    def never_ready(plane: control_plane.ControlPlane) -> control_plane.Node:
        return control_plane.Node(plane, decide=lambda pod: control_plane.running(plane.time, ready=False))

    control_plane.run(test, node=never_ready)


def test_many_pods_fill_several_slices() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.SERVICES, service("web"))
        await plane.create(resources.REPLICA_SETS, control_plane.workload("web", 230))
        await asyncio.sleep(20)
        found = await slices(plane, "web")
        sizes = sorted(len(each["endpoints"]) for each in found)
        assert sum(sizes) == 230
        assert max(sizes) <= 100
        uids = {endpoint["targetRef"]["uid"] for each in found for endpoint in each["endpoints"] or ()}
        assert len(uids) == 230

    control_plane.run(test)


def test_a_node_is_welcomed_gets_its_role_and_is_seen_off() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.NODES, {"metadata": {"name": "first"}})
        await plane.create(resources.NODES, {"metadata": {"name": "second"}})
        await asyncio.sleep(2)
        roles = {
            node["metadata"]["name"]: (node["metadata"].get("labels") or {}).get(
                "node-role.kubernetes.io/control-plane"
            )
            for node in await plane.list(resources.NODES)
        }
        assert roles == {"first": "", "second": None}
        await plane.delete(resources.NODES, "second")
        await asyncio.sleep(2)
        told = [each["message"] for each in await plane.list(resources.EVENTS)]
        for name in roles:
            assert told.count(f"Node {name} event: Registered Node {name} in Controller") == 1
        assert told.count("Node second event: Removing Node second from Controller") == 1

    control_plane.run(test, node=None, settings=manager.Settings(control_plane_node="first"))
