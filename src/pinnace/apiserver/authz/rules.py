"""One RBAC rule, compiled: what it allows and what it covers. Pure."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pinnace.apiserver.authz import attributes as authz

Object = dict[str, Any]
_ALL = "*"


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """rbac.authorization.k8s.io/v1 PolicyRule."""

    verbs: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()

    @staticmethod
    def parse(raw: Mapping[str, Any]) -> "Rule":
        return Rule(
            frozenset(raw.get("verbs") or ()),
            frozenset(raw.get("apiGroups") or ()),
            frozenset(raw.get("resources") or ()),
            frozenset(raw.get("resourceNames") or ()),
            tuple(raw.get("nonResourceURLs") or ()),
        )

    def to_json(self) -> Object:
        out: Object = {"verbs": sorted(self.verbs)}
        for key, values in (("apiGroups", self.groups), ("resources", self.resources), ("resourceNames", self.names)):
            if values:
                out[key] = sorted(values)
        if self.urls:
            out["nonResourceURLs"] = list(self.urls)
        return out

    def allows(self, asked: authz.Attributes) -> bool:
        if asked.verb not in self.verbs and _ALL not in self.verbs:
            return False
        if not asked.resource:
            return any(matches_url(url, asked.path) for url in self.urls)
        return (
            (asked.group in self.groups or _ALL in self.groups)
            and self._has_resource(asked.resource, asked.subresource)
            and (not self.names or asked.name in self.names)
        )

    def _has_resource(self, resource: str, subresource: str) -> bool:
        if _ALL in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources


def matches_url(pattern: str, path: str) -> bool:
    """A pattern may end in `*`."""
    if pattern in (path, _ALL):
        return True
    return pattern.endswith("*") and path.startswith(pattern.rstrip("*"))


def parse_all(raw: Iterable[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    return tuple(Rule.parse(rule) for rule in raw or ())


def uncovered(owned: Sequence[Rule], wanted: Sequence[Rule]) -> list[Rule]:
    """What of `wanted` no single rule of `owned` grants, broken down to one verb on one resource each."""
    return [atom for rule in wanted for atom in _atoms(rule) if not any(_covers(mine, atom) for mine in owned)]


def _atoms(rule: Rule) -> Iterator[Rule]:
    for verb in sorted(rule.verbs):
        verbs = frozenset((verb,))
        for url in rule.urls:
            yield Rule(verbs, urls=(url,))
        for group in sorted(rule.groups):
            for resource in sorted(rule.resources):
                atom = Rule(verbs, frozenset((group,)), frozenset((resource,)))
                if not rule.names:
                    yield atom
                for name in sorted(rule.names):
                    yield dataclasses.replace(atom, names=frozenset((name,)))


def _covers(mine: Rule, atom: Rule) -> bool:
    if not (_ALL in mine.verbs or atom.verbs <= mine.verbs):
        return False
    if atom.urls:
        return any(matches_url(url, atom.urls[0]) for url in mine.urls)
    if not (_ALL in mine.groups or atom.groups <= mine.groups):
        return False
    (resource,) = atom.resources
    _, slash, part = resource.partition("/")
    has = _ALL in mine.resources or resource in mine.resources or (bool(slash) and f"*/{part}" in mine.resources)
    if not has or mine.urls:
        return False
    return not mine.names or (bool(atom.names) and atom.names <= mine.names)


def compacted(atoms: Iterable[Rule]) -> list[Rule]:
    """Rules about one resource each that differ in their verbs alone become one; paths stay apart, as upstream tells them."""
    by_resource: dict[tuple[frozenset[str], ...], Rule] = {}
    others = []
    for atom in atoms:
        if atom.urls:
            others.append(atom)
            continue
        what = (atom.groups, atom.resources, atom.names)
        known = by_resource.get(what, atom)
        by_resource[what] = dataclasses.replace(known, verbs=known.verbs | atom.verbs)
    return [*others, *by_resource.values()]


def shown(rule: Rule) -> str:
    """As upstream prints a rule in an escalation error."""
    parts = []
    for label, values in (
        ("APIGroups", sorted(rule.groups)),
        ("Resources", sorted(rule.resources)),
        ("ResourceNames", sorted(rule.names)),
        ("NonResourceURLs", list(rule.urls)),
        ("Verbs", sorted(rule.verbs)),
    ):
        if values:
            listed = " ".join(f'"{value}"' for value in values)
            parts.append(f"{label}:[{listed}]")
    return "{" + ", ".join(parts) + "}"
