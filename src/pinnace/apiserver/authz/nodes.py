"""What a node may do: what its own pods need, and nothing of other nodes' pods.

Names of secrets, config maps, claims and volumes are readable to a node while a pod that is bound to it refers to them. Everything
else a node may do is in the rules of the ClusterRole `system:node`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api import resources
from pinnace.apiserver import users
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.storage import envelope, objects

Object = dict[str, Any]

READ = frozenset({"get", "list", "watch"})
# Read only as far as a pod of the node refers to them.
REFERRED = {
    ("", "configmaps"): READ,
    ("", "secrets"): READ,
    ("", "persistentvolumeclaims"): frozenset({"get"}),
    ("", "persistentvolumes"): frozenset({"get"}),
}
_LEASES = "kube-node-lease"


class NodeRules:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    def concerns(self, asked: authz.Attributes) -> bool:
        """Whether the answer depends on which node asks; otherwise the rules of `system:node` decide."""
        key = (asked.group, asked.resource)
        return (
            key in REFERRED
            or key in (("", "serviceaccounts"), ("coordination.k8s.io", "leases"), ("storage.k8s.io", "csinodes"))
            or (key == ("", "nodes") and asked.verb in ("get", "list", "watch", "update", "patch", "delete"))
            or (key == ("", "pods") and asked.verb in READ)
        )

    def allows(self, user: users.UserInfo, asked: authz.Attributes) -> bool:
        node = users.node_name(user)
        key = (asked.group, asked.resource)
        if key in REFERRED:
            return self._may_read(node, asked)
        if key == ("", "serviceaccounts"):
            return asked.subresource == "token" and asked.verb == "create" and self._runs_account(node, asked)
        if key == ("coordination.k8s.io", "leases"):
            return self._may_lease(node, asked)
        if key == ("", "pods"):
            return self._may_see_pod(node, asked)
        if key == ("storage.k8s.io", "csinodes"):
            return not asked.subresource and asked.name in ("", node)
        return asked.name in ("", node) or asked.verb == "get"

    def _may_read(self, node: str, asked: authz.Attributes) -> bool:
        if asked.subresource == "status" and asked.resource == "persistentvolumeclaims":
            return bool(asked.name) and self._refers(node, asked)
        if asked.subresource or not asked.name or asked.verb not in REFERRED[asked.group, asked.resource]:
            return False
        if asked.resource == "persistentvolumes":
            return self._refers_to_volume(node, asked.name)
        return self._refers(node, asked)

    def _refers(self, node: str, asked: authz.Attributes) -> bool:
        return any((asked.resource, asked.name) in references(pod) for pod in self._pods(node, asked.namespace))

    def _refers_to_volume(self, node: str, name: str) -> bool:
        volume = self._objects.get(resources.PERSISTENT_VOLUMES, "", name)
        claim = ((volume or {}).get("spec") or {}).get("claimRef") or {}
        if not claim.get("name"):
            return False
        wanted = ("persistentvolumeclaims", claim["name"])
        return any(wanted in references(pod) for pod in self._pods(node, claim.get("namespace", "")))

    def _runs_account(self, node: str, asked: authz.Attributes) -> bool:
        return any(
            (pod.get("spec") or {}).get("serviceAccountName") == asked.name for pod in self._pods(node, asked.namespace)
        )

    def _may_lease(self, node: str, asked: authz.Attributes) -> bool:
        if asked.namespace != _LEASES or asked.verb not in ("create", "get", "update", "patch", "delete"):
            return False
        return asked.name == node or (asked.verb == "create" and not asked.name)

    def _may_see_pod(self, node: str, asked: authz.Attributes) -> bool:
        """Lists and watches are the kubelet's own, by a field selector that names its node; others' pods hold no secrets."""
        if not asked.name or asked.verb != "get":
            return True
        pod = self._objects.get(resources.PODS, asked.namespace, asked.name)
        return pod is None or (pod.get("spec") or {}).get("nodeName") in (None, "", node)

    def _pods(self, node: str, namespace: str) -> Iterator[Object]:
        kind = self._objects.kind(resources.PODS)
        for record in self._objects.records(resources.PODS, namespace):
            if envelope.fields(kind, record).get("spec.nodeName") == node:
                yield envelope.parse(record)


def references(pod: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(plural, name) of what a pod's containers and volumes refer to in its namespace."""
    spec = pod.get("spec") or {}
    found = {("secrets", reference.get("name", "")) for reference in spec.get("imagePullSecrets") or ()}
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            found |= set(_of_container(container))
    for volume in spec.get("volumes") or ():
        found |= set(_of_volume(volume, pod))
    return found


def _of_container(container: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        for field, plural in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if source.get(field):
                yield plural, source[field].get("name", "")
    for variable in container.get("env") or ():
        value = variable.get("valueFrom") or {}
        for field, plural in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if value.get(field):
                yield plural, value[field].get("name", "")


_SECRET_VOLUMES = ("azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")


def _of_volume(volume: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if volume.get("secret"):
        yield "secrets", volume["secret"].get("secretName", "")
    if volume.get("configMap"):
        yield "configmaps", volume["configMap"].get("name", "")
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"].get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod['metadata']['name']}-{volume.get('name', '')}"
    if (volume.get("csi") or {}).get("nodePublishSecretRef"):
        yield "secrets", volume["csi"]["nodePublishSecretRef"].get("name", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("secret"):
            yield "secrets", source["secret"].get("name", "")
        if source.get("configMap"):
            yield "configmaps", source["configMap"].get("name", "")
    for field in _SECRET_VOLUMES:
        reference = (volume.get(field) or {}).get("secretRef") or {}
        name = reference.get("name") or (volume.get(field) or {}).get("secretName")
        if name:
            yield "secrets", name
