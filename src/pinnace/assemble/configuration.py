"""What a person may set, and which of the places that say something about it wins.

Flag, then `PINNACE_<NAME>` in the environment, then `config.yaml`, then `config.yaml.d/*.yaml` (later names win among them), then what the
cluster was started with, then the default. `resolve` is pure: it gets what each place says.
"""

import dataclasses
import importlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.assemble import places

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
LOG_LEVELS = ("debug", "info", "warning", "error")
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ConfigurationError(Exception):
    """A value is unusable; the text names where it is said, its key, the value, and what would be right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that can be set, by flag (`--log-level`), variable (`PINNACE_LOG_LEVEL`) or file (`log-level:`)."""

    data_dir: pathlib.Path
    """Folder of the cluster. Default: /var/lib/pinnace for root, $XDG_DATA_HOME/pinnace for others; `pinnace-<name>` beside it for a
    cluster of another name."""
    name: str = places.DEFAULT_NAME
    """Of the cluster and its kubeconfig context: lower-case letters, digits and `-`, at most 40."""
    port: int = 6443
    """TCP port of the API, on every address of the machine. 6443 is upstream's."""
    node: bool = True
    """Whether this machine runs containers; without, a control plane alone, which needs no root."""
    merge_kubeconfig: bool = True
    """Whether `up` adds a context to ~/.kube/config (or the first file of $KUBECONFIG)."""
    log_level: str = "info"
    """Of logs/server.log and logs/node.log: debug, info, warning or error. `debug` is much."""
    discard_unpacked_layers: bool = False
    """Whether an image's layers are dropped as they came once they are unpacked (containerd's word). Saves about a third of the disk that
    images take; they cannot be pushed or saved then."""


KEYS = tuple(field.name.replace("_", "-") for field in dataclasses.fields(Configuration))


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    key: str
    value: Any
    origin: str
    """`--port`, `PINNACE_PORT`, `FILE:LINE`, `DIR/cluster.json`, or `default`."""

    @property
    def is_said(self) -> bool:
        """By a flag, a variable or a file: it then asks a cluster that exists to change."""
        return self.origin != "default"


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """A value in a file."""

    value: Any
    origin: str


def load(flags: Mapping[str, Any]) -> dict[str, Value]:
    """Every key with its value and origin, from this process's environment and this user's files. Raises ConfigurationError."""
    return resolve(flags, os.environ, read_files(main_file(os.environ)))


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], files: Sequence[Mapping[str, Line]]
) -> dict[str, Value]:
    """`flags` and `files` by key (`data-dir`), a flag that was not given being absent or None; `files` the strongest first."""
    found = {key: value for key in KEYS if (value := _said(key, flags, environment, files)) is not None}
    found.setdefault("name", Value("name", places.DEFAULT_NAME, "default"))
    folder = places.default_data_dir(found["name"].value)
    found.setdefault("data-dir", Value("data-dir", folder, "default"))
    defaults = Configuration(data_dir=folder)
    return {key: found.get(key) or Value(key, getattr(defaults, key.replace("-", "_")), "default") for key in KEYS}


def _said(
    key: str, flags: Mapping[str, Any], environment: Mapping[str, str], files: Sequence[Mapping[str, Line]]
) -> Value | None:
    if flags.get(key) is not None:
        origin = f"--no-{key}" if flags[key] is False else f"--{key}"
        return Value(key, parse(key, flags[key], origin), origin)
    variable = variable_of(key)
    if environment.get(variable):
        return Value(key, parse(key, environment[variable], variable), variable)
    for file in files:
        if key in file:
            line = file[key]
            return Value(key, parse(key, line.value, f"{line.origin}: {key}"), line.origin)
    return None


def variable_of(key: str) -> str:
    return "PINNACE_" + key.upper().replace("-", "_")


def parse(key: str, raw: Any, origin: str) -> Any:
    """The typed value of `raw` (text, or what YAML made of it)."""
    if key == "data-dir":
        if isinstance(raw, str) and raw:
            return pathlib.Path(raw).expanduser().absolute()
        raise _wrong(origin, raw, "the path of a folder")
    if key == "name":
        if isinstance(raw, str) and NAME.fullmatch(raw):
            return raw
        raise _wrong(origin, raw, "at most 40 lower-case letters, digits and '-', with a letter or digit at both ends")
    if key == "port":
        text = str(raw)
        if text.isdecimal() and 1 <= int(text) <= 65535 and not isinstance(raw, bool):
            return int(text)
        raise _wrong(origin, raw, "a whole number from 1 to 65535")
    if key == "log-level":
        if str(raw).lower() in LOG_LEVELS:
            return str(raw).lower()
        raise _wrong(origin, raw, "one of " + ", ".join(LOG_LEVELS))
    text = str(raw).lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise _wrong(origin, raw, "true or false")


def _wrong(origin: str, raw: Any, right: str) -> ConfigurationError:
    return ConfigurationError(f"{origin}: {raw!r} is not possible; give {right}")


def main_file(environment: Mapping[str, str]) -> pathlib.Path:
    """`$PINNACE_CONFIG`, else `/etc/pinnace/config.yaml` for root, else below XDG_CONFIG_HOME."""
    if environment.get("PINNACE_CONFIG"):
        return pathlib.Path(environment["PINNACE_CONFIG"])
    if os.geteuid() == 0:
        return pathlib.Path("/etc/pinnace/config.yaml")
    return pathlib.Path(environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "pinnace", "config.yaml")


def read_files(main: pathlib.Path) -> list[Mapping[str, Line]]:
    """`main` and what lies in `<main>.d`, the strongest first. A file that is not there says nothing."""
    present = [main] if main.is_file() else []
    present += sorted(main.with_name(main.name + ".d").glob("*.yaml"), reverse=True)
    if not present:
        return []
    # Most machines have no such file, and the YAML library would be a third of the time that `pinnace status` takes.
    reader = importlib.import_module("pinnace.assemble.configuration_files")
    try:
        files = [reader.read(path, KEYS) for path in present]
    except reader.UnusableFile as error:
        raise ConfigurationError(str(error)) from error
    return [{key: Line(*found) for key, found in file.items()} for file in files]
