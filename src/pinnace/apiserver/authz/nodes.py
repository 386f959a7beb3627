"""What a node may do: what its own pods need, and nothing of other nodes or their pods.

Upstream's node authoriser, verdict by verdict. Secrets, config maps, claims, volumes and accounts are readable to a node while a pod
that is bound to it refers to them; lists and watches must say by their selectors that they are the node's own. What is not told
apart here is in the rules of the ClusterRole `system:node`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pinnace.api import resources
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.storage import envelope, objects

Object = dict[str, Any]

ALLOWED = ""
"""No reason against it."""

MIRROR = "kubernetes.io/config.mirror"
NODE_LEASES = "kube-node-lease"
_READ = frozenset({"get", "list", "watch"})
_OWN = frozenset({"get", "create", "update", "patch", "delete"})
_CHANGE = frozenset({"update", "patch"})


class NodeRules:
    """`refusal` tells why not, or `ALLOWED`, or None where the node's name does not matter."""

    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored
        self._judges: Mapping[tuple[str, str], Callable[[str, authz.Attributes], str]] = {
            ("", "secrets"): self._readable(self._refers_to_secret),
            ("", "configmaps"): self._readable(self._refers),
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._gettable(self._refers_to_volume),
            ("", "serviceaccounts"): self._account,
            ("", "nodes"): _node,
            ("", "pods"): self._pod,
            ("coordination.k8s.io", "leases"): _lease,
            ("resource.k8s.io", "resourceclaims"): self._gettable(self._refers_to_resource_claim),
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("storage.k8s.io", "csinodes"): _csi_node,
            ("storage.k8s.io", "volumeattachments"): self._gettable(self._is_attached_here),
        }

    def refusal(self, node: str, asked: authz.Attributes) -> str | None:
        judge = self._judges.get((asked.group, asked.resource))
        return None if judge is None else judge(node, asked)

    # ------------------------------------------------------------ what is asked

    def _gettable(self, is_related: Callable[[str, authz.Attributes], bool]) -> Callable[[str, authz.Attributes], str]:
        def judge(node: str, asked: authz.Attributes) -> str:
            if asked.verb != "get":
                return "can only get individual resources of this type"
            if asked.subresource:
                return "cannot get subresource"
            return _related(node, asked, is_related)

        return judge

    def _readable(self, is_related: Callable[[str, authz.Attributes], bool]) -> Callable[[str, authz.Attributes], str]:
        def judge(node: str, asked: authz.Attributes) -> str:
            if asked.verb not in _READ:
                return "can only read resources of this type"
            if asked.subresource:
                return "cannot read subresource"
            if not asked.namespace:
                return "can only read namespaced object of this type"
            return _related(node, asked, is_related)

        return judge

    def _claim(self, node: str, asked: authz.Attributes) -> str:
        if asked.subresource != "status":
            return self._gettable(self._refers)(node, asked)
        if asked.verb not in _CHANGE:
            return "can only get/update/patch this type"
        return _related(node, asked, self._refers)

    def _account(self, node: str, asked: authz.Attributes) -> str:
        if asked.verb == "get" and not asked.subresource:
            return _related(node, asked, self._runs_account)
        if asked.verb != "create" or not asked.name:
            return "can only create tokens for individual service accounts"
        if asked.subresource != "token":
            return "can only create token subresource of serviceaccount"
        return _related(node, asked, self._runs_account)

    def _pod(self, node: str, asked: authz.Attributes) -> str:
        match asked.subresource, asked.verb:
            case ("", "get"):
                return _related(node, asked, self._is_bound)
            case ("", "list" | "watch"):
                if ("spec.nodeName", node) in asked.fields:
                    return ALLOWED
                if asked.name:
                    return _related(node, asked, self._is_bound)
                return "can only list/watch pods with spec.nodeName field selector"
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return ALLOWED  # Which pods: admission sees them.
        return _NOTHING_MORE

    def _slice(self, node: str, asked: authz.Attributes) -> str:
        if asked.subresource:
            return "cannot authorize ResourceSlice subresources"
        match asked.verb:
            case "create":
                return ALLOWED  # For which node: admission sees it.
            case "get" | "update" | "patch" | "delete":
                return _related(node, asked, self._offers_here)
            case "watch" | "list" | "deletecollection":
                if ("spec.nodeName", node) in asked.fields:
                    return ALLOWED
                return "can only list/watch/deletecollection resourceslices with nodeName field selector"
        return (
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, "
            "deletecollection"
        )

    # ------------------------------------------------------------ what belongs to a node

    def _is_bound(self, node: str, asked: authz.Attributes) -> bool:
        return self._has(resources.PODS, asked.namespace, asked.name, "nodeName", node)

    def _is_attached_here(self, node: str, asked: authz.Attributes) -> bool:
        return self._has(resources.VOLUME_ATTACHMENTS, "", asked.name, "nodeName", node)

    def _offers_here(self, node: str, asked: authz.Attributes) -> bool:
        return self._has(resources.RESOURCE_SLICES, "", asked.name, "nodeName", node)

    def _has(self, resource: resources.Resource, namespace: str, name: str, field: str, value: str) -> bool:
        found = self._objects.get(resource, namespace, name)
        return found is not None and (found.get("spec") or {}).get(field) == value

    def _refers(self, node: str, asked: authz.Attributes) -> bool:
        return any((asked.resource, asked.name) in references(pod) for pod in self._pods(node, asked.namespace))

    def _refers_to_secret(self, node: str, asked: authz.Attributes) -> bool:
        return self._refers(node, asked) or self._mounts_with_secret(node, asked.namespace, asked.name)

    def _mounts_with_secret(self, node: str, namespace: str, name: str) -> bool:
        """Whether a volume of one of the node's pods is mounted with the secret."""
        return any(
            (namespace, name) in secrets_of_volume(volume) and self._uses_volume(node, volume)
            for volume in self._objects.all(resources.PERSISTENT_VOLUMES)
        )

    def _refers_to_volume(self, node: str, asked: authz.Attributes) -> bool:
        volume = self._objects.get(resources.PERSISTENT_VOLUMES, "", asked.name)
        return volume is not None and self._uses_volume(node, volume)

    def _uses_volume(self, node: str, volume: Object) -> bool:
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        if not claim.get("name"):
            return False
        wanted = ("persistentvolumeclaims", claim["name"])
        return any(wanted in references(pod) for pod in self._pods(node, claim.get("namespace", "")))

    def _refers_to_resource_claim(self, node: str, asked: authz.Attributes) -> bool:
        return any(asked.name in resource_claims(pod) for pod in self._pods(node, asked.namespace))

    def _runs_account(self, node: str, asked: authz.Attributes) -> bool:
        return any(
            (pod.get("spec") or {}).get("serviceAccountName") == asked.name for pod in self._pods(node, asked.namespace)
        )

    def _pods(self, node: str, namespace: str) -> Iterator[Object]:
        """Those that the node was given. What a node says of itself (mirror pods) gives it no right to anything.

        None without a namespace: what pods refer to is in theirs, and a name by itself is nobody's."""
        if not namespace:
            return
        kind = self._objects.kind(resources.PODS)
        for record in self._objects.records(resources.PODS, namespace):
            if envelope.fields(kind, record).get("spec.nodeName") == node:
                pod = envelope.parse(record)
                if MIRROR not in (pod["metadata"].get("annotations") or {}):
                    yield pod


_NOTHING_MORE = "a node has no such right"


def _related(node: str, asked: authz.Attributes, is_related: Callable[[str, authz.Attributes], bool]) -> str:
    if not asked.name:
        return "No Object name found"
    return ALLOWED if is_related(node, asked) else f"no relationship found between node '{node}' and this object"


def _node(node: str, asked: authz.Attributes) -> str:
    match asked.subresource, asked.verb:
        case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
            return ALLOWED  # Which node: admission sees it.
        case ("", "get" | "list" | "watch"):
            if asked.name == node:
                return ALLOWED
            if not asked.name:
                return f"node '{node}' cannot read all nodes, only its own Node object"
            return f"node '{node}' cannot read '{asked.name}', only its own Node object"
    return _NOTHING_MORE


def _lease(node: str, asked: authz.Attributes) -> str:
    if asked.verb not in _OWN:
        return "can only get, create, update, patch, or delete a node lease"
    if asked.namespace != NODE_LEASES:
        return f'can only access leases in the "{NODE_LEASES}" system namespace'
    if asked.verb != "create" and asked.name != node:
        return "can only access node lease with the same name as the requesting node"
    return ALLOWED


def _csi_node(node: str, asked: authz.Attributes) -> str:
    if asked.verb not in _OWN:
        return "can only get, create, update, patch, or delete a CSINode"
    if asked.subresource:
        return "cannot authorize CSINode subresources"
    if asked.verb != "create" and asked.name != node:
        return "can only access CSINode with the same name as the requesting node"
    return ALLOWED


def resource_claims(pod: Mapping[str, Any]) -> set[str]:
    """Names of the claims for devices that a pod has, as far as they are there."""
    of_spec = [claim.get("resourceClaimName") for claim in (pod.get("spec") or {}).get("resourceClaims") or ()]
    status = pod.get("status") or {}
    of_status = [claim.get("resourceClaimName") for claim in status.get("resourceClaimStatuses") or ()]
    extended = (status.get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    return {str(name) for name in (*of_spec, *of_status, extended) if name}


_CSI_SECRETS = ("nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef")


def secrets_of_volume(volume: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(namespace, name) of the secrets that a node mounts a PersistentVolume with."""
    spec = volume.get("spec") or {}
    home = (spec.get("claimRef") or {}).get("namespace", "")
    found = [(spec.get("csi") or {}).get(field) or {} for field in _CSI_SECRETS]
    for field in _SECRET_VOLUMES:
        source = spec.get(field) or {}
        found.append(source.get("secretRef") or {})
        found.append({"name": source.get("secretName"), "namespace": source.get("secretNamespace")})
    return {(reference.get("namespace") or home, reference["name"]) for reference in found if reference.get("name")}


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
