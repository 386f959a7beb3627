"""Rules that follow from a definition alone."""

import functools

from pinnace.api import schema as schemas
from pinnace.api.rules import base
from pinnace.api.validation import formats, metadata, structural


def by_schema(package: str, kind: str, *, namespaced: bool) -> base.Rules:
    """For a stored kind about which nobody has said more than its definition `package.kind`."""
    check = checked(f"{package}.{kind}", namespaced=namespaced)
    return base.Rules(validate_create=check, update=base.Part(validate=base.as_new(check)))


def checked(definition: str, *, namespaced: bool) -> base.Check:
    """What the definition requires is there."""

    def check(found: base.Causes, obj: base.Object) -> None:
        metadata.create(found, obj, namespaced=namespaced, name_rule=formats.dns_subdomain)
        structural.required(found, schemas.definition(definition), obj, "")

    return check


def with_status(definition: str, defaults: base.Change, counts: tuple[str, ...]) -> base.Change:
    """Upstream's status is never absent, and its required numbers (and `counts`) are printed even when they are zero."""

    @functools.cache
    def numbers() -> tuple[str, ...]:
        status = schemas.definition(definition).properties["status"]
        names = dict.fromkeys((*status.required, *counts))
        return tuple(name for name in names if status.properties[name].type == "integer")

    def apply(obj: base.Object) -> None:
        status = obj.setdefault("status", {})
        for name in numbers():
            status.setdefault(name, 0)
        defaults(obj)

    return apply
