"""GET of one object: the stored bytes."""

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, respond, views
from pinnace.apiserver.storage import conversion, versions
from pinnace.web import messages


async def get(context: contexts.Context) -> messages.Answer:
    """The newest state satisfies every resourceVersion that has happened."""
    record = context.record()
    if context.query.values:
        await versions.wait_reached(context, context.query.text("resourceVersion"))
        record = context.record()
    data = await conversion.value(context.kind, record.value)
    form = negotiate.object_form(context.accept, context.kind)
    if form == negotiate.PLAIN:
        return respond.raw(data, 200, context.warnings)
    return views.one(context, data, form, 200)
