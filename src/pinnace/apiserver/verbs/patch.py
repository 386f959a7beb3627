"""PATCH: a change to the present state, tried again with a newer one until it fits; server-side apply may create."""

import dataclasses
from typing import Any

from pinnace.api import decode, decode_lenient, errors, managed_fields
from pinnace.api.patch import json_patch, merge, strategic
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import bodies, negotiate, patch_errors, query, views
from pinnace.apiserver.verbs import writing
from pinnace.kit import clock
from pinnace.web import messages

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

Object = dict[str, Any]


async def patch(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "PatchOptions")
    media = context.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    _check_media(context, media)
    data = await bodies.read(context)
    if media == APPLY:
        written = await _apply(context, data, options)
    else:
        if options.force:
            cause = errors.Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")
            raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
        change = _parsed(data, media, options)
        written = await writing.update(
            context, lambda old: _patched(context, change, old, options), options, retries=True
        )
    return views.written(context, written.value, 201 if written.is_created else 200)


def _check_media(context: contexts.Context, media: str) -> None:
    """Custom resources have no strategic merge: nothing says what merges how."""
    offered = (JSON, MERGE, APPLY, STRATEGIC) if context.kind.rules.merges_strategically else (JSON, MERGE, APPLY)
    if media not in offered:
        raise negotiate.unsupported(offered)


@dataclasses.dataclass(frozen=True, slots=True)
class _Change:
    media: str
    value: Any
    complaints: tuple[str, ...]
    """About the patch itself: what it names twice."""


def _parsed(data: bytes, media: str, options: query.WriteOptions) -> _Change:
    is_checked = options.field_validation != "Ignore"
    try:
        found, _ = decode.parse(data, "Patch", look_for_duplicates=is_checked)
    except errors.StatusError as error:
        raise errors.bad_request(f"error decoding patch: {error.message}") from None
    complaints = patch_errors.complaints(found, is_json_patch=media == JSON) if is_checked else ()
    return _Change(media, decode_lenient.plain(found) if complaints else found, complaints)


def _patched(context: contexts.Context, change: _Change, old: Object, options: query.WriteOptions) -> Object:
    """`old` (the callee's to change) with `change`, checked and defaulted as if it had been sent whole."""
    if change.media == JSON:
        changed = json_patch.apply(old, change.value)
    elif change.media == MERGE:
        changed = merge.apply(old, change.value)
    else:
        changed = strategic.apply(old, change.value, context.kind.schema)
    return _converted(context, change, changed, options)


def _converted(context: contexts.Context, change: _Change, changed: Any, options: query.WriteOptions) -> Object:
    is_strict, is_strategic = options.field_validation == "Strict", change.media == STRATEGIC
    try:
        found = decode.convert(
            changed, context.kind, field_validation="Warn" if is_strict else options.field_validation
        )
    except errors.StatusError as error:
        raise patch_errors.refused(change.value, changed, error, is_strategic=is_strategic) from None
    warnings = tuple(dict.fromkeys((*change.complaints, *found.warnings)))
    if warnings and is_strict:
        raise patch_errors.strict(change.value, changed, warnings, is_strategic=is_strategic)
    context.warnings += [warning for warning in warnings if warning not in context.warnings]
    context.kind.rules.defaults(found.obj)
    bodies.check_name(context, found.obj)
    return found.obj


async def _apply(context: contexts.Context, data: bytes, options: query.WriteOptions) -> writing.Written:
    """Server-side apply: the configuration is what one manager wants; it is created where there is nothing."""
    if not options.field_manager:
        cause = errors.Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
        raise errors.invalid("meta.k8s.io", "PatchOptions", "", [cause])
    config = _configuration(context, data, options)
    for _ in range(2):
        try:
            if context.find() is not None or context.subresource:
                return await writing.update(
                    context,
                    lambda old: _applied(context, old, config, options),
                    options,
                    retries=True,
                    tracks_fields=False,
                )
            if config["metadata"].get("resourceVersion") or config["metadata"].get("uid"):
                raise context.conflict(errors.OBJECT_MODIFIED)
            context.require("create")
            obj = _applied(context, None, config, options)
            return await writing.create(context, obj, options, tracks_fields=False)
        except errors.StatusError as error:
            # Someone created or deleted it between the look and the write: the other road is the right one now.
            if (
                error.reason not in ("AlreadyExists", "NotFound")
                or context.subresource
                or error.kind != context.kind.plural
            ):
                raise
    raise context.conflict()


def _configuration(context: contexts.Context, data: bytes, options: query.WriteOptions) -> Object:
    """What was sent, unknown fields told or left out, without defaults: only what is in it is owned."""
    raw, complaints = decode.parse(
        data,
        context.kind.kind,
        look_for_duplicates=options.field_validation != "Ignore",
        content_type="json" if data.lstrip().startswith(b"{") else "yaml",
    )
    version = raw.get("apiVersion") or "" if isinstance(raw, dict) else ""
    if version != context.kind.api_version:
        raise errors.bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {version}, expected: {context.kind.api_version}"
        )
    found = decode.convert(raw, context.kind, field_validation=options.field_validation, complaints=complaints)
    context.warnings.extend(found.warnings)
    bodies.check_name(context, found.obj)
    if found.obj["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    return found.obj


def _applied(context: contexts.Context, live: Object | None, config: Object, options: query.WriteOptions) -> Object:
    """Raises 409 with every field that another manager owns."""
    merged = managed_fields.apply(
        live,
        config,
        context.kind.schema,
        manager=options.field_manager,
        force=options.force,
        now=clock.rfc3339(context.services.clock.now()),
        api_version=context.kind.api_version,
        subresource=context.subresource,
    )
    context.kind.rules.defaults(merged)
    return merged
