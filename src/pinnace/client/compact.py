"""Objects made smaller before an informer keeps them. Pure, but for what is remembered.

Pods of one workload differ in their names, and in the token volume that is called after nothing; decoded, a pod takes three times the
memory of its bytes. What is equal in many pods is kept once.
"""

import functools
from typing import Any

import orjson

from pinnace.client import client

SHARED_PARTS = 4096
"""Different parts remembered; beyond, the one that was not seen for longest is forgotten (by us, not by the pods that have it)."""


def without_managed_fields(obj: client.Object) -> client.Object:
    """Who wrote which field concerns the API server alone and is often half of an object. An update that leaves
    `managedFields` out keeps what the server has."""
    metadata = obj["metadata"]
    if "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def pod(obj: client.Object) -> client.Object:
    """The same pod without managed fields; equal parts of its spec are the same objects in all pods."""
    spec = obj.get("spec")
    if not spec:
        return without_managed_fields(obj)
    kept = {key: _shared(value) for key, value in spec.items() if key not in _LISTS_OF_NAMED}
    for key in _LISTS_OF_NAMED:
        if key in spec:
            kept[key] = [{name: _shared(value) for name, value in entry.items()} for entry in spec[key]]
    return {**without_managed_fields(obj), "spec": kept}


# The token volume and its mounts are named at random: the entries differ, most of what is in them does not.
_LISTS_OF_NAMED = ("containers", "initContainers", "volumes")


def _shared(value: Any) -> Any:
    return _remembered(orjson.dumps(value)) if isinstance(value, (dict, list)) else value


@functools.lru_cache(maxsize=SHARED_PARTS)
def _remembered(text: bytes) -> Any:
    return orjson.loads(text)
