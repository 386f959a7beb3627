"""The table of kinds: what exists, under which path, with which verbs, by which rules.

Built once from the compiled definitions; custom kinds (`custom`) come and go in a registry at run time.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pinnace.api import builtin as table
from pinnace.api import schema as schemas
from pinnace.api.rules import base, generic

Object = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    group: str
    """ "" is the core group."""
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    """Of the resource itself, as discovery prints them."""
    subresources: tuple["Subresource", ...] = ()
    definition: str = ""
    """Its name in the OpenAPI documents: `io.k8s.api.core.v1.Pod`, `com.example.v1.Widget`."""
    folder: str = ""
    """Below `/registry`, exactly where upstream keeps it in etcd: `pods`, `services/specs`, `example.com/widgets`."""
    is_virtual: bool = False
    """Answered, never stored: SubjectAccessReview, TokenReview, ComponentStatus …"""
    rules: base.Rules = dataclasses.field(default=base.Rules(), compare=False, repr=False)
    own_schema: schemas.Schema | None = dataclasses.field(default=None, compare=False, repr=False)
    """None: the one that v1.36 has under the name `definition`."""
    own_openapi: Mapping[str, Any] | None = dataclasses.field(default=None, compare=False, repr=False)
    """The same as its author wrote it, for the OpenAPI documents."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def schema(self) -> schemas.Schema:
        """Of its objects."""
        return self.own_schema or schemas.definition(self.definition)

    def subresource(self, name: str) -> "Subresource | None":
        return next((sub for sub in self.subresources if sub.name == name), None)

    def part(self, subresource: str) -> base.Part:
        """What may change through a path that ends in `subresource` ("": the object itself)."""
        if not subresource:
            return self.rules.update
        return self.rules.status if subresource == "status" else self.rules.parts.get(subresource, self.rules.update)


@dataclasses.dataclass(frozen=True, slots=True)
class Subresource:
    name: str
    """`status`, `scale`, `log`, `binding` …"""
    verbs: tuple[str, ...]
    kind: str
    group: str = ""
    version: str = ""
    """Of the kind it speaks, where that differs from its parent's (`autoscaling/v1` `Scale`)."""


class Registry:
    """Which kinds this server serves. Lookups are dictionary accesses.

    Custom kinds come and go while the server runs. Whoever keeps what was made of the kinds keeps their `generation` with it, or
    follows the changes."""

    def __init__(self) -> None:
        self.generation = 0
        """Grows with every change."""
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._by_kind: dict[tuple[str, str, str], Kind] = {}
        self._followers: dict[Callable[[], None], None] = {}

    def add(self, *kinds: Kind) -> None:
        """Serve `kinds`; whichever has the same group, version and plural is replaced."""
        self.change(add=kinds)

    def remove(self, *kinds: Kind) -> None:
        self.change(remove=kinds)

    def change(self, *, add: Iterable[Kind] = (), remove: Iterable[Kind] = ()) -> None:
        """Everything at once: nobody sees a part of it."""
        for kind in remove:
            self._by_path.pop((kind.group, kind.version, kind.plural), None)
            self._by_kind.pop((kind.group, kind.version, kind.kind), None)
        for kind in add:
            self._by_path[kind.group, kind.version, kind.plural] = kind
            self._by_kind[kind.group, kind.version, kind.kind] = kind
        self.generation += 1
        for tell in tuple(self._followers):
            tell()

    def follow(self, tell: Callable[[], None]) -> None:
        """Call `tell` after every change, until `unfollow`. It must neither wait nor raise."""
        self._followers[tell] = None

    def unfollow(self, tell: Callable[[], None]) -> None:
        self._followers.pop(tell, None)

    def serves(self, kind: Kind) -> bool:
        """False once `kind` was removed, or replaced by another of its name."""
        return self._by_path.get((kind.group, kind.version, kind.plural)) is kind

    def by_path(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> Kind | None:
        return self._by_kind.get((group, version, kind))

    def all(self) -> tuple[Kind, ...]:
        """In the order in which discovery prints them; a snapshot."""
        return tuple(self._by_path.values())

    def versions(self, group: str) -> tuple[str, ...]:
        """Those of `group` that are served, the preferred one first."""
        return tuple(sorted({kind.version for kind in self.all() if kind.group == group}, key=version_rank))


_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?", re.ASCII)
_STAGES = {None: 0, "beta": 1, "alpha": 2}


def version_rank(name: str) -> tuple[int, int, int, str]:
    """Sorts the best first: v10, v2, v1, v11beta2, v10beta3, v3beta1, v12alpha1, then others by name."""
    found = _VERSION.fullmatch(name)
    if found is None:
        return len(_STAGES), 0, 0, name
    major, stage, minor = found.groups()
    return _STAGES[stage], -int(major), -int(minor or 0), ""


def builtin(*, previews: bool = False) -> Registry:
    """A fresh registry with every built-in kind of v1.36 that is served by default; with `previews`, alpha and beta versions too."""
    registry = Registry()
    for group, version, rows in table.TABLE:
        if previews or not is_preview(version):
            registry.add(*(_from_row(group, version, row) for row in rows))
    return registry


def is_preview(version: str) -> bool:
    return "alpha" in version or "beta" in version


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.k8s.api.apps.v1.Deployment`."""
    package = table.PACKAGES.get(group) or "io.k8s.api." + group.partition(".")[0]
    return f"{package}.{version}.{kind}"


@functools.cache
def _known() -> frozenset[tuple[str, str, str]]:
    return frozenset((group, version, row.kind) for group, version, rows in table.TABLE for row in rows)


def is_known(group: str, version: str, kind: str) -> bool:
    """Whether v1.36 has such a built-in kind, served or not."""
    return (group, version, kind) in _known()


def _from_row(group: str, version: str, row: base.Row) -> Kind:
    definition, rules = definition_name(group, version, row.kind), row.rules
    if any(sub.name == "status" for sub in row.subs):
        rules = dataclasses.replace(rules, defaults=generic.with_status(definition, rules.defaults, rules.counts))
    return Kind(
        group=group,
        version=version,
        kind=row.kind,
        plural=row.plural,
        singular=row.kind.lower(),
        namespaced=row.namespaced,
        short_names=tuple(row.short.split()),
        categories=tuple(row.categories.split()),
        verbs=row.verbs,
        subresources=tuple(
            Subresource(sub.name, sub.verbs, sub.kind or row.kind, sub.group, sub.version) for sub in row.subs
        ),
        definition=definition,
        folder=row.folder or row.plural,
        is_virtual=row.is_virtual,
        rules=rules,
    )


def storage_prefix(kind: Kind) -> str:
    """`/registry/pods/`, `/registry/services/specs/`, `/registry/deployments/` …"""
    return f"/registry/{kind.folder}/"


def storage_key(kind: Kind, namespace: str, name: str) -> str:
    prefix = storage_prefix(kind)
    return f"{prefix}{namespace}/{name}" if kind.namespaced else prefix + name
