"""DELETE of a collection: each object as if it had been deleted by name."""

import dataclasses

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, views
from pinnace.apiserver.storage import objects
from pinnace.apiserver.verbs import deleting
from pinnace.apiserver.verbs import list as listing
from pinnace.web import messages


async def delete_collection(context: contexts.Context) -> messages.Answer:
    """Answers the objects as they were found. One that is gone meanwhile is no error."""
    options = await deleting.options(context)
    found = await listing.select(context)
    for record in found.records:
        namespace, name = objects.names(context.kind, record)
        one = dataclasses.replace(context, name=name, namespace=namespace)
        try:
            await deleting.delete(one, options)
        except errors.StatusError as error:
            if error.code != 404:
                raise
    form = negotiate.object_form(context.accept, context.kind)
    return await views.many(context, found.records, form, {"resourceVersion": str(found.revision)})
