"""What a base image is made of: packages, files, and how it runs. Pure.

In a file, one YAML document per image:

    name: pinnace.local/web:1
    packages: [nginx]
    exclude: [iproute2]                      # dependencies that the image does without
    add: [{source: web/nginx.conf, target: /etc/nginx/nginx.conf, mode: "0644"}]
    users: [{name: web, uid: 1000}]
    directories: [{path: /var/lib/web, mode: "0755", owner: 1000}]
    links: {/usr/bin/editor: vi}
    environment: {LANG: C.UTF-8}
    entrypoint: [...]
    command: [...]
    user: "1000:1000"
    workdir: /
    ports: [8080]
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

BASE = ("base-files", "base-passwd", "coreutils", "dash", "libc-bin", "libc6")
"""What every image has: the file system's skeleton, a shell, the usual small programs."""

# Essential packages that these depend on because a real Debian runs their maintainer scripts; an image has none of that.
BASE_EXCLUDE = ("debconf", "debianutils", "dpkg", "libdebconfclient0", "mawk", "tar")

MIRROR = "http://deb.debian.org/debian"
RELEASE = "bookworm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?")
_REFERENCE = re.compile(r"[a-z0-9]+([._:/-]+[a-zA-Z0-9]+)*")


class SpecificationError(ValueError):
    """Says which field is wrong and what would be right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Addition:
    source: str
    """File or folder on this machine; relative to the specification's folder."""
    target: str
    """Absolute path in the image; a folder's content goes below it."""
    mode: int | None = None
    """Of files; by default 0755 where the source may be executed by its owner, else 0644."""
    owner: int = 0
    group: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    name: str
    uid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    path: str
    mode: int = 0o755
    owner: int = 0
    group: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Specification:
    name: str
    """The reference under which the image is found: `pinnace.local/web:1`."""
    packages: tuple[str, ...] = ()
    base: tuple[str, ...] = BASE
    """Packages of the lowest layer, which images of the same base share."""
    exclude: tuple[str, ...] = ()
    """Packages that are left out although others depend on them."""
    add: tuple[Addition, ...] = ()
    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    ports: tuple[str, ...] = ()
    """`8080` or `53/udp`."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stop_signal: str = ""
    release: str = RELEASE
    mirror: str = MIRROR


def parse(document: Any) -> Specification:
    """From the form shown above. Raises SpecificationError."""
    if not isinstance(document, Mapping):
        raise SpecificationError("an image must be a mapping with at least a name")
    known = {field.name for field in dataclasses.fields(Specification)}
    unknown = sorted(set(map(str, document)) - known)
    if unknown:
        raise SpecificationError(f"unknown field {unknown[0]!r}: expected one of {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for field, value in document.items():
        values[field] = _PARSERS.get(field, _text)(field, value)
    if not values.get("name"):
        raise SpecificationError("name is missing: expected a reference such as pinnace.local/web:1")
    specification = Specification(**values)
    check(specification)
    return specification


def parse_all(documents: Sequence[Any]) -> tuple[Specification, ...]:
    """Every image of a file's documents; empty documents are skipped. Raises SpecificationError."""
    return tuple(parse(document) for document in documents if document is not None)


def check(specification: Specification) -> None:
    """Raises SpecificationError for what cannot be built, or would reach outside of the image."""
    if not _REFERENCE.fullmatch(specification.name):
        raise SpecificationError(f"name {specification.name!r} is not an image reference such as pinnace.local/web:1")
    for package in (*specification.packages, *specification.base, *specification.exclude):
        if not _PACKAGE.fullmatch(package):
            raise SpecificationError(f"{package!r} is not the name of a Debian package")
    paths = (
        *(item.target for item in specification.add),
        *(item.path for item in specification.directories),
        *specification.links,
    )
    for path in paths:
        if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise SpecificationError(f"{path!r} is not an absolute path without '..'")
    for user in specification.users:
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", user.name) or any(":" in part for part in (user.home, user.shell)):
            raise SpecificationError(f"user {user.name!r} is not a valid account")
    if not re.fullmatch(r"[a-z][a-z0-9.-]*", specification.release):
        raise SpecificationError(f"release {specification.release!r} is not the name of a Debian release")
    if not re.fullmatch(r"https?://[^\s\[\]]+", specification.mirror):
        raise SpecificationError(f"mirror {specification.mirror!r} is not an http or https address")


def _text(field: str, value: Any) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise SpecificationError(f"{field} must be a string")


def _texts(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SpecificationError(f"{field} must be a list of strings")
    return tuple(_text(field, item) for item in value)


def _map(field: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise SpecificationError(f"{field} must be a mapping of strings")
    return {_text(field, key): _text(field, item) for key, item in value.items()}


def _number(field: str, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
        return value
    raise SpecificationError(f"{field} must be a number from 0 to 4294967295")


def _mode(field: str, value: Any) -> int:
    text = str(value)
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3,4}", text):
        raise SpecificationError(f'{field} must be a quoted octal number such as "0755"')
    return int(text, 8)


def _items(kind: type[Any], parsers: Mapping[str, Any]) -> Any:
    def read(field: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise SpecificationError(f"{field} must be a list of mappings")
        found = []
        for item in value:
            unknown = sorted(set(map(str, item)) - set(parsers))
            if unknown:
                raise SpecificationError(f"{field}: unknown field {unknown[0]!r}: expected one of {', '.join(parsers)}")
            parsed = {name: parsers[name](f"{field}.{name}", content) for name, content in item.items()}
            try:
                found.append(kind(**parsed))
            except TypeError:
                raise SpecificationError(f"{field}: an item lacks one of {', '.join(parsers)}") from None
        return tuple(found)

    return read


_PARSERS: dict[str, Any] = {
    "packages": _texts,
    "base": _texts,
    "exclude": _texts,
    "entrypoint": _texts,
    "command": _texts,
    "ports": _texts,
    "links": _map,
    "environment": _map,
    "labels": _map,
    "add": _items(Addition, {"source": _text, "target": _text, "mode": _mode, "owner": _number, "group": _number}),
    "users": _items(User, {"name": _text, "uid": _number, "home": _text, "shell": _text}),
    "directories": _items(Directory, {"path": _text, "mode": _mode, "owner": _number, "group": _number}),
}
