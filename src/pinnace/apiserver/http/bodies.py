"""Bodies of requests: bounded, in a form that is understood, decoded for their kind."""

from typing import Any

from pinnace.api import decode, errors, kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, query
from pinnace.web import messages

Object = dict[str, Any]


async def read(context: contexts.Context) -> bytes:
    """Raises 413."""
    limit = context.services.settings.max_body_bytes
    try:
        return await context.request.body.read(limit)
    except messages.BodyTooLarge:
        raise errors.StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}") from None


def decoded(
    context: contexts.Context, data: bytes, options: query.WriteOptions, *, kind: kinds.Kind | None = None
) -> Object:
    """The object in `data`, with defaults; what is wrong with it but tolerable becomes a warning. Raises 400, 415, 422."""
    kind = kind or context.kind
    content_type = negotiate.body_form(context.request.headers.get("content-type", "")).content_type
    found = decode.decode(data, kind, field_validation=options.field_validation, content_type=content_type)
    for warning in found.warnings:
        if warning not in context.warnings:
            context.warnings.append(warning)
    kind.rules.defaults(found.obj)
    return found.obj


def check_name(context: contexts.Context, obj: Object) -> None:
    """The object's name and namespace must be those of the path; they may be left out. Raises 400."""
    metadata = obj.setdefault("metadata", {})
    name = metadata.get("name")
    if not name:
        metadata["name"] = context.name
    elif name != context.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({context.name})")
    if not context.kind.namespaced:
        metadata.pop("namespace", None)
    elif not metadata.get("namespace"):
        metadata["namespace"] = context.namespace
    elif metadata["namespace"] != context.namespace:
        raise errors.bad_request(
            f"the namespace of the object ({metadata['namespace']}) does not match the namespace on the request ({context.namespace})"
        )


def parsed(context: contexts.Context, data: bytes, expected: str) -> Object:
    """A body that is no object of a kind with a schema (DeleteOptions). Raises 400, 415."""
    content_type = negotiate.body_form(context.request.headers.get("content-type", "")).content_type
    found, _ = decode.parse(data, expected, look_for_duplicates=False, content_type=content_type)
    if not isinstance(found, dict):
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {expected}): it is not an object"
        )
    return found
