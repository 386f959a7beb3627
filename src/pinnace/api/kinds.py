"""The table of kinds: what exists, under which path, with which verbs, by which rules.

Built once from the compiled definitions; custom kinds (`custom`) come and go in a registry at run time.
"""

import dataclasses
import functools
from collections.abc import Mapping
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
    """Which kinds this server serves. Lookups are dictionary accesses."""

    def __init__(self) -> None:
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._by_kind: dict[tuple[str, str, str], Kind] = {}

    def add(self, kind: Kind) -> None:
        """Serve `kind`; one of the same group, version and plural is replaced."""
        self._by_path[kind.group, kind.version, kind.plural] = kind
        self._by_kind[kind.group, kind.version, kind.kind] = kind

    def remove(self, kind: Kind) -> None:
        self._by_path.pop((kind.group, kind.version, kind.plural), None)
        self._by_kind.pop((kind.group, kind.version, kind.kind), None)

    def by_path(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> Kind | None:
        return self._by_kind.get((group, version, kind))

    def all(self) -> tuple[Kind, ...]:
        """In the order in which discovery prints them."""
        return tuple(self._by_path.values())


def builtin(*, previews: bool = False) -> Registry:
    """A fresh registry with every built-in kind of v1.36 that is served by default; with `previews`, alpha and beta versions too."""
    registry = Registry()
    for group, version, rows in table.TABLE:
        if previews or not is_preview(version):
            for row in rows:
                registry.add(_from_row(group, version, row))
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
