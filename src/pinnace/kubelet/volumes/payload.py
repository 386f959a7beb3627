"""What config maps, secrets and the downward API look like as files. Pure."""

import base64
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from pinnace.kubelet.pod import fields, podspec
from pinnace.kubelet.volumes import interface

DEFAULT_MODE = 0o644


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    data: bytes
    mode: int = DEFAULT_MODE
    owner: int | None = None


Payload = dict[str, File]
"""Relative path -> file."""


def check_path(path: str) -> str:
    """Raises VolumeError for a path that would leave the volume."""
    parts = pathlib.PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise interface.VolumeError(f"invalid path {path}: must be a relative path without '..'")
    return str(pathlib.PurePosixPath(path))


def config_map_data(config_map: podspec.Object) -> dict[str, bytes]:
    data = {name: str(text).encode() for name, text in (config_map.get("data") or {}).items()}
    return data | {name: base64.b64decode(text) for name, text in (config_map.get("binaryData") or {}).items()}


def secret_data(secret: podspec.Object) -> dict[str, bytes]:
    return {name: base64.b64decode(text) for name, text in (secret.get("data") or {}).items()}


def select(
    data: Mapping[str, bytes], items: Sequence[podspec.Object] | None, default_mode: int, *, optional: bool, what: str
) -> Payload:
    """All of `data`, or the `items` of it. Raises VolumeError."""
    if not items:
        return {check_path(name): File(content, default_mode) for name, content in data.items()}
    payload: Payload = {}
    for item in items:
        if item["key"] not in data:
            if optional:
                continue
            raise interface.VolumeError(f"{what} references non-existent {what_key(what)} key: {item['key']}")
        mode = item.get("mode")
        payload[check_path(item["path"])] = File(data[item["key"]], default_mode if mode is None else int(mode))
    return payload


def what_key(what: str) -> str:
    return "config" if what == "configmap" else what


def downward(pod: podspec.Object, items: Sequence[podspec.Object], default_mode: int, facts: fields.Facts) -> Payload:
    """Raises VolumeError."""
    payload: Payload = {}
    for item in items:
        try:
            if item.get("fieldRef"):
                text = fields.field(pod, item["fieldRef"]["fieldPath"], facts)
            else:
                text = fields.resource(pod, item["resourceFieldRef"], facts)
        except fields.FieldError as error:
            raise interface.VolumeError(str(error)) from error
        mode = item.get("mode")
        payload[check_path(item["path"])] = File(text.encode(), default_mode if mode is None else int(mode))
    return payload
