"""Objects that every cluster of ours has beyond upstream's: created at each start where they are missing, never changed afterwards."""

import contextlib

from pinnace.api import resources
from pinnace.client import client

LOCAL_STORAGE: client.Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "pinnace.dev/local",
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "WaitForFirstConsumer",
}
"""Folders on the node that first uses a claim: a cluster of one machine has storage from its first moment."""


async def ensure(api: client.Client) -> None:
    with contextlib.suppress(client.AlreadyExists):
        await api.create(resources.STORAGE_CLASSES, None, LOCAL_STORAGE)
