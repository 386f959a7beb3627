"""Specifications of persistent volume claims: in claims, in templates, in ephemeral volumes."""

from pinnace.api.validation import field, formats, metadata, resources

Fields = field.Fields
Causes = field.Causes

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def spec(found: Causes, claim: Fields, path: str) -> None:
    modes = field.items(claim, "accessModes")
    if not modes:
        found.required(f"{path}.accessModes", "at least 1 access mode is required")
    metadata.label_selector(found, claim.get("selector"), f"{path}.selector")
    access_modes(found, modes, f"{path}.accessModes")
    _storage(found, field.part(field.part(claim, "resources"), "requests").get("storage"), f"{path}.resources[storage]")
    name = claim.get("storageClassName")
    if name:
        found.messages(f"{path}.storageClassName", name, formats.dns_subdomain(name))
    found.maybe_one_of(f"{path}.volumeMode", claim.get("volumeMode"), VOLUME_MODES)
    for source in ("dataSource", "dataSourceRef"):
        if source in claim:
            _data_source(found, claim[source], f"{path}.{source}")
    attributes = claim.get("volumeAttributesClassName")
    if attributes:
        found.messages(f"{path}.volumeAttributesClassName", attributes, formats.dns_subdomain(attributes))


def access_modes(found: Causes, modes: list[str], path: str) -> None:
    for mode in modes:
        found.maybe_one_of(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        found.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _storage(found: Causes, storage: str | None, path: str) -> None:
    if storage is None:
        found.required(path)
    elif resources.positive(found, storage, path):
        resources.amount(found, "storage", storage, path)


def _data_source(found: Causes, source: Fields, path: str) -> None:
    for name in ("name", "kind"):
        if not source.get(name):
            found.required(f"{path}.{name}")
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        found.invalid(
            path, source.get("kind") or "", "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        )
    if group:
        found.messages(f"{path}.apiGroup", group, formats.dns_subdomain(group))
    if source.get("namespace"):
        found.messages(f"{path}.namespace", source["namespace"], formats.dns_label(source["namespace"]))
