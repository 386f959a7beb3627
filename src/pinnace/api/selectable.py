"""Which fields of an object field selectors can ask for, and how each is read. A kind states its own in its rules."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Read = Callable[[Mapping[str, Any]], str]

_META = ("metadata.name", "metadata.namespace")


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a kind besides its name and namespace. Error texts are upstream's."""

    readers: Mapping[str, Read] = dataclasses.field(default_factory=dict)
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Names that are accepted in a selector -> what they are called among `readers`."""
    hidden: frozenset[str] = frozenset()
    """Among `readers`, but not accepted: these have another name in this version of the kind."""
    has_namespace: bool = True
    """Whether a selector may name `metadata.namespace`: some kinds of the cluster refuse it, most let it match nothing."""

    def name(self, field: str) -> str:
        """What `field` of a selector is called in `of`. Raises ValueError for one that objects cannot be selected by."""
        if field in _META and (self.has_namespace or field != "metadata.namespace"):
            return field
        if alias := self.aliases.get(field):
            return alias
        if field in self.readers and field not in self.hidden:
            return field
        if not self.readers and self.has_namespace:
            raise ValueError(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
        raise ValueError(f"field label not supported: {field}")

    def of(self, obj: Mapping[str, Any]) -> dict[str, str]:
        """The values of all fields of `obj`, as texts."""
        metadata = obj.get("metadata") or {}
        found = {"metadata.name": metadata.get("name") or "", "metadata.namespace": metadata.get("namespace") or ""}
        for name, read in self.readers.items():
            found[name] = read(obj)
        return found


NONE = Fields()


def at(path: str, default: str = "") -> Read:
    """Reads the value below dotted `path`; `default` where there is none."""
    steps = path.split(".")

    def read(obj: Mapping[str, Any]) -> str:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return default if value is None else text(value)

    return read


def paths(*names: str) -> dict[str, Read]:
    """Readers of fields that are called what their path is."""
    return {name: at(name) for name in names}


def text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def custom(paths_of_fields: Sequence[str]) -> Fields:
    """Of a custom kind: `selectableFields[*].jsonPath` of its definition (`.spec.color`)."""
    return Fields({path.removeprefix("."): at(path.removeprefix(".")) for path in paths_of_fields})
