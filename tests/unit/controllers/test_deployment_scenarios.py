"""Deployments and ReplicaSets against the real API server under virtual time."""

from typing import Any

from pinnace.client import resources
from pinnace.testing import control_plane


async def is_complete(plane: control_plane.ControlPlane, name: str, replicas: int) -> bool:
    deployment = await plane.get(resources.DEPLOYMENTS, name)
    status = deployment.get("status", {})
    counts = ("updatedReplicas", "replicas", "availableReplicas")
    is_observed: bool = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return is_observed and all(status.get(field, 0) == replicas for field in counts)


def test_a_deployment_becomes_available() -> None:
    async def test(plane: control_plane.ControlPlane) -> None:
        await plane.create(resources.DEPLOYMENTS, control_plane.workload("web", 3))
        await plane.wait(lambda: is_complete(plane, "web", 3))
        deployment = await plane.get(resources.DEPLOYMENTS, "web")
        assert deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
        conditions: dict[str, Any] = {each["type"]: each for each in deployment["status"]["conditions"]}
        assert (conditions["Available"]["status"], conditions["Available"]["reason"]) == (
            "True",
            "MinimumReplicasAvailable",
        )
        assert (conditions["Progressing"]["status"], conditions["Progressing"]["reason"]) == (
            "True",
            "NewReplicaSetAvailable",
        )
        (replica_set,) = await plane.list(resources.REPLICA_SETS)
        digest = replica_set["metadata"]["labels"]["pod-template-hash"]
        assert replica_set["metadata"]["name"] == f"web-{digest}"
        pods = await plane.list(resources.PODS, label_selector=f"pod-template-hash={digest}")
        assert len(pods) == 3
        events = await plane.list(resources.EVENTS)
        messages = {(event["involvedObject"]["kind"], event["reason"]): event["message"] for event in events}
        assert messages["Deployment", "ScalingReplicaSet"] == f"Scaled up replica set web-{digest} from 0 to 3"
        assert messages["ReplicaSet", "SuccessfulCreate"].startswith(f"Created pod: web-{digest}-")

    control_plane.run(test)
