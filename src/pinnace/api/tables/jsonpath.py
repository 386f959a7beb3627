"""The JSONPath of printer columns: `.spec.x`, `['x']`, `[0]`, `[-1]`, `[*]`, `[?(@.type=="Ready")].status`, `..` excepted."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pinnace.kit import remembered

Step = Callable[[Any], Iterator[Any]]

_TOKEN = re.compile(
    r"""\.?\*|\.(?P<name>(?:\\.|[^.\[\]\\])+)|\[(?P<quoted>'(?:\\.|[^'])*'|"(?:\\.|[^"])*")\]|\[(?P<index>-?\d+)\]|\[\*\]"""
    r"""|\[\?\(\s*@(?P<path>[^=!<>]*?)\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<value>[^)]*?)\s*\)\]"""
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


@remembered.short(1024)
def parse(path: str) -> tuple[Step, ...]:
    """Raises ValueError for what is not a path."""
    steps: list[Step] = []
    position = 0
    text = path.removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = "." + text
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not a JSON path: {path!r} (at {text[position:]!r})")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def find(obj: Any, path: str) -> list[Any]:
    """Every value that `path` leads to; none where a step does not apply. Raises ValueError for what is not a path."""
    found = [obj]
    for step in parse(path):
        found = [child for value in found for child in step(value)]
    return found


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        return functools.partial(_field, re.sub(r"\\(.)", r"\1", match["name"]))
    if match["quoted"] is not None:
        return functools.partial(_field, re.sub(r"\\(.)", r"\1", match["quoted"][1:-1]))
    if match["index"] is not None:
        return functools.partial(_item, int(match["index"]))
    if match["op"] is not None:
        return functools.partial(_filter, match["path"], _COMPARISONS[match["op"]], _literal(match["value"]))
    return _every


def _literal(text: str) -> Any:
    if text[:1] == "'" and text[-1:] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _field(name: str, value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping) and name in value:
        yield value[name]


def _item(index: int, value: Any) -> Iterator[Any]:
    if isinstance(value, list) and -len(value) <= index < len(value):
        yield value[index]


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping):
        yield from value.values()


def _filter(path: str, compare: Callable[[Any, Any], bool], wanted: Any, value: Any) -> Iterator[Any]:
    for item in value if isinstance(value, list) else ():
        for found in find(item, path):
            if type(found) is type(wanted) and compare(found, wanted):
                yield item
                break
