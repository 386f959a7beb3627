"""Kinds over the store: where an object lies, and the objects that the server itself looks at."""

from collections.abc import Iterator, Sequence

from pinnace.api import kinds
from pinnace.apiserver import envelope
from pinnace.store import interface

Object = envelope.Object
Resource = tuple[str, str, str]
"""(group, version, plural)."""

NAMESPACES: Resource = ("", "v1", "namespaces")
NODES: Resource = ("", "v1", "nodes")
PODS: Resource = ("", "v1", "pods")
SECRETS: Resource = ("", "v1", "secrets")
SERVICES: Resource = ("", "v1", "services")
ENDPOINTS: Resource = ("", "v1", "endpoints")
SERVICE_ACCOUNTS: Resource = ("", "v1", "serviceaccounts")
LIMIT_RANGES: Resource = ("", "v1", "limitranges")
RESOURCE_QUOTAS: Resource = ("", "v1", "resourcequotas")
PERSISTENT_VOLUMES: Resource = ("", "v1", "persistentvolumes")
PERSISTENT_VOLUME_CLAIMS: Resource = ("", "v1", "persistentvolumeclaims")
PRIORITY_CLASSES: Resource = ("scheduling.k8s.io", "v1", "priorityclasses")
RUNTIME_CLASSES: Resource = ("node.k8s.io", "v1", "runtimeclasses")
STORAGE_CLASSES: Resource = ("storage.k8s.io", "v1", "storageclasses")
POD_DISRUPTION_BUDGETS: Resource = ("policy", "v1", "poddisruptionbudgets")
ENDPOINT_SLICES: Resource = ("discovery.k8s.io", "v1", "endpointslices")
IP_ADDRESSES: Resource = ("networking.k8s.io", "v1", "ipaddresses")
INGRESS_CLASSES: Resource = ("networking.k8s.io", "v1", "ingressclasses")
SERVICE_CIDRS: Resource = ("networking.k8s.io", "v1", "servicecidrs")
VOLUME_ATTACHMENTS: Resource = ("storage.k8s.io", "v1", "volumeattachments")
FLOW_SCHEMAS: Resource = ("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
PRIORITY_LEVELS: Resource = ("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
ROLES: Resource = ("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS: Resource = ("rbac.authorization.k8s.io", "v1", "rolebindings")
CLUSTER_ROLES: Resource = ("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTER_ROLE_BINDINGS: Resource = ("rbac.authorization.k8s.io", "v1", "clusterrolebindings")


class Objects:
    def __init__(self, store: interface.Store, registry: kinds.Registry) -> None:
        self.store = store
        self.registry = registry
        self._builtin: dict[Resource, kinds.Kind] = {}

    def kind(self, resource: Resource) -> kinds.Kind:
        """Of a built-in resource. Raises KeyError where the registry does not have it."""
        known = self._builtin.get(resource)
        if known is not None:
            return known
        found = self.registry.by_path(*resource)
        if found is None:
            raise KeyError(resource)
        self._builtin[resource] = found
        return found

    def record(self, resource: Resource, namespace: str, name: str) -> interface.Record | None:
        return self.store.get(kinds.storage_key(self.kind(resource), namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The newest state, shared by all readers: never change it."""
        found = self.record(resource, namespace, name)
        return envelope.shared(found) if found is not None else None

    def records(self, resource: Resource, namespace: str = "") -> Sequence[interface.Record]:
        prefix = kinds.storage_prefix(self.kind(resource))
        return self.store.range(f"{prefix}{namespace}/" if namespace else prefix).records

    def all(self, resource: Resource, namespace: str = "") -> Iterator[Object]:
        """Shared objects: for kinds that are few and small."""
        return (envelope.shared(found) for found in self.records(resource, namespace))
