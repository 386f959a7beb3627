"""LIST: stored bytes joined, never re-encoded; pages of one snapshot."""

import dataclasses
from collections.abc import Sequence

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, views
from pinnace.apiserver.storage import filters, objects, versions
from pinnace.web import messages

_CHUNK = 500
"""Records looked at in one go when a page is filtered."""
_INCONSISTENT = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    records: Sequence[objects.Stored]
    revision: int
    next_token: str = ""
    remaining: int | None = None


async def list_(context: contexts.Context) -> messages.Answer:
    listing = await select(context)
    form = negotiate.object_form(context.accept, context.kind)
    return await views.many(context, listing.records, form, _metadata(listing))


async def select(context: contexts.Context) -> Listing:
    """The records that the request's options ask for. Raises 400, 410, 422, 504."""
    options = context.query
    chosen = filters.parse(context)
    if options.values:
        versions.check_list(options, is_watch=False)
    token = options.text("continue")
    limit = options.number("limit") or 0
    options.number("timeoutSeconds")
    if token:
        return _continue(context, chosen, token, limit)
    revision = await _snapshot(context, limit)
    try:
        return collect(context, chosen, "", limit, revision)
    except objects.Compacted as error:
        raise versions.compacted(error.revision, error.oldest) from None


async def _snapshot(context: contexts.Context, limit: int) -> int:
    """The revision that must be shown exactly, or 0 for the newest."""
    text = context.query.text("resourceVersion")
    wanted = await versions.wait_reached(context, text) if text else 0
    match = context.query.text("resourceVersionMatch")
    if match == "Exact" or (wanted and limit and not match):
        return wanted
    return 0


def _continue(context: contexts.Context, chosen: filters.Filter, text: str, limit: int) -> Listing:
    version = context.query.text("resourceVersion")
    if version and version != "0":
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    token = versions.Continue.decode(text)
    revision = max(token.revision, 0)
    try:
        return collect(context, chosen, token.after, limit, revision)
    except objects.Compacted:
        fresh = versions.Continue(-1, token.after).encode()
        error = errors.expired(_INCONSISTENT)
        error.continue_token = fresh
        raise error from None
    except objects.FutureRevision as error:
        raise versions.too_large(error.revision, error.current) from None


def collect(context: contexts.Context, chosen: filters.Filter, after: str, limit: int, revision: int) -> Listing:
    """At most `limit` (0: all) matches after the path `after`, of the snapshot `revision` (0: the newest)."""
    kind, namespace, stored = context.kind, context.namespace, context.services.objects
    if chosen.name and (context.namespace or not context.kind.namespaced) and not revision and not after:
        return _single(context, chosen)
    if chosen.is_everything:
        page = stored.list(kind, namespace, after=after, limit=limit, revision=revision)
        return _listing(context, page.records, page.revision, page.remaining, shows_remaining=True)
    if not limit:
        page = stored.list(kind, namespace, after=after, revision=revision)
        return Listing(chosen.select(page.records), page.revision)
    return _filtered_page(context, chosen, after, limit, revision)


def _single(context: contexts.Context, chosen: filters.Filter) -> Listing:
    stored = context.services.objects
    revision = stored.revision
    record = stored.find(context.kind, context.namespace, chosen.name)
    return Listing([record] if record is not None and chosen.matches(record) else [], revision)


def _filtered_page(context: contexts.Context, chosen: filters.Filter, after: str, limit: int, revision: int) -> Listing:
    kind, namespace = context.kind, context.namespace
    found: list[objects.Stored] = []
    while True:
        page = context.services.objects.list(kind, namespace, after=after, limit=max(_CHUNK, limit), revision=revision)
        revision = page.revision
        for position, record in enumerate(page.records):
            if chosen.matches(record):
                found.append(record)
                if len(found) == limit:
                    left = len(page.records) - position - 1 + page.remaining
                    return _listing(context, found, revision, left, shows_remaining=False)
        if not page.remaining:
            return Listing(found, revision)
        after = objects.path(kind, namespace, page.records[-1])


def _listing(
    context: contexts.Context,
    records: Sequence[objects.Stored],
    revision: int,
    remaining: int,
    *,
    shows_remaining: bool,
) -> Listing:
    """`shows_remaining`: upstream counts what is left only where no selector could hide some of it."""
    if not remaining or not records:
        return Listing(records, revision)
    after = objects.path(context.kind, context.namespace, records[-1])
    token = versions.Continue(revision, after).encode()
    return Listing(records, revision, token, remaining if shows_remaining else None)


def _metadata(listing: Listing) -> dict[str, object]:
    metadata: dict[str, object] = {"resourceVersion": str(listing.revision)}
    if listing.next_token:
        metadata["continue"] = listing.next_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
    return metadata
