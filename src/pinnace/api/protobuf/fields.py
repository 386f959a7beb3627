"""What the types of the API are on the wire: numbers, types and presence of every field, from `fields.txt`.

A line of that file is one message: `name number:field:type …`. A type is `s` (text), `i` (integer), `b` (flag), `y` (bytes), `d` (double) or a
message, after `*` (repeated), `%` (map from text) or `^` (embedded: its fields are the parent's in JSON). What follows it says how upstream's
Go type treats emptiness: `?` is a pointer, whose absence differs from its zero value; `+` is printed even when it is empty; `-` is a struct
that is left out when it is zero. A plain field without a mark is left out of JSON when it is empty, and always written in protobuf.
`tools/build_fields.py` writes the file.
"""

import dataclasses
import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping

MAGIC = b"k8s\0"
_TYPE = re.compile(r"([*%^]?)(?:([sibyd])|(\.?[A-Za-z][\w.]+))([?+-]*)")


@dataclasses.dataclass(slots=True, eq=False)
class Field:
    number: int
    name: str
    """In JSON."""
    form: str
    """"" (one), "*" (repeated), "%" (map) or "^" (embedded)."""
    scalar: str
    """`s`, `i`, `b`, `y`, `d`, or "" for a message."""
    message: str
    """Its full name, or ""."""
    is_pointer: bool
    is_printed: bool
    """In JSON also when it is empty."""
    is_dropped: bool
    """A struct that is left out of JSON when it is zero."""


class Table:
    """Messages by name; a line is read when its message is first met."""

    def __init__(self, text: str) -> None:
        self._lines = {line.partition(" ")[0]: line for line in text.splitlines()}
        self._messages: dict[str, dict[int, Field]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __getitem__(self, name: str) -> Mapping[int, Field]:
        """The fields of a message by their numbers. Raises KeyError."""
        found = self._messages.get(name)
        if found is None:
            package = name.rpartition(".")[0]
            made = [_field(word, package) for word in self._lines[name].split(" ")[1:]]
            found = self._messages[name] = {field.number: field for field in made}
        return found


def _field(word: str, package: str) -> Field:
    number, name, kind = word.split(":", 2)
    parts = _TYPE.fullmatch(kind)
    assert parts is not None, word
    form, scalar, message, marks = parts.groups(default="")
    whole = package + message if message.startswith(".") else message
    return Field(int(number), name, form, scalar, whole, "?" in marks, "+" in marks, "-" in marks)


@functools.cache
def table() -> Table:
    """Read at its first use."""
    return Table(importlib.resources.files("pinnace.api.protobuf").joinpath("fields.txt").read_text())


_PACKAGES = {
    "": "core",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "internal.apiserver.k8s.io": "apiserverinternal",
    "meta.k8s.io": "apis.meta",
    "rbac.authorization.k8s.io": "rbac",
}


def package(group: str, version: str) -> str:
    """`apps.v1`: how the table shortens the name of a group's package. That of a group which is not upstream's is no name in the table."""
    return f"{_PACKAGES.get(group) or group.removesuffix('.k8s.io')}.{version}"


def message_of(api_version: str, kind: str) -> str | None:
    """The message of a kind: its own, or one that every group shares (`DeleteOptions`). None for a kind without one."""
    group, _, version = api_version.rpartition("/")
    return next(
        (name for name in (f"{package(group, version)}.{kind}", f"apis.meta.v1.{kind}") if name in table()), None
    )


_ROOTS = re.compile(r"io\.k8s\.(?:api|apimachinery\.pkg|[\w-]+\.pkg\.apis)\.(?=.+\.)")


def of_definition(name: str) -> str | None:
    """The message that the definition `io.k8s.api.core.v1.PodSpec` is on the wire."""
    root = _ROOTS.match(name)
    short = name[root.end() :] if root else ""
    return short if short in table() else None


def by_definition(name: str) -> dict[str, Field]:
    """The fields of a definition by their names in JSON; none of one that is not on the wire."""
    message = of_definition(name)
    return dict(flat(message)) if message else {}


def flat(message: str) -> Iterator[tuple[str, Field]]:
    """(name in JSON, field), those of embedded messages among them."""
    for field in table()[message].values():
        if field.form == "^":
            yield from flat(field.message)
        else:
            yield field.name, field
