"""Custom kinds: the same value as a built-in kind has, made from a CustomResourceDefinition (apiextensions.k8s.io/v1).

Pure. Who follows definitions calls `kinds_of` and adds what it returns to the registry.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pinnace.api import decode, kinds, selectable
from pinnace.api import schema as schemas
from pinnace.api.defaults import structural as defaults
from pinnace.api.rules import base
from pinnace.api.tables import custom as columns
from pinnace.api.validation import formats, metadata, structural

Object = dict[str, Any]


def kinds_of(definition: Mapping[str, Any], converter: base.Converter | None = None) -> tuple[kinds.Kind, ...]:
    """A kind for every version that is served, in the order in which discovery prefers them.

    `converter`: who converts between the versions; None: nobody has to, they differ in nothing but their name."""
    spec = definition["spec"]
    stored = _stored(spec, converter or _Relabel(spec)) if len(spec["versions"]) > 1 else None
    served = [version for version in spec["versions"] if version.get("served")]
    served.sort(key=lambda version: kinds.version_rank(version["name"]))
    return tuple(_of_version(spec, version, stored) for version in served)


def _stored(spec: Mapping[str, Any], converter: base.Converter) -> base.Stored:
    version = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return base.Stored(spec["group"], version, converter)


class _Relabel:
    """Conversion strategy `None`: another apiVersion, and nothing that the schema of that version does not know."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._openapi = {f"{spec['group']}/{each['name']}": _openapi(each) for each in spec["versions"]}
        self._schemas: dict[str, schemas.Schema] = {}
        """Of the versions that were asked for."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> Sequence[Object]:
        schema = self._schemas.get(api_version)
        if schema is None:
            schema = self._schemas[api_version] = _schema(self._openapi[api_version])
        return [decode.pruned({**obj, "apiVersion": api_version}, schema) for obj in objects]


def _openapi(version: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return (version.get("schema") or {}).get("openAPIV3Schema")


def _schema(openapi: Mapping[str, Any] | None) -> schemas.Schema:
    return schemas.UNTYPED_RESOURCE if openapi is None else schemas.from_openapi_v3(openapi)


def _of_version(spec: Mapping[str, Any], version: Mapping[str, Any], stored: base.Stored | None) -> kinds.Kind:
    names, parts = spec["names"], version.get("subresources") or {}
    return kind(
        group=spec["group"],
        version=version["name"],
        name=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        namespaced=spec["scope"] == "Namespaced",
        short_names=names.get("shortNames") or (),
        categories=names.get("categories") or (),
        openapi=_openapi(version),
        has_status=parts.get("status") is not None,
        scale=parts.get("scale"),
        printer_columns=version.get("additionalPrinterColumns") or (),
        selectable_fields=[each["jsonPath"] for each in version.get("selectableFields") or ()],
        deprecation=_deprecation(spec, version) if version.get("deprecated") else "",
        stored=stored,
    )


def kind(
    group: str,
    version: str,
    name: str,
    plural: str,
    *,
    namespaced: bool = True,
    singular: str = "",
    short_names: Sequence[str] = (),
    categories: Sequence[str] = (),
    openapi: Mapping[str, Any] | None = None,
    has_status: bool = False,
    scale: Mapping[str, str] | None = None,
    printer_columns: Sequence[Mapping[str, Any]] = (),
    selectable_fields: Sequence[str] = (),
    deprecation: str = "",
    stored: base.Stored | None = None,
) -> kinds.Kind:
    """One version of a custom kind. `openapi`: JSONSchemaProps; None keeps whatever clients send. `scale`: `specReplicasPath` …"""
    schema = _schema(openapi)
    subresources = []
    if scale is not None:
        subresources.append(kinds.Subresource("scale", base.STATUS_VERBS, "Scale", "autoscaling", "v1"))
    if has_status:
        subresources.append(kinds.Subresource("status", base.STATUS_VERBS, name))
    validate = functools.partial(_validate, schema, namespaced)
    validate_update = functools.partial(_validate_update, schema)
    return kinds.Kind(
        group=group,
        version=version,
        kind=name,
        plural=plural,
        singular=singular or name.lower(),
        namespaced=namespaced,
        short_names=tuple(short_names),
        categories=tuple(categories),
        verbs=base.ALL_VERBS,
        subresources=tuple(subresources),
        definition=f"{'.'.join(reversed(group.split('.')))}.{version}.{name}",
        folder=f"{group}/{plural}",
        rules=base.Rules(
            defaults=functools.partial(defaults.apply, schema),
            first_status=base.FirstStatus.DROPPED,
            generation_of=base.but_status if has_status else base.but_head,
            validate_create=validate,
            update=base.Part(validate=validate_update),
            status=base.Part(_status_update, validate_update),
            merges_strategically=False,
            printer=columns.printer(printer_columns),
            fields=selectable.custom(selectable_fields),
            deprecation=deprecation,
            scale=None if scale is None else _scale(scale),
            stored=stored,
        ),
        own_schema=schema,
        own_openapi={"type": "object"} if openapi is None else openapi,
    )


def _validate(schema: schemas.Schema, namespaced: bool, found: base.Causes, obj: Object) -> None:
    metadata.create(found, obj, namespaced=namespaced, name_rule=formats.dns_subdomain)
    structural.custom(found, schema, obj, "")


def _validate_update(schema: schemas.Schema, found: base.Causes, new: Object, old: Object) -> None:
    metadata.update(found, new, old)
    structural.custom(found, schema, new, "")


def _status_update(new: Object, old: Object) -> None:
    """The status is the only thing that the status subresource writes."""
    base.status_alone(new, old)
    managed = new["metadata"].get("managedFields")
    new["metadata"] = {**old["metadata"]}
    if managed is not None:
        new["metadata"]["managedFields"] = managed


def _scale(given: Mapping[str, str]) -> base.Scale:
    path = given.get("labelSelectorPath") or ""
    return base.Scale(
        _steps(given["specReplicasPath"]),
        _steps(given["statusReplicasPath"]),
        selectable.at(path.removeprefix(".")) if path else _no_selector,
        requires_replicas=True,
    )


def _steps(path: str) -> tuple[str, ...]:
    """`.spec.replicas`: the simple paths that definitions may state there."""
    return tuple(path.removeprefix(".").split("."))


def _no_selector(obj: Mapping[str, Any]) -> str:
    return ""


def _deprecation(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    told = version.get("deprecationWarning")
    return told or f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
