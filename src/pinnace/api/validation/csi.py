"""Drivers of volumes and what is attached through them (pkg/apis/storage/validation)."""

from pinnace.api import quantity
from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

_LONGEST_DRIVER_NAME = 63
_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_MODES = ("Ephemeral", "Persistent")
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 1 << 32


def driver_name(found: Causes, name: str, path: str) -> None:
    if not name:
        found.required(path)
    if len(name) > _LONGEST_DRIVER_NAME:
        found.too_long(path, _LONGEST_DRIVER_NAME)
    elif name:
        found.messages(path, name, formats.dns_subdomain(name.lower()))


def driver(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    driver_name(found, field.part(obj, "metadata").get("name") or "", "metadata.name")
    _driver_spec(found, field.part(obj, "spec"))


def driver_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    spec, before = field.part(new, "spec"), field.part(old, "spec")
    _driver_spec(found, spec)
    # Upstream spells the first path so.
    for name, path in (
        ("attachRequired", "spec.attachedRequired"),
        ("volumeLifecycleModes", "spec.volumeLifecycleModes"),
    ):
        found.unchanged(path, spec.get(name), before.get(name))


def _driver_spec(found: Causes, spec: Fields) -> None:
    found.one_of("spec.fsGroupPolicy", spec.get("fsGroupPolicy"), _POLICIES)
    audiences: set[str] = set()
    for index, request in enumerate(field.items(spec, "tokenRequests")):
        path, audience = f"spec.tokenRequests[{index}]", request.get("audience") or ""
        if audience in audiences:
            found.duplicate(f"{path}.audience", audience)
        audiences.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            found.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        if seconds is not None and seconds > _LONGEST_TOKEN:
            found.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    for index, mode in enumerate(field.items(spec, "volumeLifecycleModes")):
        found.maybe_one_of(f"spec.volumeLifecycleModes[{index}]", mode, _MODES)


def attachment(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    spec = field.part(obj, "spec")
    driver_name(found, spec.get("attacher") or "", "spec.attacher")
    source = field.part(spec, "source")
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and not volume:
        found.required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
    elif inline is not None and volume:
        found.forbidden("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
    elif volume:
        found.messages("spec.source.persistentVolumeName", volume, formats.dns_subdomain(volume))
    node = spec.get("nodeName") or ""
    if not node:
        found.required("spec.nodeName")
    else:
        found.messages("spec.nodeName", node, formats.dns_subdomain(node))


def attachment_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("spec", new.get("spec"), old.get("spec"))


def capacity(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    metadata.label_selector(found, obj.get("nodeTopology"), "nodeTopology")
    name = obj.get("storageClassName") or ""
    found.messages("storageClassName", name, formats.dns_subdomain(name))
    for path in ("capacity", "maximumVolumeSize"):
        amount = obj.get(path)
        if amount is not None and quantity.compare(str(amount), "0") < 0:
            found.invalid(path, amount, field.NOT_NEGATIVE)


def capacity_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    for path in ("nodeTopology", "storageClassName"):
        found.unchanged(path, new.get(path), old.get(path))
