"""The plug-ins in their order, looked up by what they care about, so that a write meets only those that concern it."""

import dataclasses
from collections.abc import Sequence

from pinnace.apiserver.admission import attributes as admission

ANY = ("*", "*")


@dataclasses.dataclass(frozen=True, slots=True)
class Registration:
    """One plug-in and what it is asked about."""

    name: str
    operations: frozenset[str]
    resources: frozenset[tuple[str, str]] | None = None
    """(group, plural); None: all."""
    subresources: frozenset[str] = frozenset({""})
    mutator: admission.Mutator | None = None
    validator: admission.Validator | None = None

    def concerns(self, operation: str, resource: tuple[str, str], subresource: str) -> bool:
        return (
            operation in self.operations
            and (self.resources is None or resource in self.resources)
            and ("*" in self.subresources or subresource in self.subresources)
        )


Selected = tuple[tuple[admission.Mutator, ...], tuple[admission.Validator, ...]]


class Chain:
    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._registrations = tuple(registrations)
        self._selected: dict[tuple[str, tuple[str, str], str], Selected] = {}

    async def mutate(self, attributes: admission.Attributes) -> None:
        for plugin in self._select(attributes)[0]:
            await plugin.mutate(attributes)

    async def validate(self, attributes: admission.Attributes) -> None:
        for plugin in self._select(attributes)[1]:
            await plugin.validate(attributes)

    def _select(self, attributes: admission.Attributes) -> Selected:
        key = (attributes.operation, attributes.resource, attributes.subresource)
        found = self._selected.get(key)
        if found is None:
            concerned = [entry for entry in self._registrations if entry.concerns(*key)]
            found = self._selected[key] = (
                tuple(entry.mutator for entry in concerned if entry.mutator is not None),
                tuple(entry.validator for entry in concerned if entry.validator is not None),
            )
        return found
