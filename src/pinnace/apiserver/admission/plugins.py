"""The list of admission plug-ins, in their order."""

import random

from pinnace.apiserver import settings
from pinnace.apiserver.admission import certificates as certificate_requests
from pinnace.apiserver.admission import (
    chain,
    default_toleration_seconds,
    ingress,
    limit_ranger,
    namespace_lifecycle,
    node_restriction,
    nodes,
    owner_references,
    pod_security,
    priority,
    rbac_escalation,
    resource_quota,
    runtime_class,
    service_account,
    service_allocation,
    storage,
    token_secrets,
)
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.keepers import allocators, node_ports
from pinnace.apiserver.storage import objects
from pinnace.kit import clock

_CREATE = frozenset({"CREATE"})
_UPDATE = frozenset({"UPDATE"})
_WRITES = frozenset({"CREATE", "UPDATE"})
_DELETE = frozenset({"DELETE"})
_ALL = _WRITES | _DELETE
_ANY_PART = frozenset({"*"})

_PODS = frozenset({("", "pods")})
_SECRETS = frozenset({("", "secrets")})
_SERVICES = frozenset({("", "services")})
_NODES = frozenset({("", "nodes")})
_NAMESPACES = frozenset({("", "namespaces")})
_PRIORITY = frozenset({("", "pods"), ("scheduling.k8s.io", "priorityclasses")})
_CLAIMS = frozenset({("", "persistentvolumeclaims")})
_ADDRESSES = frozenset({("networking.k8s.io", "ipaddresses")})
_INGRESSES = frozenset({("networking.k8s.io", "ingresses")})
_RBAC = frozenset(
    (rbac_escalation.GROUP, plural) for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
)
_NODES_OWN = frozenset(
    {
        ("", "nodes"),
        ("", "persistentvolumeclaims"),
        ("", "pods"),
        ("", "serviceaccounts"),
        ("certificates.k8s.io", "certificatesigningrequests"),
        ("coordination.k8s.io", "leases"),
        ("resource.k8s.io", "resourceslices"),
        ("storage.k8s.io", "csinodes"),
    }
)
_POD_MAKERS = _PODS | {
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
}
_SIGNING = frozenset({("certificates.k8s.io", "certificatesigningrequests")})
_SIGNING_PARTS = frozenset({"", "approval", "status"})
_POD_PARTS = frozenset({"", "ephemeralcontainers", "resize"})
_RESIZE = frozenset({"resize"})
_WITH_RESIZE = _RESIZE | {""}
_STORAGE = _CLAIMS | {("", "persistentvolumes"), ("storage.k8s.io", "volumeattributesclasses")}


def build(
    stored: objects.Objects,
    decide: authorizer.Authorizer,
    options: settings.Settings,
    time: clock.Clock,
    rng: random.Random,
    issuer: tokens.Issuer,
    addresses: allocators.Addresses,
    ports: node_ports.NodePorts,
) -> chain.Chain:
    register = chain.Registration
    lifecycle = namespace_lifecycle.NamespaceLifecycle(stored)
    priorities = priority.Priority(stored)
    accounts = service_account.ServiceAccount(stored, time, rng)
    tolerations = default_toleration_seconds.DefaultTolerationSeconds()
    allocation = service_allocation.ServiceAllocation(stored, addresses, ports)
    restriction = node_restriction.NodeRestriction(stored, decide)
    limits = limit_ranger.LimitRanger(stored)
    owners = owner_references.OwnerReferences(decide, stored.registry)
    quotas = resource_quota.ResourceQuota(stored)
    security = pod_security.PodSecurity(stored, options.pod_security_default)
    namespace_labels = pod_security.NamespaceLabels(stored, options.pod_security_default)
    certificates = certificate_requests.Certificates(decide, time)
    secrets = token_secrets.TokenSecrets(stored, issuer)
    return chain.Chain(
        (
            register("NamespaceLifecycle", _CREATE | _DELETE, None, _ANY_PART, lifecycle, lifecycle),
            register("NodeRestriction", _ALL, _NODES_OWN, _ANY_PART, restriction, restriction, is_reinvoked=True),
            register("LimitRanger", _CREATE, _PODS | _CLAIMS, mutator=limits, validator=limits, is_reinvoked=True),
            register("LimitRanger", _UPDATE, _PODS, _RESIZE, validator=limits),
            register("LimitRanger", _UPDATE, _CLAIMS, validator=limits),
            register("ServiceAccount", _CREATE, _PODS, mutator=accounts, is_reinvoked=True),
            register(
                "TaintNodesByCondition", _CREATE, _NODES, mutator=nodes.TaintNodesByCondition(), is_reinvoked=True
            ),
            register("Priority", _WRITES, _PRIORITY, mutator=priorities, validator=priorities, is_reinvoked=True),
            register("DefaultTolerationSeconds", _WRITES, _PODS, mutator=tolerations, is_reinvoked=True),
            register(
                "DefaultStorageClass", _CREATE, _CLAIMS, mutator=storage.DefaultStorageClass(stored), is_reinvoked=True
            ),
            register(
                "DefaultIngressClass",
                _CREATE,
                _INGRESSES,
                mutator=ingress.DefaultIngressClass(stored),
                is_reinvoked=True,
            ),
            register("StorageObjectInUseProtection", _CREATE, _STORAGE, mutator=storage.StorageObjectInUseProtection()),
            register("PersistentVolumeClaimResize", _UPDATE, _CLAIMS, validator=storage.ClaimResize(stored)),
            register("RuntimeClass", _CREATE, _PODS, mutator=runtime_class.RuntimeClass(stored), is_reinvoked=True),
            register("TokenSecrets", _WRITES, _SECRETS, mutator=secrets),
            register("PodSecurity", _WRITES, _POD_MAKERS, _POD_PARTS, validator=security),
            register("PodSecurity", _WRITES, _NAMESPACES, validator=namespace_labels),
            register("OwnerReferencesPermissionEnforcement", _WRITES, validator=owners),
            register("RbacEscalation", _WRITES, _RBAC, validator=rbac_escalation.RbacEscalation(decide)),
            register("Certificates", _WRITES, _SIGNING, _SIGNING_PARTS, certificates, certificates),
            register("ResourceQuota", _WRITES, None, _WITH_RESIZE, validator=quotas, reserves=True),
            register(
                "AddressInUse", _DELETE, _ADDRESSES, mutator=service_allocation.AddressInUse(addresses), reserves=True
            ),
            register("ServiceAllocation", _ALL, _SERVICES, mutator=allocation, reserves=True),
        )
    )
