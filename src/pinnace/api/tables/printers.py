"""What a printer is: the columns of a kind, and the cells of one object in the same order."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pinnace.api import selectors
from pinnace.api.tables import duration

Object = Mapping[str, Any]
Cells = list[Any]

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = duration.UNKNOWN


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    """0 is always shown, 1 only by `-o wide`."""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


NAME = Column("Name", format="name", description="Name of the object, unique among its kind and namespace.")
AGE = Column("Age", description="Time since the object was created.")
CREATED_AT = Column("Created At", type="date", description="When the object was created, in UTC.")


@dataclasses.dataclass(frozen=True, slots=True)
class Printer:
    columns: tuple[Column, ...]
    cells: Callable[[Object, datetime.datetime], Cells]
    """Of one object, in the order of `columns`."""
    conditions: Callable[[Object], list[dict[str, str]]] | None = None
    """Which rows a client may leave out, and why."""


def columns(*names: str, wide: Sequence[str] = ()) -> tuple[Column, ...]:
    """Columns by name; `Count:integer` gives a type. `Name` and `Age` are everyone's."""
    return (*(_column(name, 0) for name in names), *(_column(name, 1) for name in wide))


def _column(text: str, priority: int) -> Column:
    name, _, kind = text.partition(":")
    known = {"Name": NAME, "Age": AGE}.get(name)
    if known is not None:
        return dataclasses.replace(known, priority=priority)
    return Column(name, type=kind or "string", description=DESCRIPTIONS.get(name, ""), priority=priority)


DESCRIPTIONS = {
    "Ready": "How much of the object is ready, of all that there should be.",
    "Status": "The state of the object in one word.",
    "Restarts": "How often containers of the pod were restarted, and when last.",
    "IP": "Address of the pod.",
    "Node": "Node to which the pod is bound.",
    "Nominated Node": "Node on which room is being made for the pod.",
    "Readiness Gates": "How many of the pod's readiness gates are open.",
    "Containers": "Names of the containers in the template.",
    "Images": "Images of the containers in the template.",
    "Selector": "Labels of the objects that belong to this one.",
    "Desired": "How many there should be.",
    "Current": "How many there are.",
    "Up-to-date": "How many are of the current revision.",
    "Available": "How many have been ready for long enough.",
    "Type": "Which variety of its kind the object is.",
    "Cluster-IP": "Virtual address of the Service.",
    "External-IP": "Addresses from outside of the cluster.",
    "Port(s)": "Ports and their protocols.",
    "Data": "Number of keys.",
}


def name(obj: Object) -> str:
    return obj["metadata"].get("name") or ""


def age(obj: Object, now: datetime.datetime) -> str:
    return duration.since(obj["metadata"].get("creationTimestamp"), now)


def created_at(obj: Object) -> str:
    return obj["metadata"].get("creationTimestamp") or UNKNOWN


def at(obj: Any, path: str, default: Any = None) -> Any:
    """The value below dotted `path`; `default` where a step is missing or null."""
    for step in path.split("."):
        if not isinstance(obj, dict):
            return default
        obj = obj.get(step)
        if obj is None:
            return default
    return obj


def count(obj: Object, path: str) -> int:
    """The number at `path`; 0 where there is none."""
    value = at(obj, path, 0)
    return value if isinstance(value, int) else 0


def length(obj: Object, *paths: str) -> int:
    return sum(len(at(obj, path, ())) for path in paths)


def labels(found: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) if found else NONE


def selector(found: Mapping[str, Any] | None) -> str:
    """A metav1.LabelSelector as text."""
    try:
        return str(selectors.from_object(found)) or NONE
    except ValueError:
        return "<error>"


def containers(template: Mapping[str, Any] | None) -> tuple[str, str]:
    """(names, images) of the containers in a pod template, each joined by commas."""
    found = at(template, "spec.containers", ())
    return ",".join(item.get("name", "") for item in found), ",".join(item.get("image", "") for item in found)


def boolean(value: Any) -> str:
    return UNSET if value is None else ("True" if value else "False")


def _created(obj: Object, now: datetime.datetime) -> Cells:
    return [name(obj), created_at(obj)]


def _name_and_age(obj: Object, now: datetime.datetime) -> Cells:
    return [name(obj), age(obj, now)]


CREATED = Printer((NAME, CREATED_AT), _created)
"""Of the built-in kinds that have no columns of their own."""
NAME_AND_AGE = Printer((NAME, AGE), _name_and_age)
"""Of custom kinds that state no columns."""
