"""YAML request bodies: the values that upstream's YAML-to-JSON conversion gives.

Moments stay texts, there are no base-60 numbers, and a key that is set twice is told with its line.
"""

import re
from typing import Any

import yaml

_BOOL = re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$")
_INT = re.compile(r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?0o[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$")
_FLOAT = re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")


class YamlError(ValueError):
    """The text is no YAML, or says what JSON cannot."""


MAX_DEPTH = 1000
"""Deeper documents would exhaust the stack of the parser, which is C code and ends the process then."""
MAX_ALIASED = 100_000
"""How many nodes aliases may stand for, all in all: few bytes could otherwise mean gigabytes."""


class _Loader(yaml.CSafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own shape)

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name and key.tag != "tag:yaml.org,2002:merge" and name in seen:
                self.duplicates.append(f'line {key.start_mark.line + 1}: key "{name}" already set in map')
            seen.add(name)
        made = super().construct_mapping(node, deep=True)
        return {_key(name): value for name, value in made.items()}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("yYnNtTfFoO"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^(?:<<)$"), ["<"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])


def _construct_map(loader: _Loader, node: Any) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


def _construct_int(loader: _Loader, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(text[:2], 8 if text.startswith("0") and len(text) > 1 else 10)
    return sign * int(text[2:] if text[:2] in ("0x", "0b", "0o") else text, base)


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def load(data: bytes) -> tuple[Any, tuple[str, ...]]:
    """The value of the first document, and complaints about keys set twice. Raises YamlError."""
    try:
        _check_size(data)
        loader = _Loader(data)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise YamlError(f"yaml: {_shown(error)}") from None
    complaints = ("yaml: unmarshal errors:\n  " + "\n  ".join(loader.duplicates),) if loader.duplicates else ()
    return value, complaints


def _check_size(data: bytes) -> None:
    """Raises YamlError where the first document is too deep, refers to itself, or means far more than it says.

    On the parser's events, which come without recursion.
    """
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes counted before it
    sizes: dict[str, int] = {}  # by anchor, aliases within counted as what they stand for; 0 while it is open
    count = aliased = 0
    for event in yaml.parse(data, Loader=yaml.CSafeLoader):
        match event:
            case yaml.AliasEvent():
                size = sizes.get(event.anchor or "", 1)  # an unknown anchor is the composer's to tell
                if size == 0:
                    raise YamlError(f"yaml: anchor '{event.anchor}' value contains itself")
                count += size
                aliased += size
                if aliased > MAX_ALIASED:
                    raise YamlError("yaml: document contains excessive aliasing")
            case yaml.ScalarEvent():
                count += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            case yaml.CollectionStartEvent():
                open_nodes.append((event.anchor, count))
                count += 1
                if event.anchor:
                    sizes[event.anchor] = 0
                if len(open_nodes) > MAX_DEPTH:
                    raise YamlError(f"yaml: exceeded max depth of {MAX_DEPTH}")
            case yaml.CollectionEndEvent():
                anchor, before = open_nodes.pop()
                if anchor:
                    sizes[anchor] = count - before
            case yaml.DocumentEndEvent():
                return


def _key(name: Any) -> str:
    match name:
        case str():
            return name
        case bool():
            return "true" if name else "false"
        case int() | float():
            return str(name)
    raise YamlError(f"unsupported key of type {type(name).__name__}")


def _shown(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"line {mark.line + 1}: {getattr(error, 'problem', error)}"
    return str(error).partition("\n")[0] or type(error).__name__
