"""Claims get the default class and grow only where their class lets them; claims and volumes in use are kept.

DefaultStorageClass, PersistentVolumeClaimResize, StorageObjectInUseProtection.
"""

from typing import Any

from pinnace.api import errors, quantity, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

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
        found = [item for item in self._objects.all(resources.STORAGE_CLASSES) if _is_default(item)]
        found.sort(key=lambda item: str(item["metadata"]["name"]))
        return max(found, key=lambda item: str(item["metadata"].get("creationTimestamp")), default=None)


def _is_default(item: Object) -> bool:
    annotations = item["metadata"].get("annotations") or {}
    return "true" in (annotations.get(IS_DEFAULT), annotations.get(_IS_DEFAULT_BETA))


class ClaimResize:
    """PersistentVolumeClaimResize: nobody would ever carry out what is refused here."""

    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def validate(self, attributes: admission.Attributes) -> None:
        claim, old = attributes.obj, attributes.old
        assert claim is not None
        assert old is not None
        wanted, had = _size(claim), _size(old)
        if wanted is None or had is None or quantity.compare(wanted, had) <= 0:
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise self._refused(attributes, "Only bound persistent volume claims can be expanded")
        if not self._may_grow(claim, old):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                "must support resize"
            )
            raise self._refused(attributes, why)

    def _may_grow(self, claim: Object, old: Object) -> bool:
        name = _class_of(claim)
        found = self._objects.get(resources.STORAGE_CLASSES, "", name) if name and name == _class_of(old) else None
        return bool((found or {}).get("allowVolumeExpansion"))

    def _refused(self, attributes: admission.Attributes, why: str) -> errors.StatusError:
        return errors.forbidden("", "persistentvolumeclaims", attributes.name, why)


def _size(claim: Object) -> str | None:
    found = (((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}).get("storage")
    return None if found is None else str(found)


def _class_of(claim: Object) -> str:
    annotated = (claim["metadata"].get("annotations") or {}).get(_CLASS_BETA)
    return str(annotated if annotated is not None else (claim.get("spec") or {}).get("storageClassName") or "")


class StorageObjectInUseProtection:
    async def mutate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        metadata = attributes.obj["metadata"]
        finalizer = _PROTECTION[attributes.resource]
        if finalizer not in (metadata.get("finalizers") or ()):
            metadata["finalizers"] = [*(metadata.get("finalizers") or ()), finalizer]
