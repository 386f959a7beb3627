"""Names of labels, annotations and finalizers that the API itself gives a meaning to."""

from collections.abc import Mapping
from typing import Any

METADATA_NAME = "kubernetes.io/metadata.name"

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
LEGACY_CONTROLLER_UID = "controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
LEGACY_JOB_NAME = "job-name"

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
FINALIZER_KUBERNETES = "kubernetes"
FINALIZER_FOREGROUND = "foregroundDeletion"
FINALIZER_ORPHAN = "orphan"

RESERVED_HOST_PORTS = "pinnace.dev/reserved-host-ports"
"""Annotation of a Node: TCP ports of its own servers, by commas. No pod gets one of them as a host port."""


def reserved_host_ports(node: Mapping[str, Any]) -> frozenset[int]:
    """What is no port is left out: whoever may change the Node may write anything there."""
    text = (node.get("metadata", {}).get("annotations") or {}).get(RESERVED_HOST_PORTS) or ""
    return frozenset(int(port) for port in text.split(",") if port.isascii() and port.isdigit() and len(port) < 6)
