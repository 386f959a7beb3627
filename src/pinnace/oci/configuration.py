"""An image's configuration and manifests as values (OCI image-spec v1.1, Docker schema 2). Pure; hostile input gives ConfigurationError."""

import dataclasses
import datetime
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

MAXIMUM_LAYERS = 500
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIGURATION_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPES: Mapping[str, str] = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
MAXIMUM_SIZE = 1 << 50


class ConfigurationError(ValueError):
    """The document is not what it should be; says what is wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    diff_ids: tuple[str, ...]
    created_ns: int = 0
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    working_directory: str = ""
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Descriptor:
    digest: str
    size: int
    media_type: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    configuration: Descriptor
    layers: tuple[Descriptor, ...]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def describe(manifest: bytes) -> Descriptor:
    """Of a manifest or an index; its media type is its own, or follows from its form."""
    document = parse_document(manifest, "manifest")
    kind = str(document.get("mediaType") or "") or (INDEX_TYPES if is_index(document) else MANIFEST_TYPES)[0]
    return Descriptor(digest_of(manifest), len(manifest), kind)


def make_manifest(raw: bytes, layers: Sequence[Descriptor]) -> bytes:
    """For a configuration that came without one."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": {"mediaType": CONFIGURATION_TYPE, "digest": digest_of(raw), "size": len(raw)},
        "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def local_architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def parse_document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{what} is not a JSON object")
    return document


def parse_configuration(data: bytes) -> Configuration:
    document = parse_document(data, "image configuration")
    system = document.get("os", "linux") or "linux"
    if system != "linux":
        raise ConfigurationError(f"image is for {str(system)[:40]!r}, not for linux")
    settings = _mapping(document.get("config"), "config")
    diff_ids = _strings(_mapping(document.get("rootfs"), "rootfs").get("diff_ids"), "rootfs.diff_ids")
    if len(diff_ids) > MAXIMUM_LAYERS:
        raise ConfigurationError(f"image has {len(diff_ids)} layers, at most {MAXIMUM_LAYERS} are supported")
    for diff_id in diff_ids:
        _check_digest(diff_id)
    labels = _mapping(settings.get("Labels"), "config.Labels")
    return Configuration(
        diff_ids=diff_ids,
        created_ns=_nanoseconds(document.get("created")),
        user=_string(settings.get("User"), "config.User"),
        entrypoint=_strings(settings.get("Entrypoint"), "config.Entrypoint"),
        command=_strings(settings.get("Cmd"), "config.Cmd"),
        environment=_strings(settings.get("Env"), "config.Env"),
        working_directory=_string(settings.get("WorkingDir"), "config.WorkingDir"),
        stop_signal=_string(settings.get("StopSignal"), "config.StopSignal"),
        exposed_ports=tuple(_mapping(settings.get("ExposedPorts"), "config.ExposedPorts")),
        volumes=tuple(_mapping(settings.get("Volumes"), "config.Volumes")),
        labels={str(name): str(value) for name, value in labels.items()},
    )


def parse_manifest(data: bytes) -> Manifest:
    document = parse_document(data, "image manifest")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise ConfigurationError("image manifest has schema version 1, which registries no longer serve")
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) > MAXIMUM_LAYERS:
        raise ConfigurationError("image manifest has no list of layers, or too many")
    return Manifest(_descriptor(document.get("config")), tuple(_descriptor(layer) for layer in layers))


def is_index(document: Mapping[str, Any], media_type: str = "") -> bool:
    kind = document.get("mediaType") or media_type
    return kind in INDEX_TYPES or (isinstance(document.get("manifests"), list) and "layers" not in document)


def select_manifest(document: Mapping[str, Any], architecture: str) -> Descriptor:
    """The manifest of an index for linux on `architecture`. Raises ConfigurationError that lists what there is."""
    entries = document.get("manifests")
    if not isinstance(entries, list):
        raise ConfigurationError("image index has no list of manifests")
    offered = []
    for entry in entries:
        target = _mapping(_mapping(entry, "manifest descriptor").get("platform"), "platform")
        if not target or (target.get("os") == "linux" and target.get("architecture") == architecture):
            return _descriptor(entry)
        offered.append(f"{target.get('os')}/{target.get('architecture')}"[:40])
    raise ConfigurationError(
        f"no matching manifest for linux/{architecture} in the manifest list entries: {', '.join(offered[:20])}"
    )


def _descriptor(value: Any) -> Descriptor:
    document = _mapping(value, "descriptor")
    digest, size = document.get("digest"), document.get("size")
    if not isinstance(digest, str) or not isinstance(size, int) or isinstance(size, bool):
        raise ConfigurationError("a descriptor without digest or size")
    if not 0 <= size <= MAXIMUM_SIZE:
        raise ConfigurationError("a descriptor of an impossible size")
    _check_digest(digest)
    return Descriptor(digest, size, str(document.get("mediaType") or ""))


def _check_digest(digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
        raise ConfigurationError(f"not a sha256 digest: {digest[:100]!r}")


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{what} is not an object")
    return value


def _string(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} is not a string")
    return value


def _strings(value: Any, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(f"{what} is not a list of strings")
    return tuple(value)


def _nanoseconds(value: Any) -> int:
    if not isinstance(value, str) or not value:
        return 0
    try:
        # fromisoformat takes at most six digits of a second's fraction.
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * 1_000_000_000
