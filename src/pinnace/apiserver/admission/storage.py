"""DefaultStorageClass and StorageObjectInUseProtection: claims get the default class; claims and volumes in use are kept."""

from typing import Any

from pinnace.apiserver import objects
from pinnace.apiserver.admission import attributes as admission

Object = dict[str, Any]

IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_IS_DEFAULT_BETA = "storageclass.beta.kubernetes.io/is-default-class"
_CLASS_BETA = "volume.beta.kubernetes.io/storage-class"
_PROTECTION = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


class DefaultStorageClass:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def mutate(self, attributes: admission.Attributes) -> None:
        claim = attributes.obj
        assert claim is not None
        spec = claim.setdefault("spec", {})
        # An empty name asks for no class at all.
        if spec.get("storageClassName") is not None or _CLASS_BETA in (claim["metadata"].get("annotations") or {}):
            return
        default = self._default()
        if default is not None:
            spec["storageClassName"] = default["metadata"]["name"]

    def _default(self) -> Object | None:
        """Of several the newest, then the first by name."""
        found = [item for item in self._objects.all(objects.STORAGE_CLASSES) if _is_default(item)]
        found.sort(key=lambda item: str(item["metadata"]["name"]))
        return max(found, key=lambda item: str(item["metadata"].get("creationTimestamp")), default=None)


def _is_default(item: Object) -> bool:
    annotations = item["metadata"].get("annotations") or {}
    return "true" in (annotations.get(IS_DEFAULT), annotations.get(_IS_DEFAULT_BETA))


class StorageObjectInUseProtection:
    async def mutate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        metadata = attributes.obj["metadata"]
        finalizer = _PROTECTION[attributes.resource]
        if finalizer not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
