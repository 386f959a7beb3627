"""Objects and lists in the form that was asked for: as they are stored, as tables, or their metadata alone."""

from collections.abc import Sequence
from typing import Any

import orjson

from pinnace.api import errors, kinds, tables
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, respond, serializers
from pinnace.apiserver.storage import conversion, objects
from pinnace.web import messages

Object = dict[str, Any]

_INCLUDABLE = ("Metadata", "Object", "None")
_OF_LISTS = ("resourceVersion", "continue", "remainingItemCount")


def written(context: contexts.Context, data: bytes, status: int) -> messages.Response:
    """The answer of a write: `data`, as it is stored, in the form that the client asked for."""
    form = negotiate.object_form(context.accept, context.kind)
    if form == negotiate.PLAIN:
        return respond.raw(data, status, context.warnings)
    return one(context, data, form, status)


def one(context: contexts.Context, data: bytes, form: negotiate.Form, status: int) -> messages.Response:
    if not form.transform:
        body = form.serializer.stored(context.kind, data, context.services.messages)
        return respond.written(body, form, status, context.warnings)
    obj = orjson.loads(data)
    if form.transform == "Table":
        obj = table(context, [obj], {"resourceVersion": obj["metadata"].get("resourceVersion", "")}, form)
    elif form.transform == "PartialObjectMetadata":
        obj = partial(obj, form)
    else:
        raise negotiate.not_acceptable([serializer.media for serializer in serializers.ALL])
    return respond.value(obj, form, status, context.warnings)


async def many(
    context: contexts.Context, records: Sequence[objects.Stored], form: negotiate.Form, metadata: Object
) -> messages.Response:
    stored = await conversion.values(context.kind, [record.value for record in records])
    if not form.transform:
        body = form.serializer.listed(context.kind, metadata, stored, context.services.messages)
        return respond.written(body, form, 200, context.warnings)
    items = [orjson.loads(data) for data in stored]
    if form.transform == "Table":
        return respond.value(table(context, items, metadata, form), form, 200, context.warnings)
    if form.transform != "PartialObjectMetadataList":
        raise negotiate.not_acceptable([serializer.media for serializer in serializers.ALL])
    made = {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": metadata,
        "items": [partial(item, form) for item in items],
    }
    return respond.value(made, form, 200, context.warnings)


def partial(obj: Object, form: negotiate.Form) -> Object:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{form.version or 'v1'}",
        "metadata": obj["metadata"],
    }


def made(context: contexts.Context, obj: Object, kind: kinds.Kind | None = None) -> messages.Response:
    """The answer of what is not stored but made when asked for: an object, or a list of `items`; `kind` where it is not the path's."""
    form = negotiate.form(context.accept, negotiate.OF_MADE)
    if form.transform:
        obj = table(context, obj.get("items", [obj]), obj["metadata"], form, kind=kind)
    return respond.value(obj, form, 200, context.warnings)


def table(
    context: contexts.Context,
    items: Sequence[Object],
    metadata: Object,
    form: negotiate.Form,
    *,
    kind: kinds.Kind | None = None,
    with_columns: bool = True,
) -> Object:
    """`with_columns` False: a later event of a watch, whose columns the client knows already. Raises 400."""
    include = context.query.text("includeObject") or "Metadata"
    if include not in _INCLUDABLE:
        raise errors.bad_request(f'unrecognized includeObject value: "{include}"')
    body = tables.table(
        (kind or context.kind).rules.printer,
        items,
        context.services.clock.now(),
        include,
        resource_version=metadata.get("resourceVersion", ""),
    )
    body["metadata"] = {key: metadata[key] for key in _OF_LISTS if key in metadata}
    body["apiVersion"] = f"meta.k8s.io/{form.version}"
    if not with_columns:
        body["columnDefinitions"] = []
    return body
