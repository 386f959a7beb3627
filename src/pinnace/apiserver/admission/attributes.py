"""What an admission plug-in sees of a write, and what a plug-in is."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, Protocol

from pinnace.api import kinds
from pinnace.apiserver import users

Object = dict[str, Any]
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
    """What is about to be written (mutating plug-ins change it in place); None for deletions."""
    old: Object | None = None
    """The present state, for updates and deletions. Never changed."""
    dry_run: bool = False
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    on_failure: list[Callable[[], Awaitable[None]]] = dataclasses.field(default_factory=list)
    """Gives back what a plug-in reserved, when the write does not happen after all (or is a dry run)."""
    on_success: list[Callable[[], Awaitable[None]]] = dataclasses.field(default_factory=list)
    """Done once the write is in the store."""

    @property
    def resource(self) -> tuple[str, str]:
        return (self.kind.group, self.kind.plural)

    async def settle(self, *, landed: bool) -> None:
        for act in self.on_success if landed else reversed(self.on_failure):
            await act()


class Mutator(Protocol):
    async def mutate(self, attributes: Attributes) -> None:
        """Change `attributes.obj` in place, or raise the StatusError that refuses the write."""
        ...


class Validator(Protocol):
    async def validate(self, attributes: Attributes) -> None:
        """Raise the StatusError that refuses the write; change nothing."""
        ...
