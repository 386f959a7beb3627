"""ReplicationControllers against the real API server under virtual time."""

import asyncio
from typing import Any

from pinnace.api import resources
from pinnace.controllers.framework import objects
from pinnace.testing import control_plane

Object = dict[str, Any]

KIND = resources.REPLICATION_CONTROLLERS


def replication_controller(replicas: int = 2) -> Object:
    """Its selector is left to be made from the labels of the template."""
    return {
        "metadata": {"name": "old"},
        "spec": {"replicas": replicas, "template": control_plane.template("old", "one")},
    }


def test_it_keeps_as_many_pods_as_asked_for_and_says_so() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        made = await plane.create(KIND, replication_controller())
        await asyncio.sleep(5)
        pods = await plane.list(resources.PODS)
        assert len(pods) == 2
        assert all(objects.is_controlled_by(pod, made) for pod in pods)
        status = (await plane.get(KIND, "old"))["status"]
        assert status == {
            "replicas": 2,
            "fullyLabeledReplicas": 2,
            "readyReplicas": 2,
            "availableReplicas": 2,
            "observedGeneration": 1,
        }
        await plane.patch(KIND, "old", {"spec": {"replicas": 1}}, subresource="scale")
        await asyncio.sleep(5)
        assert len(await plane.list(resources.PODS)) == 1
        events = await plane.list(resources.EVENTS)
        own = [event for event in events if event["involvedObject"]["kind"] == "ReplicationController"]
        sources = {event["source"]["component"] for event in own}
        assert sources == {"replication-controller"}

    control_plane.run(test)


def test_it_adopts_what_matches_and_releases_what_does_not() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        pod = control_plane.template("old", "one")
        pod["metadata"]["name"] = "orphan"
        await plane.create(resources.PODS, pod)
        made = await plane.create(KIND, replication_controller(1))
        await asyncio.sleep(5)
        (adopted,) = await plane.list(resources.PODS)
        assert objects.is_controlled_by(adopted, made)
        await plane.patch(resources.PODS, "orphan", {"metadata": {"labels": {"app": "other"}}})
        await asyncio.sleep(5)
        owners = {objects.name_of(pod): objects.controller_of(pod) for pod in await plane.list(resources.PODS)}
        assert len(owners) == 2
        assert owners.pop("orphan") is None
        assert all(owners.values())

    control_plane.run(test)


def test_what_keeps_pods_from_being_made_is_a_condition_while_it_lasts() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        quota = {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
        await plane.create(resources.RESOURCE_QUOTAS, quota)
        await plane.create(KIND, replication_controller(3))
        await asyncio.sleep(5)
        (condition,) = (await plane.get(KIND, "old"))["status"]["conditions"]
        assert (condition["type"], condition["status"], condition["reason"]) == (
            "ReplicaFailure",
            "True",
            "FailedCreate",
        )
        assert "exceeded quota: few" in condition["message"]
        await plane.patch(KIND, "old", {"spec": {"replicas": 2}})
        await asyncio.sleep(70)
        assert "conditions" not in (await plane.get(KIND, "old"))["status"]

    control_plane.run(test)
