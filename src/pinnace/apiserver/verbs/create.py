"""POST to a collection: a new object."""

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import bodies, query, views
from pinnace.apiserver.verbs import writing
from pinnace.web import messages


async def create(context: contexts.Context) -> messages.Answer:
    options = query.write_options(context.query, "CreateOptions")
    obj = bodies.decoded(context, await bodies.read(context), options)
    written = await writing.create(context, obj, options)
    return views.written(context, written.value, 201)
