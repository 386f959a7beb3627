"""What every client relies on: versions, watches, ownership, quotas, namespaces."""

from typing import Any

import kubernetes
import pytest


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "data": {"a": "1"}}


def test_a_watch_begins_where_it_is_told_to(target: Any, namespace: str) -> None:
    """watch-configmaps-from-resource-version: a watch tells of what came after the resource version, and of nothing before."""
    target.core.create_namespaced_config_map(namespace, config_map("first"))
    made = target.core.create_namespaced_config_map(namespace, config_map("second"))
    target.core.patch_namespaced_config_map("first", namespace, {"data": {"a": "2"}})
    target.core.delete_namespaced_config_map("second", namespace)
    seen = []
    stream = kubernetes.watch.Watch().stream(
        target.core.list_namespaced_config_map,
        namespace,
        resource_version=made.metadata.resource_version,
        timeout_seconds=30,
    )
    for event in stream:
        if event["object"].metadata.name in ("first", "second"):
            seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            break
    stream.close()
    assert seen == [("MODIFIED", "first"), ("DELETED", "second")]


def test_a_stale_write_is_refused(target: Any, namespace: str) -> None:
    """API conventions, concurrency control: an update with an old resourceVersion is 409 Conflict and changes nothing."""
    made = target.core.create_namespaced_config_map(namespace, config_map("one"))
    target.core.patch_namespaced_config_map("one", namespace, {"data": {"a": "2"}})
    with pytest.raises(kubernetes.client.ApiException) as refused:
        target.core.replace_namespaced_config_map("one", namespace, made)
    assert (refused.value.status, "Conflict" in refused.value.body) == (409, True)
    assert target.core.read_namespaced_config_map("one", namespace).data == {"a": "2"}


def test_what_is_owned_goes_with_its_owner(target: Any, namespace: str) -> None:
    """Garbage Collector, multiple owners: a dependent goes when all of its owners are gone, and not before."""
    owners = [target.core.create_namespaced_config_map(namespace, config_map(name)) for name in ("a", "b")]
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": each.metadata.name, "uid": each.metadata.uid}
        for each in owners
    ]
    target.core.create_namespaced_config_map(namespace, config_map("both", ownerReferences=references))
    target.core.create_namespaced_config_map(namespace, config_map("alone", ownerReferences=references[:1]))
    target.core.delete_namespaced_config_map("a", namespace)

    def names() -> set[str]:
        found = target.core.list_namespaced_config_map(namespace).items
        return {each.metadata.name for each in found} & {"a", "b", "both", "alone"}

    target.wait(lambda: names() == {"b", "both"})
    target.core.delete_namespaced_config_map("b", namespace)
    target.wait(lambda: names() == set())


def test_a_quota_counts_objects(target: Any, namespace: str) -> None:
    """ResourceQuota, object count quota, configmap: what goes beyond is 403, and what is deleted is given back."""
    present = len(target.core.list_namespaced_config_map(namespace).items)
    if not present:
        present = len(target.wait(lambda: target.core.list_namespaced_config_map(namespace).items))
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"configmaps": str(present + 1)}}}
    target.core.create_namespaced_resource_quota(namespace, quota)

    def used() -> Any:
        return (target.core.read_namespaced_resource_quota("few", namespace).status.used or {}).get("configmaps")

    target.wait(lambda: used() == str(present))
    target.core.create_namespaced_config_map(namespace, config_map("fits"))
    with pytest.raises(kubernetes.client.ApiException) as refused:
        target.core.create_namespaced_config_map(namespace, config_map("too-many"))
    assert (refused.value.status, "exceeded quota: few" in refused.value.body) == (403, True)
    target.core.delete_namespaced_config_map("fits", namespace)
    target.wait(lambda: used() == str(present))


def test_a_namespace_takes_everything_along(target: Any, namespace: str) -> None:
    """namespace-deletion-removes-pods, namespace-deletion-removes-services."""
    name = f"{namespace[:40]}-going"
    target.core.create_namespace({"metadata": {"name": name}})
    target.core.create_namespaced_service(name, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    spec = {"terminationGracePeriodSeconds": 1}
    target.wait(lambda: target.core.list_namespaced_service_account(name).items)
    target.core.create_namespaced_pod(name, target.pod("p", "sleep 1000", **spec))
    target.core.delete_namespace(name)
    target.wait(lambda: name not in {each.metadata.name for each in target.core.list_namespace().items})
    assert target.core.list_namespaced_pod(name).items == []
    assert target.core.list_namespaced_service(name).items == []
