"""The list of admission plug-ins, in their order."""

import random

from pinnace.apiserver import allocators, objects, settings
from pinnace.apiserver.admission import (
    chain,
    default_toleration_seconds,
    namespace_lifecycle,
    nodes,
    priority,
    service_account,
    service_allocation,
    storage,
)
from pinnace.apiserver.authz import authorizer
from pinnace.kit import clock

_CREATE = frozenset({"CREATE"})
_WRITES = frozenset({"CREATE", "UPDATE"})
_DELETE = frozenset({"DELETE"})
_ALL = _WRITES | _DELETE
_ANY_PART = frozenset({"*"})

_PODS = frozenset({("", "pods")})
_SERVICES = frozenset({("", "services")})
_NODES = frozenset({("", "nodes")})
_PRIORITY = frozenset({("", "pods"), ("scheduling.k8s.io", "priorityclasses")})
_CLAIMS = frozenset({("", "persistentvolumeclaims")})
_STORAGE = _CLAIMS | {("", "persistentvolumes"), ("storage.k8s.io", "volumeattributesclasses")}


def build(
    stored: objects.Objects,
    decide: authorizer.Authorizer,
    options: settings.Settings,
    time: clock.Clock,
    rng: random.Random,
) -> chain.Chain:
    register = chain.Registration
    lifecycle = namespace_lifecycle.NamespaceLifecycle(stored)
    priorities = priority.Priority(stored)
    addresses = allocators.Addresses(stored, options.service_cidr, time, rng)
    ports = allocators.NodePorts(stored, options.node_port_first, options.node_port_last, rng)
    accounts = service_account.ServiceAccount(stored, time, rng)
    tolerations = default_toleration_seconds.DefaultTolerationSeconds()
    allocation = service_allocation.ServiceAllocation(stored, addresses, ports)
    return chain.Chain(
        (
            register("NamespaceLifecycle", _CREATE | _DELETE, None, _ANY_PART, lifecycle, lifecycle),
            register("ServiceAccount", _CREATE, _PODS, mutator=accounts),
            register("TaintNodesByCondition", _CREATE, _NODES, mutator=nodes.TaintNodesByCondition()),
            register("Priority", _WRITES, _PRIORITY, mutator=priorities, validator=priorities),
            register("DefaultTolerationSeconds", _CREATE, _PODS, mutator=tolerations),
            register("DefaultStorageClass", _CREATE, _CLAIMS, mutator=storage.DefaultStorageClass(stored)),
            register("StorageObjectInUseProtection", _CREATE, _STORAGE, mutator=storage.StorageObjectInUseProtection()),
            register("ServiceAllocation", _ALL, _SERVICES, mutator=allocation),
        )
    )
