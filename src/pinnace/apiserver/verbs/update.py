"""PUT of an object, or of one of its parts: the whole of it anew."""

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import bodies, query, views
from pinnace.apiserver.verbs import writing
from pinnace.web import messages


async def update(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "UpdateOptions")
    data = await bodies.read(context)
    first = _wanted(context, data, options)
    if context.find() is None and may_create(context):
        if first["metadata"].get("resourceVersion"):
            raise context.not_found()
        context.require("create")
        written = await writing.create(context, first, options)
        return views.written(context, written.value, 201)
    ready = [first]
    written = await writing.update(
        context,
        lambda _: ready.pop() if ready else _wanted(context, data, options),
        options,
        retries=False,
    )
    return views.written(context, written.value, 200)


def may_create(context: contexts.Context) -> bool:
    return not context.subresource and context.kind.rules.creates_on_update


def _wanted(context: contexts.Context, data: bytes, options: query.WriteOptions) -> bodies.Object:
    obj = bodies.decoded(context, data, options)
    bodies.check_name(context, obj)
    if not isinstance(obj["metadata"].get("resourceVersion", ""), str):
        raise errors.bad_request("metadata.resourceVersion is not a string")
    return obj
