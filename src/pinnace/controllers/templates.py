"""What a Deployment and its ReplicaSets say about each other: the annotations they share, and whether templates are the same. Pure."""

from typing import Any

from pinnace.controllers.framework import objects

Object = dict[str, Any]

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ROLLBACK_TO = "deprecated.deployment.rollback.to"
OWN_ANNOTATIONS = frozenset({LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, ROLLBACK_TO})
"""What a Deployment and a ReplicaSet have each for itself; all other annotations are copied."""
LONGEST_HISTORY = 2000
"""Characters of the annotation that tells which revisions a ReplicaSet has been."""


def is_same(left: Object, right: Object) -> bool:
    """Equal but for the hash label."""
    return objects.is_same(without_hash(left), without_hash(right))


def without_hash(template: Object) -> Object:
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def revision_of(obj: Object) -> int:
    try:
        return int(objects.annotations_of(obj).get(REVISION, "0"))
    except ValueError:
        return 0


def longer_history(history: str, revision: str) -> str:
    """With one more revision; the oldest are forgotten when all do not fit."""
    revisions = [*(text for text in history.split(",") if text), revision]
    while len(",".join(revisions)) > LONGEST_HISTORY:
        revisions = revisions[1:]
    return ",".join(revisions)


def copied_annotations(obj: Object) -> dict[str, str]:
    return {key: value for key, value in objects.annotations_of(obj).items() if key not in OWN_ANNOTATIONS}
