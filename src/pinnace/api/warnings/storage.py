"""Volumes, claims and classes of storage (pkg/api/persistentvolume, persistentvolumeclaim, storage)."""

from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api import quantity
from pinnace.api.warnings import nodes

Object = Mapping[str, Any]

REMOVED_PLUGINS = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
# Upstream names the field so in its texts.
_SHOWN = {"storageos": "storageOS"}
_ANNOTATIONS = {
    "volume.beta.kubernetes.io/storage-class": 'deprecated since v1.8; use "storageClassName" attribute instead',
    "volume.beta.kubernetes.io/mount-options": 'deprecated since v1.31; use "mountOptions" attribute instead',
}
_CLAIM_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
    "Instead, the recommended approach is to use dynamic provisioning."
)


def persistent_volume(new: Object, old: Object | None, subresource: str) -> list[str]:
    if subresource or (old is not None and _of_volume(old) == _of_volume(new)):
        return []
    return _of_volume(new)


def _of_volume(volume: Object) -> list[str]:
    annotations, spec = volume["metadata"].get("annotations") or {}, volume.get("spec") or {}
    found = [f"metadata.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations]
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(_RECYCLE)
    required = (spec.get("nodeAffinity") or {}).get("required") or {}
    found += nodes.selector_terms("spec.nodeAffinity.required.nodeSelectorTerms", required.get("nodeSelectorTerms"))
    return found + list(removed_plugins("spec", spec))


def removed_plugins(path: str, source: Object) -> Iterator[str]:
    for name, text in REMOVED_PLUGINS.items():
        if source.get(name) is not None:
            yield f"{path}.{_SHOWN.get(name, name)}: {text}"


def claim(new: Object, old: Object | None, subresource: str) -> list[str]:
    if subresource or (old is not None and _of_claim(old) == _of_claim(new)):
        return []
    return _of_claim(new)


def _of_claim(obj: Object) -> list[str]:
    annotations = obj["metadata"].get("annotations") or {}
    found = (
        [f"metadata.annotations[{_CLAIM_ANNOTATION}]: {_ANNOTATIONS[_CLAIM_ANNOTATION]}"]
        if _CLAIM_ANNOTATION in annotations
        else []
    )
    return [*found, *claim_spec("spec", obj.get("spec") or {})]


def claim_spec(path: str, spec: Object) -> Iterator[str]:
    resources = spec.get("resources") or {}
    for part in ("requests", "limits"):
        yield from fractional(f"{path}.resources.{part}", resources.get(part) or {}, ("storage",))


def fractional(path: str, amounts: Object, names: tuple[str, ...]) -> Iterator[str]:
    """Parts of a byte: a slip in the suffix, mostly (`400m`)."""
    for name in names:
        text = amounts.get(name)
        if text is not None and quantity.milli(str(text)) % 1000:
            shown = quantity.canonical(str(text))
            yield f'{path}[{name}]: fractional byte value "{shown}" is invalid, must be an integer'


def storage_class(new: Object, old: Object | None, subresource: str) -> list[str]:
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{position}]: {nodes.DEPRECATED_LABELS[expression['key']]}"
        for index, topology in enumerate(new.get("allowedTopologies") or ())
        for position, expression in enumerate(topology.get("matchLabelExpressions") or ())
        if expression.get("key") in nodes.DEPRECATED_LABELS
    ]


def storage_capacity(new: Object, old: Object | None, subresource: str) -> list[str]:
    topology = new.get("nodeTopology") or {}
    labels = sorted(set(topology.get("matchLabels") or {}) & set(nodes.DEPRECATED_LABELS))
    return [
        *nodes.expressions("nodeTopology.matchExpressions", topology.get("matchExpressions")),
        *(f"nodeTopology.matchLabels.{label}: {nodes.DEPRECATED_LABELS[label]}" for label in labels),
    ]
