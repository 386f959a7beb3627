"""NodeRestriction: a kubelet changes its own Node, Lease and pods, and nothing that would let it take more than was given to it."""

from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver import users
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.admission import service_account
from pinnace.apiserver.authz import nodes
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
_OWN_PREFIXES = ("kubelet.kubernetes.io/", "node.kubernetes.io/")


class NodeRestriction:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def validate(self, attributes: admission.Attributes) -> None:
        node = users.node_name(attributes.user)
        if not node:
            return
        match attributes.resource:
            case ("", "pods"):
                self._check_pod(attributes, node)
            case ("", "nodes"):
                _check_node(attributes, node)
            case ("", "serviceaccounts"):
                self._check_token(attributes, node)
            case ("coordination.k8s.io", "leases"):
                if attributes.namespace == "kube-node-lease" and attributes.name != node:
                    raise _refuse(
                        attributes, f'can only access node lease with the same name as the requesting node "{node}"'
                    )
            case ("storage.k8s.io", "csinodes"):
                if attributes.name != node:
                    raise _refuse(attributes, "can only access CSINode with the same name as the requesting node")

    async def mutate(self, attributes: admission.Attributes) -> None:
        """Before anything is reserved for a write that may not be."""
        await self.validate(attributes)

    def _check_pod(self, attributes: admission.Attributes, node: str) -> None:
        if attributes.operation == "CREATE" and not attributes.subresource:
            _check_mirror(attributes, node)
            return
        bound = attributes.old or self._objects.get(resources.PODS, attributes.namespace, attributes.name)
        found = ((bound or {}).get("spec") or {}).get("nodeName")
        if found != node:
            raise _refuse(
                attributes, f'node "{node}" can only {_verb(attributes)} pods with spec.nodeName set to itself'
            )
        if attributes.operation == "UPDATE":
            if attributes.subresource != "status":
                raise _refuse(attributes, f"unexpected update of a pod by node {node}")
            assert attributes.obj is not None
            assert attributes.old is not None
            if attributes.obj["metadata"].get("labels") != attributes.old["metadata"].get("labels"):
                raise _refuse(attributes, f'node "{node}" cannot update labels through pod status')

    def _check_token(self, attributes: admission.Attributes, node: str) -> None:
        if attributes.subresource != "token" or attributes.obj is None:
            return
        reference = (attributes.obj.get("spec") or {}).get("boundObjectRef") or {}
        if reference.get("kind") != "Pod" or not reference.get("name"):
            raise _refuse(attributes, f'node "{node}" requested token not bound to a pod')
        if not reference.get("uid"):
            raise _refuse(attributes, f'node "{node}" requested token with a pod binding without a uid')
        pod = self._objects.get(resources.PODS, attributes.namespace, reference["name"])
        if pod is None:
            raise errors.not_found("", "pods", reference["name"])
        if pod["metadata"].get("uid") != reference["uid"]:
            raise errors.conflict("", "pods", reference["name"], "the UID in the bound object reference does not match")
        if (pod.get("spec") or {}).get("nodeName") != node:
            raise _refuse(attributes, f'node "{node}" requested token bound to a pod scheduled on a different node')


def _verb(attributes: admission.Attributes) -> str:
    return {"DELETE": "delete", "CREATE": "create"}.get(attributes.operation, "update status for")


def _check_mirror(attributes: admission.Attributes, node: str) -> None:
    """The only pods that a node makes are images of what it runs by itself, and they refer to nothing secret."""
    pod = attributes.obj
    assert pod is not None
    if service_account.MIRROR not in (pod["metadata"].get("annotations") or {}):
        raise _refuse(
            attributes,
            f'pod does not have "{service_account.MIRROR}" annotation, node "{node}" can only create mirror pods',
        )
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise _refuse(attributes, f'node "{node}" can only create pods with spec.nodeName set to itself')
    owners = pod["metadata"].get("ownerReferences") or []
    if len(owners) != 1 or owners[0].get("kind") != "Node" or owners[0].get("name") != node:
        raise _refuse(attributes, f'node "{node}" can only create pods with an owner reference set to itself')
    if nodes.references(pod) or (pod.get("spec") or {}).get("serviceAccountName"):
        raise _refuse(
            attributes, f'node "{node}" can not create pods that reference secrets, claims or service accounts'
        )


def _check_node(attributes: admission.Attributes, node: str) -> None:
    if attributes.name != node:
        raise _refuse(attributes, f'node "{node}" is not allowed to modify node "{attributes.name}"')
    if attributes.operation == "DELETE":
        raise _refuse(attributes, f'node "{node}" is not allowed to delete itself')
    obj, old = attributes.obj, attributes.old
    if obj is None:
        return
    if attributes.operation == "CREATE":
        if (obj.get("spec") or {}).get("configSource"):
            raise _refuse(attributes, f'node "{node}" is not allowed to create pods with a non-nil configSource')
        forbidden = [label for label in obj["metadata"].get("labels") or {} if not is_own_label(label)]
        if forbidden:
            raise _refuse(
                attributes,
                f'node "{node}" is not allowed to set the following labels: {", ".join(sorted(forbidden))}',
            )
        return
    assert old is not None
    if _taints(obj) != _taints(old):
        raise _refuse(attributes, f'node "{node}" is not allowed to modify taints')
    if obj["metadata"].get("ownerReferences") != old["metadata"].get("ownerReferences"):
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
    return label in _OWN_LABELS or label.startswith(_OWN_PREFIXES)


def _refuse(attributes: admission.Attributes, why: str) -> errors.StatusError:
    return errors.forbidden(attributes.kind.group, attributes.kind.plural, attributes.name, why)
