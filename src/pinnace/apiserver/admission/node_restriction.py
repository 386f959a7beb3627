"""NodeRestriction: a kubelet changes its own Node, Lease and pods, and nothing that would let it take more than was given to it."""

from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver import users
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.admission import certificates
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import authorizer, nodes
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

_OWN_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_ITS_OWN = "with spec.nodeName set to itself"
_OWN_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction:
    def __init__(self, stored: objects.Objects, decide: authorizer.Authorizer) -> None:
        self._objects = stored
        self._authorizer = decide

    async def validate(self, attributes: admission.Attributes) -> None:
        if not users.is_node(attributes.user):
            return
        node = users.node_name(attributes.user)
        if not node:
            raise _refuse(attributes, f'could not determine node from user "{attributes.user.name}"')
        match attributes.resource:
            case ("", "pods"):
                self._check_pod(attributes, node)
            case ("", "nodes"):
                _check_node(attributes, node)
            case ("", "persistentvolumeclaims"):
                _check_claim(attributes, node)
            case ("", "serviceaccounts"):
                self._check_token(attributes, node)
            case ("coordination.k8s.io", "leases"):
                if attributes.namespace != nodes.NODE_LEASES:
                    raise _refuse(attributes, f'can only access leases in the "{nodes.NODE_LEASES}" system namespace')
                if attributes.name != node:
                    raise _refuse(attributes, "can only access node lease with the same name as the requesting node")
            case ("storage.k8s.io", "csinodes"):
                if attributes.name != node:
                    raise _refuse(attributes, "can only access CSINode with the same name as the requesting node")
            case ("resource.k8s.io", "resourceslices"):
                _check_slice(attributes, node)
            case ("certificates.k8s.io", "certificatesigningrequests"):
                _check_signing(attributes, node)

    async def mutate(self, attributes: admission.Attributes) -> None:
        """Before anything is reserved for a write that may not be."""
        await self.validate(attributes)

    # ------------------------------------------------------------ pods

    def _check_pod(self, attributes: admission.Attributes, node: str) -> None:
        match attributes.subresource, attributes.operation:
            case ("", "CREATE"):
                self._check_mirror(attributes, node)
            case ("", "DELETE"):
                if self._node_of(attributes) != node:
                    raise _refuse(attributes, f'node "{node}" can only delete pods {_ITS_OWN}')
            case ("", operation):
                raise _refuse(
                    attributes,
                    f'unexpected operation "{operation}", node "{node}" can only create and delete mirror pods',
                )
            case ("status", "UPDATE"):
                _check_pod_status(attributes, node)
            case ("eviction", "CREATE"):
                if self._node_of(attributes) != node:
                    raise _refuse(attributes, f"node {node} can only evict pods {_ITS_OWN}")
            case ("status" | "eviction", operation):
                raise _refuse(attributes, f'unexpected operation "{operation}"')
            case (part, _):
                raise _refuse(
                    attributes, f"unexpected pod subresource \"{part}\", only 'status' and 'eviction' are allowed"
                )

    def _node_of(self, attributes: admission.Attributes) -> str:
        """Of the pod that is there. Raises NotFound."""
        pod = attributes.old or self._objects.get(resources.PODS, attributes.namespace, attributes.name)
        if pod is None:
            raise errors.not_found("", "pods", attributes.name)
        return str((pod.get("spec") or {}).get("nodeName") or "")

    def _check_mirror(self, attributes: admission.Attributes, node: str) -> None:
        """The only pods that a node makes are images of what it runs by itself, and they refer to nothing in the API."""
        pod = attributes.obj
        assert pod is not None
        if nodes.MIRROR not in (pod["metadata"].get("annotations") or {}):
            raise _refuse(
                attributes,
                f'pod does not have "{nodes.MIRROR}" annotation, node "{node}" can only create mirror pods',
            )
        if (pod.get("spec") or {}).get("nodeName") != node:
            raise _refuse(attributes, f'node "{node}" can only create pods {_ITS_OWN}')
        self._check_owner(attributes, node, pod["metadata"].get("ownerReferences") or [])
        reference = _reference(pod)
        if reference:
            raise _refuse(attributes, f'node "{node}" can not create pods that reference {reference}')

    def _check_owner(self, attributes: admission.Attributes, node: str, owners: list[Object]) -> None:
        may_only = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise _refuse(attributes, f"{may_only} a single owner reference set to itself")
        owner: Object = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise _refuse(attributes, f"{may_only} an owner reference set to itself")
        if not owner.get("controller"):
            raise _refuse(attributes, f"{may_only} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise _refuse(attributes, f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        found = self._objects.get(resources.NODES, "", node)
        if found is None:
            raise errors.not_found("", "nodes", node)
        uid = found["metadata"].get("uid")
        if owner.get("uid") != uid:
            raise _refuse(attributes, f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}")

    # ------------------------------------------------------------ tokens

    def _check_token(self, attributes: admission.Attributes, node: str) -> None:
        if attributes.subresource != "token" or attributes.obj is None:
            return
        spec = attributes.obj.get("spec") or {}
        reference = spec.get("boundObjectRef") or {}
        if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
            raise _refuse(attributes, "node requested token not bound to a pod")
        uid = reference.get("uid")
        if not uid:
            raise _refuse(attributes, "node requested token with a pod binding without a uid")
        pod = self._objects.get(resources.PODS, attributes.namespace, reference["name"])
        if pod is None:
            raise errors.not_found("", "pods", reference["name"])
        if pod["metadata"].get("uid") != uid:
            raise _refuse(
                attributes,
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated",
            )
        if (pod.get("spec") or {}).get("nodeName") != node:
            raise _refuse(attributes, "node requested token bound to a pod scheduled on a different node")
        self._check_audience(attributes, pod, spec.get("audiences") or [])

    def _check_audience(self, attributes: admission.Attributes, pod: Object, audiences: list[str]) -> None:
        """A node gets the tokens that its pods' volumes ask for, and no others; an administrator may grant it more."""
        if len(audiences) > 1:
            raise _refuse(attributes, "node may only request 0 or 1 audiences")
        audience = audiences[0] if audiences else ""
        if audience in self._audiences(pod):
            return
        asked = authz.Attributes(
            "request-serviceaccounts-token-audience",
            resource=audience,
            namespace=attributes.namespace,
            name=attributes.name,
        )
        if audience and self._authorizer.decide(attributes.user, asked).is_allowed:
            return
        raise _refuse(attributes, f'audience "{audience}" not found in pod spec volume')

    def _audiences(self, pod: Object) -> set[str]:
        """For which the pod's volumes want tokens: projected ones by themselves, CSI's by what their driver asks for."""
        found: set[str] = set()
        drivers: set[str] = set()
        for volume in (pod.get("spec") or {}).get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("serviceAccountToken") is not None:
                    found.add(source["serviceAccountToken"].get("audience") or "")
            drivers.add((volume.get("csi") or {}).get("driver") or self._driver_of_claim(pod, volume))
        for driver in drivers - {""}:
            spec = (self._objects.get(resources.CSI_DRIVERS, "", driver) or {}).get("spec") or {}
            found.update(request.get("audience") or "" for request in spec.get("tokenRequests") or ())
        return found

    def _driver_of_claim(self, pod: Object, volume: Object) -> str:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if not name and volume.get("ephemeral"):
            name = f"{pod['metadata']['name']}-{volume.get('name', '')}"
        if not name:
            return ""
        namespace = pod["metadata"]["namespace"]
        claim = self._objects.get(resources.PERSISTENT_VOLUME_CLAIMS, namespace, name) or {}
        volume_name = (claim.get("spec") or {}).get("volumeName")
        if not volume_name:
            return ""
        bound = self._objects.get(resources.PERSISTENT_VOLUMES, "", volume_name) or {}
        return str(((bound.get("spec") or {}).get("csi") or {}).get("driver") or "")


def _reference(pod: Object) -> str:
    """What a pod refers to in the API, "" for nothing."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        return "a service account"
    plurals = {plural for plural, _ in nodes.references(pod)}
    for plural in ("secrets", "configmaps", "persistentvolumeclaims"):
        if plural in plurals:
            return plural
    if spec.get("resourceClaims"):
        return "resourceclaims"
    sources = [
        source
        for volume in spec.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
    ]
    if any(source.get("clusterTrustBundle") for source in sources):
        return "clustertrustbundles"
    return "a service account" if any(source.get("serviceAccountToken") for source in sources) else ""


def _check_pod_status(attributes: admission.Attributes, node: str) -> None:
    obj, old = attributes.obj, attributes.old
    assert obj is not None
    assert old is not None
    if (old.get("spec") or {}).get("nodeName") != node:
        raise _refuse(attributes, f'node "{node}" can only update pod status for pods {_ITS_OWN}')
    if (obj["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
        raise _refuse(attributes, f'node "{node}" cannot update labels through pod status')
    new_status, old_status = obj.get("status") or {}, old.get("status") or {}
    # A node that could name claims here would read and use what its pods were never given.
    if (new_status.get("resourceClaimStatuses") or []) != (old_status.get("resourceClaimStatuses") or []):
        raise _refuse(attributes, f'node "{node}" cannot update resource claim statues')
    if new_status.get("extendedResourceClaimStatus") != old_status.get("extendedResourceClaimStatus"):
        raise _refuse(attributes, f'node "{node}" cannot update extended resource claim status')


def _check_claim(attributes: admission.Attributes, node: str) -> None:
    if attributes.subresource != "status":
        raise _refuse(attributes, "may only update PVC status")
    if attributes.operation != "UPDATE":
        raise _refuse(attributes, f'unexpected operation "{attributes.operation}"')
    assert attributes.obj is not None
    assert attributes.old is not None
    if _without_what_nodes_say(attributes.obj) != _without_what_nodes_say(attributes.old):
        raise _refuse(
            attributes,
            f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions',
        )


_SAID_OF_CLAIMS = frozenset({"capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"})


def _without_what_nodes_say(claim: Object) -> Object:
    metadata = {
        key: value for key, value in claim["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    status = {key: value for key, value in (claim.get("status") or {}).items() if key not in _SAID_OF_CLAIMS}
    return {**claim, "metadata": metadata, "status": status}


def _check_slice(attributes: admission.Attributes, node: str) -> None:
    """What exists is the authoriser's to judge, but for collections."""
    seen = attributes.obj if attributes.operation == "CREATE" else attributes.old
    if attributes.operation != "UPDATE" and ((seen or {}).get("spec") or {}).get("nodeName") != node:
        verb = "create" if attributes.operation == "CREATE" else "delete"
        raise _refuse(attributes, f"can only {verb} ResourceSlice with the same NodeName as the requesting node")


def _check_signing(attributes: admission.Attributes, node: str) -> None:
    """A node asks for certificates in its own name."""
    spec = (attributes.obj or {}).get("spec") or {}
    if attributes.operation != "CREATE" or spec.get("signerName") not in _NODE_SIGNERS:
        return
    try:
        names = certificates.common_names(spec.get("request") or "")
    except ValueError as error:
        raise _refuse(attributes, f"unable to parse csr: {error}") from None
    if names != [users.NODE_PREFIX + node]:
        raise _refuse(attributes, f"can only create a node CSR with CN={users.NODE_PREFIX}{node}")


_NODE_SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")


def _check_node(attributes: admission.Attributes, node: str) -> None:
    if attributes.name != node:
        raise _refuse(attributes, f'node "{node}" is not allowed to modify node "{attributes.name}"')
    obj, old = attributes.obj, attributes.old
    if attributes.operation == "DELETE" or obj is None:
        raise _refuse(attributes, f'node "{node}" is not allowed to delete itself')
    source = (obj.get("spec") or {}).get("configSource")
    if attributes.operation == "CREATE":
        if source is not None:
            raise _refuse(attributes, f'node "{node}" is not allowed to create pods with a non-nil configSource')
        forbidden = [label for label in obj["metadata"].get("labels") or {} if not is_own_label(label)]
        if forbidden:
            raise _refuse(
                attributes,
                f'node "{node}" is not allowed to set the following labels: {", ".join(sorted(forbidden))}',
            )
        return
    assert old is not None
    if source is not None and source != (old.get("spec") or {}).get("configSource"):
        raise _refuse(attributes, f'node "{node}" is not allowed to update configSource to a new non-nil configSource')
    if _taints(obj) != _taints(old):
        raise _refuse(attributes, f'node "{node}" is not allowed to modify taints')
    if (obj["metadata"].get("ownerReferences") or []) != (old["metadata"].get("ownerReferences") or []):
        raise _refuse(attributes, f'node "{node}" is not allowed to modify ownerReferences')
    changed = _changed_labels(obj["metadata"].get("labels") or {}, old["metadata"].get("labels") or {})
    forbidden = [label for label in changed if not is_own_label(label)]
    if forbidden:
        raise _refuse(attributes, f"is not allowed to modify labels: {', '.join(sorted(forbidden))}")


def _taints(node: Object) -> list[Object]:
    return (node.get("spec") or {}).get("taints") or []


def _changed_labels(new: dict[str, str], old: dict[str, str]) -> set[str]:
    return {label for label in {*new, *old} if new.get(label) != old.get(label)}


def is_own_label(label: str) -> bool:
    """Whether a kubelet may set it: labels of the platform are not its to choose, but for a few that describe it."""
    prefix = label.partition("/")[0]
    if "/" not in label or not (
        prefix in ("kubernetes.io", "k8s.io") or prefix.endswith((".kubernetes.io", ".k8s.io"))
    ):
        return True
    if label.startswith("node-restriction.kubernetes.io/") or prefix.endswith(".node-restriction.kubernetes.io"):
        return False
    return label in _OWN_LABELS or any(prefix == own or prefix.endswith(f".{own}") for own in _OWN_NAMESPACES)


def _refuse(attributes: admission.Attributes, why: str) -> errors.StatusError:
    return errors.forbidden(attributes.kind.group, attributes.kind.plural, attributes.name, why)
