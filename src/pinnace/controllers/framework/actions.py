"""What a plan asks for. Frozen values: a plan is compared with `==` in tests and carried out by `executor`.

Actions of a plan are carried out in order. A write that fails ends the plan after its own `on_error`; the key is planned
again later, from what is there then. `then` and `on_error` are pure, as the plan itself.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pinnace.api import resources
from pinnace.client import client

Object = dict[str, Any]
Then = Callable[[Object], "Sequence[Action]"]
OnError = Callable[[client.ApiError], "Sequence[Action]"]


@dataclasses.dataclass(frozen=True, slots=True)
class Exists:
    """Only if this very object is there and not being deleted, asked of the API itself: guards adoptions, which a stale
    cache would make on behalf of an owner that is gone."""

    resource: resources.Resource
    namespace: str
    name: str
    uid: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """`then`: what follows success, given the answer. `on_error`: what follows a refusal, before the plan ends."""

    then: Then | None = dataclasses.field(default=None, compare=False)
    on_error: OnError | None = dataclasses.field(default=None, compare=False)
    only_if: Exists | None = None
    is_optional: bool = False
    """A refusal does not end the plan (and is not repeated)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Create(Write):
    resource: resources.Resource
    namespace: str | None
    obj: Object
    name: str = ""
    subresource: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Update(Write):
    resource: resources.Resource
    obj: Object
    subresource: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Patch(Write):
    resource: resources.Resource
    namespace: str | None
    name: str
    patch: Any
    kind: Literal["merge", "strategic", "json"] = "merge"
    subresource: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Delete(Write):
    """An object that is gone already counts as deleted."""

    resource: resources.Resource
    namespace: str | None
    name: str
    uid: str = ""
    resource_version: str = ""
    grace_period_seconds: int | None = None
    propagation_policy: Literal["Background", "Foreground", "Orphan", ""] = ""


@dataclasses.dataclass(frozen=True, slots=True)
class DeleteCollection(Write):
    resource: resources.Resource
    namespace: str


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """An Event about `regarding`."""

    regarding: Object = dataclasses.field(repr=False)
    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Requeue:
    """Plan this key again after so many seconds at the latest."""

    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class Retry:
    """Plan this key again after its back-off; `why` is logged."""

    why: str


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Writes that do not depend on each other, several at a time: first one, then twice as many with each success (what
    fails would mostly fail for all). `on_error` follows the first refusal; the others of its round still run."""

    writes: Sequence["AnyWrite"]
    on_error: OnError | None = dataclasses.field(default=None, compare=False)


AnyWrite = Create | Update | Patch | Delete | DeleteCollection
Action = AnyWrite | Record | Requeue | Retry | Batch


def normal(regarding: Object, reason: str, message: str) -> Record:
    return Record(regarding, "Normal", reason, message)


def warning(regarding: Object, reason: str, message: str) -> Record:
    return Record(regarding, "Warning", reason, message)
