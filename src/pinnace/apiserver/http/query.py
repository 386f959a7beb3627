"""A request's query parameters and the options that they carry."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import decode, errors

_NUMBER = re.compile("[+-]?[0-9]+", re.ASCII)
_LONGEST_NUMBER = 40
_NOTHING: Mapping[str, Sequence[str]] = {}
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False", ""})

FIELD_VALIDATION: Mapping[str, decode.FieldValidation] = {"Ignore": "Ignore", "Strict": "Strict", "Warn": "Warn"}
LONGEST_MANAGER = 128


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    values: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=lambda: _NOTHING)

    def text(self, name: str) -> str:
        found = self.values.get(name)
        return found[0] if found else ""

    def all(self, name: str) -> Sequence[str]:
        return self.values.get(name, ())

    def flag(self, name: str) -> bool:
        """As upstream converts query strings: everything but `false` and `0` is true."""
        found = self.values.get(name)
        return found is not None and bool(found) and found[0] not in _FALSE

    def maybe_flag(self, name: str) -> bool | None:
        found = self.values.get(name)
        return None if not found or found[0] == "" else found[0] not in _FALSE

    def number(self, name: str) -> int | None:
        """Raises 400 when it is not a number."""
        found = self.text(name)
        if not found:
            return None
        if _NUMBER.fullmatch(found) is None:
            raise errors.bad_request(f"strconv.ParseInt: parsing {json.dumps(found)}: invalid syntax")
        if len(found) > _LONGEST_NUMBER or not -(2**63) <= int(found) < 2**63:
            raise errors.bad_request(f"strconv.ParseInt: parsing {json.dumps(found)}: value out of range")
        return int(found)


EMPTY = Query()


@dataclasses.dataclass(frozen=True, slots=True)
class WriteOptions:
    dry_run: bool = False
    field_manager: str = ""
    field_validation: decode.FieldValidation = "Warn"
    force: bool = False

    def to_json(self, verb: str) -> dict[str, Any]:
        """As an admission review shows them: `CreateOptions` of a create and so on."""
        made: dict[str, Any] = {"kind": f"{verb.capitalize()}Options", "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            made["dryRun"] = ["All"]
        if self.force:
            made["force"] = True
        if self.field_manager:
            made["fieldManager"] = self.field_manager
        return made | {"fieldValidation": self.field_validation}


_DEFAULT = WriteOptions()


def write_options(query: Query, kind: str) -> WriteOptions:
    """CreateOptions, UpdateOptions, PatchOptions (`kind` names which, for messages). Raises 422 Invalid."""
    if not query.values:
        return _DEFAULT
    causes = []
    dry_run = query.all("dryRun")
    if any(value != "All" for value in dry_run if value):
        causes.append(_unsupported("dryRun", next(value for value in dry_run if value not in ("", "All")), ("All",)))
    manager = query.text("fieldManager")
    if len(manager) > LONGEST_MANAGER:
        causes.append(
            errors.Cause("FieldValueTooLong", f"Too long: may not be more than {LONGEST_MANAGER} bytes", "fieldManager")
        )
    elif not manager.isprintable():
        causes.append(
            errors.Cause(
                "FieldValueInvalid",
                f'Invalid value: "{manager}": should only contain printable characters',
                "fieldManager",
            )
        )
    named = query.text("fieldValidation")
    validation = FIELD_VALIDATION.get(named or "Warn")
    if validation is None:
        causes.append(_unsupported("fieldValidation", named, tuple(FIELD_VALIDATION)))
    if causes:
        raise errors.invalid("meta.k8s.io", kind, "", causes)
    return WriteOptions(any(dry_run), manager, validation or "Warn", query.flag("force"))


def _unsupported(field: str, value: str, supported: Sequence[str]) -> errors.Cause:
    listed = ", ".join(f'"{item}"' for item in supported)
    return errors.Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}', field)
