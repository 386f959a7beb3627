"""The table of kinds: what exists, under which path, with which verbs.

Built once from the compiled definitions; custom resources add their own `Kind`s to a registry at run time.
"""

import dataclasses
from typing import Any

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
    """Name in the OpenAPI definitions: `io.k8s.api.core.v1.Pod`."""
    storage_group: str = ""
    """The folder below `/registry` where upstream keeps it in etcd, when it is not the plural (see `storage_prefix`)."""
    is_virtual: bool = False
    """Answered, never stored: SubjectAccessReview, TokenReview, ComponentStatus …"""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


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
        raise NotImplementedError

    def add(self, kind: Kind) -> None:
        raise NotImplementedError

    def remove(self, kind: Kind) -> None:
        raise NotImplementedError

    def by_path(self, group: str, version: str, plural: str) -> Kind | None:
        raise NotImplementedError

    def by_kind(self, group: str, version: str, kind: str) -> Kind | None:
        raise NotImplementedError

    def all(self) -> tuple[Kind, ...]:
        """In the order in which discovery prints them."""
        raise NotImplementedError


def builtin() -> Registry:
    """A fresh registry with every built-in kind of v1.36 that is served by default."""
    raise NotImplementedError


def storage_prefix(kind: Kind) -> str:
    """`/registry/pods/`, `/registry/services/specs/`, `/registry/deployments/` …: exactly where upstream keeps the kind in etcd."""
    raise NotImplementedError


def storage_key(kind: Kind, namespace: str, name: str) -> str:
    raise NotImplementedError
