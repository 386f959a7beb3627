"""Controllers make, replace and count pods."""

from typing import Any


def template(target: Any, app: str, script: str, **spec: Any) -> dict[str, Any]:
    pod = target.pod("unused", script, **spec)
    return {"metadata": {"labels": {"app": app}}, "spec": pod["spec"]}


def test_a_job_runs_to_its_completions(target: Any, namespace: str) -> None:
    """Jobs, manage lifecycle: succeeded comes to equal completions, and the Complete condition holds."""
    spec = {"completions": 3, "parallelism": 2, "template": template(target, "work", "true")}
    target.batch.create_namespaced_job(namespace, {"metadata": {"name": "work"}, "spec": spec})

    def complete() -> Any:
        status = target.batch.read_namespaced_job("work", namespace).status
        return status if any(each.type == "Complete" for each in status.conditions or ()) else None

    assert target.wait(complete).succeeded == 3


def test_indexed_jobs_give_every_pod_its_index(target: Any, namespace: str) -> None:
    """Ensure Pods of an Indexed Job get a unique index: completedIndexes names each from 0 on."""
    spec = {"completions": 4, "parallelism": 4, "completionMode": "Indexed", "template": template(target, "i", "true")}
    target.batch.create_namespaced_job(namespace, {"metadata": {"name": "indexed"}, "spec": spec})
    read = target.batch.read_namespaced_job
    target.wait(lambda: read("indexed", namespace).status.completed_indexes == "0-3")


def test_a_replica_set_replaces_what_is_deleted_and_follows_its_scale(target: Any, namespace: str) -> None:
    """Replica Set, run basic image; ReplicaSet, completes the scaling of a ReplicaSet subresource."""
    kind = {"restartPolicy": "Always", "terminationGracePeriodSeconds": 1}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}}
    spec["template"] = template(target, "web", "sleep 1000", **kind)
    target.apps.create_namespaced_replica_set(namespace, {"metadata": {"name": "web"}, "spec": spec})

    def ready(count: int) -> Any:
        return target.apps.read_namespaced_replica_set("web", namespace).status.ready_replicas == count

    def names() -> set[str]:
        found = target.core.list_namespaced_pod(namespace, label_selector="app=web").items
        return {each.metadata.name for each in found if each.metadata.deletion_timestamp is None}

    target.wait(lambda: ready(2))
    before = names()
    gone = min(before)
    target.core.delete_namespaced_pod(gone, namespace)
    target.wait(lambda: len(names()) == 2 and gone not in names())
    target.apps.patch_namespaced_replica_set_scale("web", namespace, {"spec": {"replicas": 3}})
    target.wait(lambda: ready(3))
