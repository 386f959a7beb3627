"""Defaults of the core group."""

from typing import Any

from pinnace.api import labels as well_known
from pinnace.api import pods as facts
from pinnace.api.defaults import pods

Object = dict[str, Any]


def pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    # Only in pods, not in templates: a limit is also the request where there is none.
    for container in facts.containers(spec):
        _requests_from_limits(container.get("resources", {}))
    _pod_level_requests(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for container in facts.containers(spec):
            for port in container.get("ports") or ():
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]
    pods.spec(spec)


def _requests_from_limits(resources: Object) -> None:
    limits = resources.get("limits")
    if limits:
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def _pod_level_requests(spec: Object) -> None:
    resources = spec.get("resources") or {}
    limits = resources.get("limits")
    if not limits:
        return
    supported = {
        key: value for key, value in limits.items() if key in ("cpu", "memory") or key.startswith("hugepages-")
    }
    if not any((container.get("resources") or {}).get("requests") for container in facts.containers(spec)):
        resources["requests"] = {**supported, **(resources.get("requests") or {})}


def service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("sessionAffinity", "None")
    _session_affinity(spec)
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, "") and port.get("port"):
            port["targetPort"] = port["port"]
    is_external = spec["type"] in ("LoadBalancer", "NodePort") or (
        spec["type"] == "ClusterIP" and bool(spec.get("externalIPs"))
    )
    if is_external:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer", "ClusterIP"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    balancer = obj.setdefault("status", {}).setdefault("loadBalancer", {})
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in balancer.get("ingress", ()):
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def _session_affinity(spec: Object) -> None:
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}


def replication_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not obj.setdefault("metadata", {}).get("labels"):
            obj["metadata"]["labels"] = dict(labels)
    spec.setdefault("replicas", 1)
    pods.template(spec)


def pod_template(obj: Object) -> None:
    pods.template(obj)


def persistent_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    pods.resource_list(spec, "capacity")
    pods.shared_source(spec)


def persistent_volume_claim(obj: Object) -> None:
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    pods.claim_spec(obj.setdefault("spec", {}))
    for name in ("capacity", "allocatedResources"):
        pods.resource_list(obj["status"], name)


def endpoints(obj: Object) -> None:
    for subset in obj.get("subsets", ()):
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def namespace(obj: Object) -> None:
    metadata = obj.setdefault("metadata", {})
    if metadata.get("name"):
        metadata.setdefault("labels", {})[well_known.METADATA_NAME] = metadata["name"]
    obj.setdefault("status", {}).setdefault("phase", "Active")


def node(obj: Object) -> None:
    status = obj.setdefault("status", {})
    if "allocatable" not in status and status.get("capacity"):
        status["allocatable"] = dict(status["capacity"])
    for name in ("capacity", "allocatable"):
        pods.resource_list(status, name)
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {"Port": 0})


def secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")


def limit_range(obj: Object) -> None:
    for item in obj.setdefault("spec", {}).get("limits") or ():
        if item.get("type") == "Container":
            _container_limits(item)
        for name in ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio"):
            pods.resource_list(item, name)


def _container_limits(item: Object) -> None:
    default = {**item.get("max", {}), **item.get("default", {})}
    request = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
    if default:
        item["default"] = default
    if request:
        item["defaultRequest"] = request


def resource_quota(obj: Object) -> None:
    pods.resource_list(obj.setdefault("spec", {}), "hard")
    for name in ("hard", "used"):
        pods.resource_list(obj.setdefault("status", {}), name)
