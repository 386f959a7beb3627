"""DELETE of one object."""

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import views
from pinnace.apiserver.verbs import deleting
from pinnace.web import messages


async def delete(context: contexts.Context) -> messages.Answer:
    options = await deleting.options(context)
    status, body = deleting.answer(context.kind, await deleting.delete(context, options), options)
    return views.written(context, body, status)
