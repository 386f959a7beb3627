"""Objects made smaller before an informer keeps them. Pure, but for what is remembered.

Pods of one workload differ in their names, and in the token volume that is called after nothing; decoded, a pod takes three times the
memory of its bytes. What is equal in many pods is kept once.
"""

import functools
from typing import Any

import orjson

from pinnace.client import client
from pinnace.kit import buffers

SHARED_PARTS = 4096
"""Different parts remembered; beyond, the one that was not seen for longest is forgotten (by us, not by the pods that have it)."""
LONGEST_SHARED = 4096
"""Bytes of a part as JSON. Longer ones are rare and seldom equal; this bounds what is remembered for nobody."""


def without_managed_fields(obj: client.Object) -> client.Object:
    """Who wrote which field concerns the API server alone and is often half of an object. An update that leaves
    `managedFields` out keeps what the server has."""
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def pod(obj: client.Object) -> client.Object:
    """The same pod without managed fields; equal parts of it are the same objects in all pods."""
    metadata = {key: shared(value) for key, value in obj["metadata"].items() if key != "managedFields"}
    spec = {
        key: list(map(_named, value)) if key in _LISTS_OF_NAMED else shared(value)
        for key, value in obj.get("spec", {}).items()
    }
    return {**obj, "metadata": metadata, "spec": spec}


# The token volume and its mounts are named at random: the entries differ, most of what is in them does not.
_LISTS_OF_NAMED = ("containers", "initContainers", "volumes", "volumeMounts")


def _named(entry: client.Object) -> client.Object:
    return {key: list(map(_named, value)) if key in _LISTS_OF_NAMED else shared(value) for key, value in entry.items()}


def shared(value: Any) -> Any:
    """`value`, a JSON value, or one that is equal to it and that others have too. Never to be changed."""
    if not isinstance(value, (dict, list)):
        return value
    text = orjson.dumps(value)
    return _remembered(buffers.trimmed(text)) if len(text) <= LONGEST_SHARED else value


@functools.lru_cache(maxsize=SHARED_PARTS)
def _remembered(text: bytes) -> Any:
    return orjson.loads(text)
