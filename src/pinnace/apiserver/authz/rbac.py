"""RBAC: roles and bindings of the store in an index that answers without waiting.

`run` keeps the index current from the store's watch. `decide` remembers its answers until a role or binding changes.
"""

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pinnace.api import resources
from pinnace.apiserver import users
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import rules
from pinnace.apiserver.storage import envelope, objects

Object = dict[str, Any]

MOST_REMEMBERED = 20_000
LONGEST_REMEMBERED = 512
"""Characters of a question and of who asks it: anybody may ask anything, and what is remembered stays below some 20 MB."""
# A name that no object has and no rule can list.
_ANY_NAME = "/"

RESOURCES = (resources.CLUSTER_ROLES, resources.CLUSTER_ROLE_BINDINGS, resources.ROLES, resources.ROLE_BINDINGS)


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    namespace: str
    """ "" of a ClusterRoleBinding."""
    name: str
    role_kind: str
    role_name: str
    subjects: tuple[str, ...]
    """As `subject_keys` spells them."""

    def why(self, subject: str) -> str:
        kind = "RoleBinding" if self.namespace else "ClusterRoleBinding"
        shown = f"{self.name}/{self.namespace}" if self.namespace else self.name
        who, _, name = subject.partition(":")
        return (
            f'RBAC: allowed by {kind} "{shown}" of {self.role_kind} "{self.role_name}" '
            f'to {"User" if who == "u" else "Group"} "{name}"'
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    is_allowed: bool
    reason: str = ""


def subject_keys(user: users.UserInfo) -> Iterator[str]:
    yield f"u:{user.name}"
    for group in user.groups:
        yield f"g:{group}"


def _subject_key(subject: Mapping[str, Any], namespace: str) -> str:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "ServiceAccount":
        return f"u:{users.service_account_name(subject.get('namespace') or namespace, name)}"
    return f"g:{name}" if kind == "Group" else f"u:{name}"


class Index:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored
        self._roles: dict[tuple[str, str], tuple[rules.Rule, ...]] = {}
        self._bindings: dict[tuple[str, str], Binding] = {}
        self._by_subject: dict[tuple[str, str], set[tuple[str, str]]] = {}
        """(namespace, subject) -> keys of bindings."""
        self._remembered: dict[tuple[object, ...], Decision] = {}
        self._remaining = len(RESOURCES)
        self._synced = asyncio.Event()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    @property
    def is_synced(self) -> bool:
        return self._synced.is_set()

    async def run(self, resource: resources.Resource) -> None:
        """Follow one of `RESOURCES`, for ever. Raises when history is gone: to be started again."""
        kind = self._objects.kind(resource)
        page = self._objects.list(kind)
        self._replace_all(resource, page)
        self._remaining -= 1
        if self._remaining <= 0:
            self._synced.set()
        async with self._objects.watch(kind, "", page.revision) as watch:
            async for batch in watch:
                for event in batch:
                    self._set(resource, objects.names(kind, event), event.record)

    def load(self) -> None:
        """Read everything now: for a server that has to answer before its watches run."""
        for resource in RESOURCES:
            self._replace_all(resource, self._objects.list(self._objects.kind(resource)))

    def _replace_all(self, resource: resources.Resource, page: objects.Page) -> None:
        kind = self._objects.kind(resource)
        is_namespaced, is_binding = _traits(resource)
        known = self._bindings if is_binding else self._roles
        gone = {key for key in known if bool(key[0]) == is_namespaced}
        for record in page.records:
            key = objects.names(kind, record)
            gone.discard(key)
            self._set(resource, key, record)
        for key in gone:
            self._set(resource, key, None)

    def _set(self, resource: resources.Resource, key: tuple[str, str], record: objects.Stored | None) -> None:
        _, is_binding = _traits(resource)
        obj = envelope.parse(record) if record is not None else None
        if is_binding:
            self._set_binding(key, obj)
        elif obj is None:
            self._roles.pop(key, None)
        else:
            self._roles[key] = rules.parse_all(obj.get("rules"))
        self._remembered.clear()

    def _set_binding(self, key: tuple[str, str], obj: Object | None) -> None:
        before = self._bindings.pop(key, None)
        if before is not None:
            for subject in before.subjects:
                self._by_subject.get((key[0], subject), set()).discard(key)
        if obj is None:
            return
        reference = obj.get("roleRef") or {}
        subjects = tuple(_subject_key(subject, key[0]) for subject in obj.get("subjects") or ())
        made = Binding(key[0], key[1], reference.get("kind", ""), reference.get("name", ""), subjects)
        self._bindings[key] = made
        for subject in subjects:
            self._by_subject.setdefault((key[0], subject), set()).add(key)

    def decide(self, user: users.UserInfo, asked: authz.Attributes) -> Decision:
        """What rules that name no objects allow is remembered for all names together. What is selected of them does not matter here."""
        if asked.fields:
            asked = asked._replace(fields=())
        found = self._remember(user, asked._replace(name=_ANY_NAME))
        if found.is_allowed:
            return found
        return self._decide(user, asked) if asked.name else self._remember(user, asked)

    def _remember(self, user: users.UserInfo, asked: authz.Attributes) -> Decision:
        memory = (user.name, user.groups, asked)
        found = self._remembered.get(memory)
        if found is None:
            found = self._decide(user, asked)
            if sum(map(len, (user.name, *user.groups, *asked))) <= LONGEST_REMEMBERED:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[memory] = found
        return found

    def _decide(self, user: users.UserInfo, asked: authz.Attributes) -> Decision:
        for binding, subject, granted in self._granted(user, asked.namespace):
            if any(rule.allows(asked) for rule in granted):
                return Decision(True, binding.why(subject))
        return Decision(False)

    def _granted(self, user: users.UserInfo, namespace: str) -> Iterator[tuple[Binding, str, tuple[rules.Rule, ...]]]:
        for scope in ("", namespace) if namespace else ("",):
            for subject in subject_keys(user):
                for key in sorted(self._by_subject.get((scope, subject), ())):
                    binding = self._bindings[key]
                    yield binding, subject, self.role_rules(binding.role_kind, binding.role_name, binding.namespace)

    def role_rules(self, kind: str, name: str, namespace: str) -> tuple[rules.Rule, ...]:
        """Of a role that a binding refers to; () when it is not there."""
        return self.find_role(kind, name, namespace) or ()

    def find_role(self, kind: str, name: str, namespace: str) -> tuple[rules.Rule, ...] | None:
        return self._roles.get(("", name) if kind == "ClusterRole" else (namespace, name))

    def rules_for(self, user: users.UserInfo, namespace: str) -> list[rules.Rule]:
        """Everything that `user` may do in `namespace` ("": in the cluster)."""
        return [rule for _, _, granted in self._granted(user, namespace) for rule in granted]


def _traits(resource: resources.Resource) -> tuple[bool, bool]:
    """(is namespaced, is a binding)."""
    return resource in (resources.ROLES, resources.ROLE_BINDINGS), resource in (
        resources.ROLE_BINDINGS,
        resources.CLUSTER_ROLE_BINDINGS,
    )
