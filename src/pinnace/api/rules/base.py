"""What a kind says about its objects, in one frozen value (upstream's word: strategy), and the rows in which the built-in kinds say it.

Who works on objects asks `kind.rules` and knows no kinds: `strategy` (what a write does to an object and what is wrong with it), decoding,
deletion, tables, selectors, routes. A custom kind brings the same value, made from its definition (`custom`). Everything is pure.
"""

import dataclasses
import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pinnace.api import selectable
from pinnace.api.tables import printers
from pinnace.api.validation import field, metadata

Object = dict[str, Any]
Causes = field.Causes
Change = Callable[[Object], None]
"""Changes the object in place."""
Prepare = Callable[[Object, Object], None]
"""(new, old): changes `new` in place, never `old`, parts of which may become parts of `new`."""
Check = Callable[[Causes, Object], None]
CheckUpdate = Callable[[Causes, Object, Object], None]
"""(found, new, old)"""
Warn = Callable[[Object, Object | None, str], list[str]]
"""(new, old or None on create, subresource or "") -> what the client is warned of, in upstream's words: `spec.foo: deprecated …`."""

HEAD = ("apiVersion", "kind", "metadata")


def as_it_is(obj: Object) -> None:
    """Nothing to do."""


def unchanged(new: Object, old: Object) -> None:
    """Nothing to do."""


def unchecked(found: Causes, obj: Object) -> None:
    """For what is never stored."""


def no_warnings(new: Object, old: Object | None, subresource: str) -> list[str]:
    return []


def metadata_only(found: Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)


def as_new(check: Check) -> CheckUpdate:
    """An update is right when the object would be right as a new one, and its metadata may change so."""

    def validate(found: Causes, new: Object, old: Object) -> None:
        metadata.update(found, new, old)
        check(found, new)

    return validate


def keep(new: Object, old: Object, name: str) -> None:
    """The field `name` as it was."""
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def keep_all_but(new: Object, old: Object, *names: str) -> None:
    """Everything but metadata and the top fields `names` as it was."""
    for name in {*new, *old} - {*HEAD, *names}:
        keep(new, old, name)


def status_alone(new: Object, old: Object) -> None:
    keep_all_but(new, old, "status")


def one_field(section: str, name: str) -> Prepare:
    """For a subresource that is about `section.name` and nothing else."""

    def prepare(new: Object, old: Object) -> None:
        value = (new.get(section) or {}).get(name)
        keep_all_but(new, old)
        owner = new[section] = dict(new.get(section) or {})
        if value is None:
            owner.pop(name, None)
        else:
            owner[name] = value

    return prepare


def but_status(obj: Object) -> Object:
    """What counts for the generation of most kinds: everything but metadata and status."""
    return {name: value for name, value in obj.items() if name not in HEAD and name != "status"}


def but_head(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in HEAD}


class FirstStatus(enum.Enum):
    """What becomes of a status that a client sends with a new object of a kind that has a status subresource."""

    DROPPED = "dropped"
    """And the object has none."""
    DEFAULT = "default"
    """Dropped; the object has the status that the defaults say."""
    GIVEN = "given"
    """Taken, with the defaults."""


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """What may change through one way to an object: the object itself, or one of its subresources."""

    prepare: Prepare = unchanged
    """Puts back what this way does not cover. Metadata that clients never change is put back already."""
    validate: CheckUpdate = metadata_only


def no_grace(obj: Object, asked: int | None) -> int:
    return 0


def nothing_holds(obj: Object) -> bool:
    return False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    returns_object: bool = False
    """The answer is the object itself; of other kinds a Status."""
    orphans_by_default: bool = False
    """Dependents stay unless the client says otherwise, as in the first versions of such kinds."""
    grace: Callable[[Object, int | None], int] = no_grace
    """(object, seconds that the client asked for) -> seconds until it is gone; 0: at once."""
    is_held: Callable[[Object], bool] = nothing_holds
    """Whether something besides its finalizers keeps the object."""
    phase: str = ""
    """Of an object on its way, in its status; such kinds know no grace period."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scale:
    """Where an object says how many replicas it wants and has: paths of field names."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: Callable[[Object], str]
    """In kubectl's syntax; "" for none."""
    requires_replicas: bool = False
    """An object that states no number has no Scale."""


class Converter(Protocol):
    """Turns objects of one version of a kind into those of another; it may have to ask somebody else."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> Sequence[Object]:
        """Each of `objects`, whichever versions they are of, as `api_version` has it, in their order. They are the callee's: what it
        returns may be made of them. metadata stays what it is. Raises StatusError."""
        ...


class Functions:
    """A converter that needs nobody: a function for each version that there is."""

    def __init__(self, by_version: Mapping[str, Callable[[Object], Object]]) -> None:
        """`by_version`: of the version that an object is turned into."""
        self._by_version = by_version

    async def convert(self, objects: Sequence[Object], api_version: str) -> Sequence[Object]:
        function = self._by_version[api_version]
        return [function(obj) for obj in objects]


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """As which version (of another group, even) objects are stored that are served as several."""

    group: str
    version: str
    converter: Converter

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    defaults: Change = as_it_is
    """Called after decoding and before admission, on creates, updates and the outcome of patches alike; twice is as good as once."""
    # What a write does to an object.
    prepare_create: Change = as_it_is
    first_status: FirstStatus = FirstStatus.DEFAULT
    counts: tuple[str, ...] = ()
    """Numbers of the status that are printed even when they are zero, though the definition does not require them."""
    generation_of: Callable[[Object], object] | None = None
    """What of an object counts for `metadata.generation`; None for kinds without one."""
    # What is wrong with an object.
    validate_create: Check = unchecked
    update: Part = Part()
    """Of the object itself."""
    status: Part = Part(status_alone)
    parts: Mapping[str, Part] = dataclasses.field(default_factory=dict)
    """Of the other subresources through which less, or other things, may change than through the object itself."""
    warnings: Warn = no_warnings
    are_alike: bool = False
    """Many objects are one object by another name, so that what validation says of one is worth remembering."""
    # Which writes there are.
    creates_on_update: bool = False
    """A PUT to a name that is free creates; of other kinds it answers NotFound."""
    is_conditional_only: bool = False
    """An update must name the resourceVersion that it replaces."""
    merges_strategically: bool = True
    """The schema says what a strategic merge patch does."""
    deletion: Deletion = Deletion()
    # How objects are shown and found.
    printer: printers.Printer = printers.CREATED
    fields: selectable.Fields = selectable.NONE
    deprecation: str = ""
    """Everyone who uses the kind is warned of this."""
    scale: Scale | None = None
    stored: Stored | None = None
    """None: never in another version than it is served in."""


ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE = ("create",)
STATUS_VERBS = ("get", "patch", "update")
CONNECT = ("create", "get")
PROXY = ("create", "delete", "get", "patch", "update")
NAMESPACED = True
CLUSTER = False
EXTENSION = "api-extensions"


@dataclasses.dataclass(frozen=True, slots=True)
class Sub:
    name: str
    verbs: tuple[str, ...] = STATUS_VERBS
    kind: str = ""
    """ "" is the parent's own."""
    group: str = ""
    version: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    kind: str
    plural: str
    namespaced: bool
    short: str = ""
    categories: str = ""
    subs: tuple[Sub, ...] = ()
    rules: Rules = Rules()
    verbs: tuple[str, ...] = ALL_VERBS
    is_virtual: bool = False
    folder: str = ""
    """Below `/registry/`, where it is not the plural."""


Rows = tuple[Row, ...]

STATUS = (Sub("status"),)
SCALE_STATUS = (Sub("scale", STATUS_VERBS, "Scale", "autoscaling", "v1"), Sub("status"))


def review(kind: str, namespaced: bool = CLUSTER) -> Row:
    """A question that is answered and not kept."""
    return Row(kind, kind.lower() + "s", namespaced, verbs=CREATE, is_virtual=True)
