"""The plug-ins in their order, looked up by what they care about, so that a write meets only those that concern it.

Plug-ins may join and leave while requests are served: a write meets those that are there when it begins its round. One that takes another
object's place (`attributes.replace`, as a webhook does) may undo what those before it saw to: those that ask for it are asked once more.
"""

import asyncio
import dataclasses
from collections.abc import Awaitable, Sequence

from pinnace.api import errors
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
    is_reinvoked: bool = False
    """Asked again when a later plug-in has replaced the object; what it does must bear that (upstream's `reinvocationPolicy: IfNeeded`)."""
    reserves: bool = False
    """Takes something that others then cannot have: its place is behind every plug-in that joins."""
    timeout_seconds: float | None = None
    """Of one call; None: as long as the request itself."""
    fails_open: bool = False
    """A call that takes too long is left out (upstream's `failurePolicy: Ignore`) instead of refusing the write."""

    def concerns(self, operation: str, resource: tuple[str, str], subresource: str) -> bool:
        return (
            operation in self.operations
            and (self.resources is None or resource in self.resources)
            and ("*" in self.subresources or subresource in self.subresources)
        )


Selected = tuple[tuple[Registration, ...], tuple[Registration, ...]]
"""(those that mutate, those that validate)"""


class Chain:
    def __init__(self, registrations: Sequence[Registration]) -> None:
        self._registrations = tuple(registrations)
        self._selected: dict[tuple[str, tuple[str, str], str], Selected] = {}

    def add(self, registration: Registration) -> None:
        """From the next write on, behind what is there but before what reserves. One of the same name is replaced, in its place."""
        names = [each.name for each in self._registrations]
        if registration.name in names:
            found = [registration if each.name == registration.name else each for each in self._registrations]
        else:
            found = list(self._registrations)
            found.insert(next((at for at, each in enumerate(found) if each.reserves), len(found)), registration)
        self._registrations = tuple(found)
        self._selected.clear()

    def remove(self, name: str) -> None:
        self._registrations = tuple(each for each in self._registrations if each.name != name)
        self._selected.clear()

    async def mutate(self, attributes: admission.Attributes) -> None:
        """What is to be written is `attributes.obj` afterwards, which need not be the object that it was."""
        chosen = self._select(attributes)[0]
        # How many replacements each of those that may be asked again has seen.
        seen: list[tuple[Registration, int]] = []
        for entry in chosen:
            await self._mutate(entry, attributes)
            if entry.is_reinvoked:
                seen.append((entry, attributes.replacements))
        for entry, replacements in seen:
            if replacements != attributes.replacements:
                await self._mutate(entry, attributes)

    async def _mutate(self, entry: Registration, attributes: admission.Attributes) -> None:
        assert entry.mutator is not None
        await _within_limits(entry, entry.mutator.mutate(attributes))

    async def validate(self, attributes: admission.Attributes) -> None:
        for entry in self._select(attributes)[1]:
            assert entry.validator is not None
            await _within_limits(entry, entry.validator.validate(attributes))

    def _select(self, attributes: admission.Attributes) -> Selected:
        key = (attributes.operation, attributes.resource, attributes.subresource)
        found = self._selected.get(key)
        if found is None:
            concerned = [entry for entry in self._registrations if entry.concerns(*key)]
            found = self._selected[key] = (
                tuple(entry for entry in concerned if entry.mutator is not None),
                tuple(entry for entry in concerned if entry.validator is not None),
            )
        return found


async def _within_limits(entry: Registration, call: Awaitable[None]) -> None:
    if entry.timeout_seconds is None:
        return await call
    try:
        async with asyncio.timeout(entry.timeout_seconds) as limit:
            await call
    except TimeoutError:
        if not limit.expired():
            raise
        if not entry.fails_open:
            raise errors.internal(f'failed calling webhook "{entry.name}": context deadline exceeded') from None
    return None
