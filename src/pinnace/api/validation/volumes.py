"""Volumes of pods, and what persistent volumes share with them."""

from collections.abc import Callable

from pinnace.api import quantity
from pinnace.api.validation import claims, containers, field, formats, metadata

Fields = field.Fields
Causes = field.Causes

_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_DOWNWARD_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MIN_TOKEN_SECONDS = 600
_MAX_TOKEN_SECONDS = 1 << 32


def check(found: Causes, volumes: list[Fields], pod_name: str, path: str, *, is_pod: bool) -> dict[str, Fields]:
    """The volumes that are right, by name: what mounts may refer to."""
    created = {f"{pod_name}-{volume.get('name')}" for volume in volumes if pod_name and "ephemeral" in volume}
    good: dict[str, Fields] = {}
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        here, name = f"{path}[{index}]", volume.get("name") or ""
        own = Causes()
        _source(own, volume, pod_name, here, is_pod=is_pod)
        if not name:
            own.required(f"{here}.name")
        else:
            own.messages(f"{here}.name", name, formats.dns_label(name))
        if name in names:
            own.duplicate(f"{here}.name", name)
        if not own:
            names.add(name)
            good[name] = volume
        found.extend(own)
        claim = field.part(volume, "persistentVolumeClaim").get("claimName")
        if claim in created:
            found.invalid(
                f"{here}.persistentVolumeClaim.claimName",
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            )
    return good


def _source(found: Causes, volume: Fields, pod_name: str, path: str, *, is_pod: bool) -> None:
    given = [name for name in volume if name != "name"]
    # In upstream's order of kinds, so that of two kinds the same one is complained about.
    given.sort(key=lambda name: _ORDER.get(name, len(_ORDER)))
    if not given:
        found.required(path, "must specify a volume type")
    for index, name in enumerate(given):
        here = f"{path}.{name}"
        if index:
            found.forbidden(here, "may not specify more than 1 volume type")
            continue
        if name == "ephemeral":
            _ephemeral(found, volume, pod_name, path)
        elif name == "image":
            if is_pod and not volume["image"].get("reference"):
                found.required(f"{here}.reference")
            found.one_of(f"{here}.pullPolicy", volume["image"].get("pullPolicy"), containers.PULL_POLICIES)
        elif name in SOURCES:
            SOURCES[name](found, volume[name], here)


def _empty_dir(found: Causes, source: Fields, path: str) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        found.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def host_path(found: Causes, source: Fields, path: str) -> None:
    given = source.get("path") or ""
    if not given:
        found.required(f"{path}.path")
        return
    found.messages(f"{path}.path", given, formats.no_backsteps(given))
    found.maybe_one_of(f"{path}.type", source.get("type"), _HOST_PATH_TYPES)


def _secret(found: Causes, source: Fields, path: str) -> None:
    if not source.get("secretName"):
        found.required(f"{path}.secretName")
    _keyed(found, source, path)


def _config_map(found: Causes, source: Fields, path: str) -> None:
    if not source.get("name"):
        found.required(f"{path}.name")
    _keyed(found, source, path)


def _keyed(found: Causes, source: Fields, path: str) -> None:
    _mode(found, source.get("defaultMode"), f"{path}.defaultMode")
    for index, item in enumerate(field.items(source, "items")):
        _key_to_path(found, item, f"{path}.items[{index}]")


def _key_to_path(found: Causes, item: Fields, path: str) -> None:
    target = item.get("path") or ""
    if not item.get("key"):
        found.required(f"{path}.key")
    if not target:
        found.required(f"{path}.path")
    found.messages(f"{path}.path", target, formats.unreserved_path(target))
    _mode(found, item.get("mode"), f"{path}.mode")


def _mode(found: Causes, mode: int | None, path: str) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        found.invalid(path, mode, _MODE)


def _claim(found: Causes, source: Fields, path: str) -> None:
    if not source.get("claimName"):
        found.required(f"{path}.claimName")


def nfs(found: Causes, source: Fields, path: str) -> None:
    for name in ("server", "path"):
        if not source.get(name):
            found.required(f"{path}.{name}")
    if not (source.get("path") or "").startswith("/"):
        found.invalid(f"{path}.path", source.get("path") or "", "must be an absolute path")


def _downward(found: Causes, source: Fields, path: str) -> None:
    _mode(found, source.get("defaultMode"), f"{path}.defaultMode")
    for item in field.items(source, "items"):
        _downward_file(found, item, path)


def _downward_file(found: Causes, item: Fields, path: str) -> None:
    target = item.get("path") or ""
    if not target:
        found.required(f"{path}.path")
    found.messages(f"{path}.path", target, formats.unreserved_path(target))
    if "fieldRef" in item:
        containers.field_reference(found, item["fieldRef"], _DOWNWARD_FIELDS, f"{path}.fieldRef")
        if "resourceFieldRef" in item:
            found.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif "resourceFieldRef" in item:
        containers.resource_reference(found, item["resourceFieldRef"], f"{path}.resourceFieldRef", in_volume=True)
    else:
        found.required(path, "one of fieldRef and resourceFieldRef is required")
    _mode(found, item.get("mode"), f"{path}.mode")


def _projected(found: Causes, source: Fields, path: str) -> None:
    _mode(found, source.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, projection in enumerate(field.items(source, "sources")):
        here = f"{path}.sources[{index}]"
        for name in ("secret", "configMap"):
            if name in projection:
                _projected_keys(found, projection[name], taken, f"{here}.{name}", path)
        for item in field.items(projection.get("downwardAPI"), "items"):
            _downward_file(found, item, f"{here}.downwardAPI")
            _take(found, item.get("path"), item.get("path"), taken, path)
        if "serviceAccountToken" in projection:
            _token(found, projection["serviceAccountToken"], f"{here}.serviceAccountToken", path)
        if "clusterTrustBundle" in projection:
            _trust_bundle(found, projection["clusterTrustBundle"], taken, f"{here}.clusterTrustBundle", path)
        if len(projection) > 1:
            found.forbidden(here, "may not specify more than 1 volume type per source")


def _projected_keys(found: Causes, source: Fields, taken: set[str], path: str, volume_path: str) -> None:
    if not source.get("name"):
        found.required(f"{path}.name")
    for index, item in enumerate(field.items(source, "items")):
        _key_to_path(found, item, f"{path}.items[{index}]")
        _take(found, item.get("path"), source.get("name"), taken, volume_path)


def _take(found: Causes, target: str | None, shown: str | None, taken: set[str], path: str) -> None:
    if target:
        if target in taken:
            found.invalid(path, shown, "conflicting duplicate paths")
        taken.add(target)


def _token(found: Causes, token: Fields, path: str, volume_path: str) -> None:
    seconds = token.get("expirationSeconds") or 0
    if seconds < _MIN_TOKEN_SECONDS:
        found.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > _MAX_TOKEN_SECONDS:
        found.invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    target = token.get("path") or ""
    if not target:
        found.required(f"{volume_path}.path")
    else:
        found.messages(f"{volume_path}.path", target, formats.unreserved_path(target))


def _trust_bundle(found: Causes, bundle: Fields, taken: set[str], path: str, volume_path: str) -> None:
    name, signer = bundle.get("name"), bundle.get("signerName")
    if name is not None and signer is not None:
        found.invalid(path, bundle, "only one of name and signerName may be used")
    elif name is None and signer is None:
        found.required(path, "either name or signerName must be specified")
    elif name == "":
        found.required(f"{path}.name", "must be a valid object name")
    elif signer == "":
        found.required(f"{path}.signerName", "must be a valid signer name")
    metadata.label_selector(found, bundle.get("labelSelector"), f"{path}.labelSelector")
    target = bundle.get("path") or ""
    if not target:
        found.required(f"{path}.path")
    found.messages(f"{path}.path", target, formats.unreserved_path(target))
    _take(found, target, target, taken, volume_path)


def _ephemeral(found: Causes, volume: Fields, pod_name: str, path: str) -> None:
    here = f"{path}.ephemeral"
    template = volume["ephemeral"].get("volumeClaimTemplate")
    if template is None:
        found.required(f"{here}.volumeClaimTemplate")
    else:
        inner = f"{here}.volumeClaimTemplate"
        metadata.label_map(found, field.part(template, "metadata").get("labels"), f"{inner}.metadata.labels")
        claims.spec(found, field.part(template, "spec"), f"{inner}.spec")
    name = volume.get("name") or ""
    if pod_name and name:
        claim = f"{pod_name}-{name}"
        for message in formats.dns_subdomain(claim):
            found.invalid(f"{path}.name", name, f"PVC name {field.quoted(claim)}: {message}")


def csi(found: Causes, source: Fields, path: str) -> None:
    driver = source.get("driver") or ""
    if not driver:
        found.required(f"{path}.driver")
    else:
        found.messages(f"{path}.driver", driver, formats.dns_subdomain(driver.lower()))
    reference = source.get("nodePublishSecretRef")
    if reference is not None and not reference.get("name"):
        found.required(f"{path}.nodePublishSecretRef.name")


def _requires(*names: str) -> Callable[[Causes, Fields, str], None]:
    def rule(found: Causes, source: Fields, path: str) -> None:
        for name in names:
            if not source.get(name):
                found.required(f"{path}.{name}")

    return rule


SOURCES: dict[str, Callable[[Causes, Fields, str], None]] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _requires("repository"),
    "gcePersistentDisk": _requires("pdName"),
    "awsElasticBlockStore": _requires("volumeID"),
    "secret": _secret,
    "nfs": nfs,
    "iscsi": _requires("targetPortal", "iqn"),
    "glusterfs": _requires("endpoints", "path"),
    "persistentVolumeClaim": _claim,
    "rbd": _requires("monitors", "image"),
    "cinder": _requires("volumeID"),
    "cephfs": _requires("monitors"),
    "quobyte": _requires("registry", "volume"),
    "downwardAPI": _downward,
    "flexVolume": _requires("driver"),
    "configMap": _config_map,
    "azureFile": _requires("secretName", "shareName"),
    "vsphereVolume": _requires("volumePath"),
    "photonPersistentDisk": _requires("pdID"),
    "portworxVolume": _requires("volumeID"),
    "azureDisk": _requires("diskName", "diskURI"),
    "storageos": _requires("volumeName"),
    "projected": _projected,
    "scaleIO": _requires("gateway", "system", "volumeName"),
    "csi": csi,
}
_ORDER = {name: index for index, name in enumerate((*SOURCES, "ephemeral", "image"))}
