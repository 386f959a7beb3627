"""Reading a configuration file: YAML, one mapping, known keys only. Loaded where there is such a file."""

import difflib
import pathlib
from collections.abc import Sequence
from typing import Any

import yaml


class UnusableFile(Exception):
    """Names file, line, and what would be right."""


def read(path: pathlib.Path, known: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """The value of each key, and where it stands: `FILE:LINE`. Raises UnusableFile, also for keys that are not `known`."""
    try:
        loader = yaml.SafeLoader(path.read_text())
        root = loader.get_single_node()
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path}: not readable: {error}") from error
    except yaml.YAMLError as error:
        raise UnusableFile(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise UnusableFile(f"{path}: not a mapping; write lines such as `port: 6443`")
    found = {}
    for key_node, value_node in root.value:
        origin = f"{path}:{key_node.start_mark.line + 1}"
        key = str(key_node.value)
        if key not in known:
            raise UnusableFile(f"{origin}: {key}: no such setting; {_hint(key, known)}")
        found[key] = (loader.construct_object(value_node, deep=True), origin)
    return found


def _hint(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key.lower().replace("_", "-"), known, 1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
