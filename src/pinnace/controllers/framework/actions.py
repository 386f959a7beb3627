"""What a plan asks for. Frozen values, follow-ups included: a plan is compared with `==` in tests and carried out by `executor`.

Actions of a plan are carried out in order. A write that fails ends the plan after its own `on_error`, or the `Attempt` that
it stands in; the key is planned again later, from what is there then. One refusal is none: an object for a namespace that is
being deleted is not made, nobody is told, and the plan goes on.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from pinnace.api import resources
from pinnace.client import client

Object = dict[str, Any]

NAME = "{name}"
"""In the message of a `Record` that follows a success: the name of the object in the answer."""
ERROR = "{error}"
"""In the message of a `Record` that follows a refusal: what the API said."""


class OnError(Protocol):
    """What follows a refusal where that is more than an event. A frozen value: a dataclass with this method."""

    def follow(self, error: client.ApiError) -> "Sequence[Action]": ...


class Then(Protocol):
    """What follows a success where the answer says more than a name. A frozen value, as `OnError`."""

    def follow(self, answer: Object) -> "Sequence[Action]": ...


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
    """`then`: what follows success. `on_error`: what follows a refusal, before the plan ends."""

    then: "Sequence[Action] | Then" = ()
    on_error: "Sequence[Action] | OnError" = ()
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
    """Writes that do not depend on each other, several at a time. `on_error` follows the first refusal.

    Creations: first one, then twice as many with each success, and no more after a refusal (what fails one would mostly fail
    all). Others are all tried: one object that cannot be written must not keep the others from it."""

    writes: Sequence["AnyWrite"]
    on_error: "Sequence[Action] | OnError" = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One of a plan's duties: a failure in it ends it alone, and the plan goes on to the others."""

    plan: Sequence["Action"]


AnyWrite = Create | Update | Patch | Delete | DeleteCollection
Action = AnyWrite | Record | Requeue | Retry | Batch | Attempt


def normal(regarding: Object, reason: str, message: str) -> Record:
    return Record(regarding, "Normal", reason, message)


def warning(regarding: Object, reason: str, message: str) -> Record:
    return Record(regarding, "Warning", reason, message)
