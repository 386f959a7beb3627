"""What an admission plug-in sees of a write, and what a plug-in is."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from pinnace.api import decode, kinds
from pinnace.apiserver import users
from pinnace.apiserver.storage import objects

Object = dict[str, Any]
# Of an object's metadata.
SERVERS_OWN = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "managedFields",
)
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclasses.dataclass(slots=True)
class Attributes:
    operation: Operation
    kind: kinds.Kind
    subresource: str
    namespace: str
    name: str
    user: users.UserInfo
    obj: Object | None
    """What is about to be written; None for deletions. Mutating plug-ins change it in place, or `replace` it: never keep it across a call."""
    old: Object | None = None
    """The present state, for updates and deletions. Never changed."""
    dry_run: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """CreateOptions, UpdateOptions, PatchOptions or DeleteOptions of the request, as an admission review shows them."""
    warnings: list[str] = dataclasses.field(default_factory=list)
    claims: list[Callable[[], Sequence[objects.Claim]]] = dataclasses.field(default_factory=list)
    """What else changes in the same transaction, and only with it (`storage.objects.Claims`)."""
    on_failure: list[Callable[[], Awaitable[None]]] = dataclasses.field(default_factory=list)
    """Gives back what a plug-in reserved, when the write does not happen after all (or is a dry run)."""
    on_success: list[Callable[[], Awaitable[None]]] = dataclasses.field(default_factory=list)
    """Done once the write is in the store."""
    replacements: int = 0
    """How often the object was replaced by another."""

    @property
    def resource(self) -> tuple[str, str]:
        return (self.kind.group, self.kind.plural)

    @property
    def written(self) -> Object:
        """`obj` where there is one: what a create or an update writes."""
        assert self.obj is not None
        return self.obj

    def replace(self, obj: Object) -> None:
        """Another object in the place of `obj`, as a webhook's patch makes it: decoded for its kind, unknown fields dropped, defaulted.

        What only the server says of an object stays as it was. Raises StatusError for what is no object of the kind; nothing has changed then.
        """
        assert self.obj is not None
        if obj == self.obj:
            return
        before = self.obj["metadata"]
        made = decode.convert(obj, self.kind, field_validation="Ignore").obj
        self.kind.rules.defaults(made)
        stated = made.get("metadata") or {}
        own = {field: before[field] for field in SERVERS_OWN if field in before}
        metadata = own | {field: value for field, value in stated.items() if field not in SERVERS_OWN}
        self.obj = {**made, "metadata": metadata}
        self.replacements += 1

    async def settle(self, *, landed: bool) -> None:
        for act in self.on_success if landed else reversed(self.on_failure):
            await act()


class Mutator(Protocol):
    async def mutate(self, attributes: Attributes) -> None:
        """Change `attributes.obj` in place, `attributes.replace` it, or raise the StatusError that refuses the write."""
        ...


class Validator(Protocol):
    async def validate(self, attributes: Attributes) -> None:
        """Raise the StatusError that refuses the write; change nothing."""
        ...
