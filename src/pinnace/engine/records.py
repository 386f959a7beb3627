"""What the engine keeps on disk: one JSON file per container and per sandbox, replaced atomically."""

import dataclasses
import enum
import json
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from pinnace.engine import interface
from pinnace.kit import files

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class ContainerRecord:
    id: str
    spec: interface.ContainerSpec
    image_id: str
    layers: tuple[str, ...]
    """diffIDs, lowest first: kept as long as the container is."""
    cgroup: str
    log_path: pathlib.Path
    created_at: int
    status: interface.ContainerStatus = interface.ContainerStatus.CREATED
    stop_signal: str = "SIGTERM"
    pid: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    user: interface.User | None = None

    def container(self) -> interface.Container:
        return interface.Container(
            id=self.id, spec=self.spec, image_id=self.image_id, status=self.status,
            pid=self.pid if self.status.is_alive else 0, created_at=self.created_at, started_at=self.started_at,
            finished_at=self.finished_at, exit_code=self.exit_code, oom_killed=self.oom_killed, log_path=self.log_path,
            error=self.error, user=self.user,
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class SandboxRecord:
    id: str
    spec: interface.SandboxSpec
    created_at: int
    cgroup: str
    pause_pid: int = 0
    """Of the process that holds the shared PID namespace; 0: none."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImageMount:
    """An image that is shown somewhere: its layers stay as long as it is mounted there."""

    target: pathlib.Path
    image_id: str
    layers: tuple[str, ...]


def encode(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_plain)
    except TypeError:
        # A string that is no Unicode (a byte of some file name): JSON can escape it.
        return json.dumps(_plain(value), separators=(",", ":")).encode()


def decode(kind: type[T], data: bytes) -> T:
    """Raises ValueError, KeyError or TypeError for what `encode` did not write."""
    return typing.cast(T, _restore(kind, json.loads(data)))


def write(path: pathlib.Path, record: ContainerRecord | SandboxRecord | ImageMount) -> None:
    # Not synced: after a power loss no container runs, and a record that is damaged then is cleaned up.
    files.write_atomic(path, encode(record), 0o600)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, pathlib.Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _restore(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        chosen = next(option for option in typing.get_args(kind) if option is not type(None))
        return _restore(chosen, value)
    if origin is tuple:
        options = typing.get_args(kind)
        if len(options) == 2 and options[1] is Ellipsis:
            return tuple(_restore(options[0], item) for item in value)
        return tuple(_restore(option, item) for option, item in zip(options, value, strict=True))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _restore(hints[name], item) for name, item in value.items() if name in hints})
    if isinstance(kind, type) and issubclass(kind, enum.Enum | pathlib.PurePath):
        return kind(value)
    return value
