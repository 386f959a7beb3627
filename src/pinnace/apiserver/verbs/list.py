"""LIST: stored bytes joined, never re-encoded; pages of one snapshot."""

import dataclasses
from collections.abc import Sequence

from pinnace.api import errors
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import negotiate, views
from pinnace.apiserver.storage import filters, versions
from pinnace.store import interface
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
    records: Sequence[interface.Record]
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
    except interface.Compacted as error:
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
    except interface.Compacted:
        fresh = versions.Continue(-1, token.after).encode()
        error = errors.expired(_INCONSISTENT)
        error.continue_token = fresh
        raise error from None
    except interface.FutureRevision as error:
        raise versions.too_large(error.revision, error.current) from None


def collect(context: contexts.Context, chosen: filters.Filter, after: str, limit: int, revision: int) -> Listing:
    """At most `limit` (0: all) matches after the key `after` (below the prefix), of the snapshot `revision` (0: the newest)."""
    store, prefix = context.services.store, context.prefix
    if chosen.name and (context.namespace or not context.kind.namespaced) and not revision and not after:
        return _single(context, chosen)
    start = prefix + after if after else ""
    if chosen.is_everything:
        page = store.range(prefix, after=start, limit=limit, revision=revision)
        return _listing(page.records, page.revision, page.remaining, prefix, shows_remaining=True)
    if not limit:
        page = store.range(prefix, after=start, revision=revision)
        return Listing(chosen.select(page.records), page.revision)
    return _filtered_page(store, prefix, chosen, start, limit, revision)


def _single(context: contexts.Context, chosen: filters.Filter) -> Listing:
    revision = context.services.store.revision
    record = context.services.store.get(context.prefix + chosen.name)
    return Listing([record] if record is not None and chosen.matches(record) else [], revision)


def _filtered_page(
    store: interface.Store, prefix: str, chosen: filters.Filter, start: str, limit: int, revision: int
) -> Listing:
    found: list[interface.Record] = []
    while True:
        page = store.range(prefix, after=start, limit=max(_CHUNK, limit), revision=revision)
        revision = page.revision
        for position, record in enumerate(page.records):
            if chosen.matches(record):
                found.append(record)
                if len(found) == limit:
                    left = len(page.records) - position - 1 + page.remaining
                    return _listing(found, revision, left, prefix, shows_remaining=False)
        if not page.remaining:
            return Listing(found, revision)
        start = page.records[-1].key


def _listing(
    records: Sequence[interface.Record], revision: int, remaining: int, prefix: str, *, shows_remaining: bool
) -> Listing:
    """`shows_remaining`: upstream counts what is left only where no selector could hide some of it."""
    if not remaining or not records:
        return Listing(records, revision)
    token = versions.Continue(revision, records[-1].key[len(prefix) :]).encode()
    return Listing(records, revision, token, remaining if shows_remaining else None)


def _metadata(listing: Listing) -> dict[str, object]:
    metadata: dict[str, object] = {"resourceVersion": str(listing.revision)}
    if listing.next_token:
        metadata["continue"] = listing.next_token
        if listing.remaining is not None:
            metadata["remainingItemCount"] = listing.remaining
    return metadata
