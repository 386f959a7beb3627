"""WATCH: every change of a collection from a revision on, in order, once."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import orjson

from pinnace.api import errors, kinds
from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import frames, negotiate, respond, serializers, socket_streams, views
from pinnace.apiserver.storage import conversion, decoded, filters, objects, versions
from pinnace.web import messages

_CHUNK = 500
"""Synthetic events sent in one go."""
_LEAST_TIMEOUT = 1800.0
"""Seconds; a watch without a timeout of its own lives between this and twice as long, so that clients spread out."""


async def watch(context: contexts.Context) -> messages.Answer:
    options = context.query
    versions.check_list(options, is_watch=True)
    chosen = filters.parse(context)
    form = negotiate.stream_form(context.accept, context.kind)
    text = options.text("resourceVersion")
    start = await versions.wait_reached(context, text) if text else 0
    stream = Stream(context, chosen, form)
    try:
        body = stream.open(start, initial=options.maybe_flag("sendInitialEvents"))
    except objects.Compacted as error:
        body = _one_chunk(stream.render.error(versions.compacted(error.revision, error.oldest)))
    headers = [("Content-Type", form.serializer.stream_media), ("Cache-Control", "no-cache, private")]
    headers += respond.warning_headers(context.warnings)
    if isinstance(stream.render, _Objects):
        return messages.Response(200, headers, objects=body)
    return socket_streams.watch(context.request, messages.Response(200, headers, body))


async def _one_chunk(chunk: Any) -> AsyncGenerator[Any, None]:
    yield chunk


Change = tuple[objects.Change, bytes]
"""An event, and what it is to this watcher: `ADDED`, `MODIFIED`, `DELETED`."""


class Stream:
    """One watch. Its timer (bookmarks, the end of its time) interrupts the wait for events, and nothing else."""

    def __init__(self, context: contexts.Context, chosen: filters.Filter, form: negotiate.Form) -> None:
        self._context = context
        self._chosen = chosen
        self._only_key = ""
        if chosen.name and self._is_one_collection():
            self._only_key = objects.key(context.kind, context.namespace, chosen.name)
        self.render = _renderer(context, form)
        self._wants_bookmarks = context.query.flag("allowWatchBookmarks")
        self._clock = context.services.clock
        self._task: asyncio.Task[object] | None = None
        self._rung = False
        seconds = context.query.number("timeoutSeconds") or 0
        spread = _LEAST_TIMEOUT * (1 + context.services.rng.random())
        self._end = self._clock.monotonic() + (seconds if seconds > 0 else spread)

    def _is_one_collection(self) -> bool:
        return bool(self._context.namespace) or not self._context.kind.namespaced

    def open(self, start: int, *, initial: bool | None) -> AsyncGenerator[Any, None]:
        """Raises Compacted. `start` 0: what is there first, unless `initial` says no."""
        kind, namespace, stored = self._context.kind, self._context.namespace, self._context.services.objects
        wants_state = initial if initial is not None else not start
        if wants_state:
            page = stored.list(kind, namespace)
            opened = stored.watch(kind, namespace, page.revision)
            return self._run(opened, page, marks_end=bool(initial))
        opened = stored.watch(kind, namespace, start or stored.revision)
        return self._run(opened, None, marks_end=False)

    async def _run(
        self, opened: objects.Watch, page: objects.Page | None, *, marks_end: bool
    ) -> AsyncGenerator[Any, None]:
        ticker, registry = self._context.services.ticker, self._context.services.registry
        registry.follow(self._end_with_kind)
        self._end_with_kind()
        try:
            async with opened as events:
                if page is not None:
                    async with contextlib.aclosing(self._initial(page, marks_end=marks_end)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                    page = None
                async with contextlib.aclosing(self._changes(events)) as changes:
                    async for changed in changes:
                        yield changed
        except objects.Compacted as error:
            yield self.render.error(versions.compacted(error.revision, error.oldest))
        except objects.WatcherTooSlow:
            return
        finally:
            registry.unfollow(self._end_with_kind)
            ticker.drop(self)

    def _end_with_kind(self) -> None:
        """A kind that is gone, or is another now, has no more events: the client asks again, and learns what there is."""
        if not self._context.services.registry.serves(self._context.kind):
            self._end = self._clock.monotonic()
            self._ring()

    async def _initial(self, page: objects.Page, *, marks_end: bool) -> AsyncGenerator[Any, None]:
        records = [record for record in page.records if self._is_selected(record)]
        for start in range(0, len(records), _CHUNK):
            yield await self.render.records(records[start : start + _CHUNK])
        if marks_end and self._wants_bookmarks:
            yield self.render.bookmark(page.revision, ends_initial=True)

    async def _changes(self, events: objects.Watch) -> AsyncGenerator[Any, None]:
        iterator = events.__aiter__()
        interval = self._context.services.settings.bookmark_interval
        next_bookmark = self._clock.monotonic() + interval
        ticker = self._context.services.ticker
        ticker.set(self, min(self._end, next_bookmark), self._ring)
        while True:
            batch = await self._next_batch(iterator)
            if batch is None:
                return
            if batch and (chosen := self._selected(batch)) and (chunk := await self.render.events(chosen)):
                yield chunk
            now = self._clock.monotonic()
            if now >= next_bookmark or now >= self._end:
                next_bookmark = now + interval
                ticker.set(self, min(self._end, next_bookmark), self._ring)
                if self._wants_bookmarks:
                    yield self.render.bookmark(events.progress)
            if now >= self._end:
                return

    def _ring(self) -> None:
        self._rung = True
        if self._task is not None:
            self._task.cancel()

    def _take_ring(self) -> bool:
        rung, self._rung = self._rung, False
        return rung

    async def _next_batch(self, iterator: AsyncIterator[Sequence[objects.Change]]) -> Sequence[objects.Change] | None:
        """The next events; () when the timer rang; None when the store ended the watch."""
        if self._take_ring():
            return ()
        task = self._task = asyncio.current_task()
        assert task is not None
        try:
            return await anext(iterator, None)
        except asyncio.CancelledError:
            if self._take_ring() and task.uncancel() == 0:
                return ()
            raise
        finally:
            self._task = None

    def _selected(self, batch: Sequence[objects.Change]) -> list[Change]:
        if self._chosen.is_everything:
            return [(event, kind_of_change(event)) for event in batch]
        return [(event, seen) for event in batch if (seen := self._kind_of_event(event))]

    def _is_selected(self, record: objects.Stored) -> bool:
        return (not self._only_key or record.key == self._only_key) and self._chosen.matches(record)

    def _kind_of_event(self, event: objects.Change) -> bytes:
        """What the change is to this watcher; b"" for nothing."""
        if self._only_key and event.key != self._only_key:
            return b""
        was = event.previous is not None and self._chosen.matches(event.previous)
        now = event.record is not None and self._chosen.matches(event.record)
        if was:
            return b"MODIFIED" if now else b"DELETED"
        return b"ADDED" if now else b""


def kind_of_change(event: objects.Change) -> bytes:
    if event.record is None:
        return b"DELETED"
    return b"ADDED" if event.previous is None else b"MODIFIED"


class _Objects:
    """Objects, for a watcher in this process; decoded once for all of them."""

    def __init__(self, context: contexts.Context) -> None:
        self._kind = context.kind
        self._decoded = context.services.objects.decoded

    async def records(self, records: Sequence[objects.Stored]) -> Sequence[Any]:
        return [("ADDED", obj) for obj in await _objects(self._kind, [record.value for record in records])]

    async def events(self, changes: Sequence[Change]) -> Sequence[Any]:
        if self._kind.rules.stored is None:
            return [(seen.decode(), self._decoded.get(self._kind, event, seen)) for event, seen in changes]
        found = await _objects(self._kind, [decoded.content(*change) for change in changes])
        return [(seen.decode(), obj) for (_, seen), obj in zip(changes, found, strict=True)]

    def bookmark(self, revision: int, *, ends_initial: bool = False) -> Sequence[tuple[str, Any]]:
        return (("BOOKMARK", frames.bookmark_object(self._kind, revision, ends_initial=ends_initial)),)

    def error(self, failure: errors.StatusError) -> Sequence[tuple[str, Any]]:
        return (("ERROR", failure.to_json()),)


async def _objects(kind: kinds.Kind, stored: Sequence[bytes]) -> list[Any]:
    return [orjson.loads(data) for data in await conversion.values(kind, stored)]


class _Stored:
    """Stored objects, which all watchers share in each form that one of them asked for."""

    def __init__(self, context: contexts.Context, form: negotiate.Form) -> None:
        self._kind = context.kind
        self._messages = context.services.messages
        self._serializer = form.serializer

    async def records(self, records: Sequence[objects.Stored]) -> Sequence[Any]:
        stored = await conversion.values(self._kind, [record.value for record in records])
        return [b"".join(self._pieces(b"ADDED", data)) for data in stored]

    async def events(self, changes: Sequence[Change]) -> Sequence[Any]:
        found = await conversion.values(self._kind, [decoded.content(*change) for change in changes])
        out: list[bytes] = []
        for (_, seen), data in zip(changes, found, strict=True):
            out += self._pieces(seen, data)
        return out

    def _pieces(self, kind_of_event: bytes, data: bytes) -> serializers.Pieces:
        return self._serializer.stored_frame(kind_of_event, self._kind, data, self._messages)

    def bookmark(self, revision: int, *, ends_initial: bool = False) -> bytes:
        made = frames.bookmark_object(self._kind, revision, ends_initial=ends_initial)
        return self._serializer.frame(b"BOOKMARK", made)

    def error(self, failure: errors.StatusError) -> bytes:
        return self._serializer.frame(b"ERROR", failure.to_json())


class _Transformed:
    """Objects in another form, made for each watcher."""

    def __init__(
        self, context: contexts.Context, form: negotiate.Form, transform: Callable[[views.Object], views.Object]
    ) -> None:
        self._kind = context.kind
        self._serializer = form.serializer
        self._transform = transform

    async def records(self, records: Sequence[objects.Stored]) -> Sequence[Any]:
        found = await _objects(self._kind, [record.value for record in records])
        return [self._frame(b"ADDED", obj) for obj in found]

    async def events(self, changes: Sequence[Change]) -> Sequence[Any]:
        found = await _objects(self._kind, [decoded.content(*change) for change in changes])
        return [self._frame(seen, obj) for (_, seen), obj in zip(changes, found, strict=True)]

    def bookmark(self, revision: int, *, ends_initial: bool = False) -> bytes:
        return self._frame(b"BOOKMARK", frames.bookmark_object(self._kind, revision, ends_initial=ends_initial))

    def error(self, failure: errors.StatusError) -> bytes:
        return self._serializer.frame(b"ERROR", failure.to_json())

    def _frame(self, kind_of_event: bytes, obj: Any) -> bytes:
        return self._serializer.frame(kind_of_event, self._transform(obj))


def _renderer(context: contexts.Context, form: negotiate.Form) -> _Objects | _Stored | _Transformed:
    """Raises 406."""
    if form.transform == "Table":
        if form.serializer is serializers.PROTOBUF:
            form.serializer.encode({"apiVersion": f"{form.group}/{form.version}", "kind": "Table"})
        return _Transformed(context, form, _table_maker(context, form))
    if form.transform == "PartialObjectMetadata":
        return _Transformed(context, form, lambda obj: views.partial(obj, form))
    if form.transform:
        raise negotiate.not_acceptable([serializer.media for serializer in serializers.ALL])
    return _Objects(context) if context.request.takes_objects else _Stored(context, form)


def _table_maker(context: contexts.Context, form: negotiate.Form) -> Callable[[views.Object], views.Object]:
    """Only the first table carries the columns."""
    is_first = True

    def make(obj: views.Object) -> views.Object:
        nonlocal is_first
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        made = views.table(context, [obj], metadata, form, with_columns=is_first)
        is_first = False
        return made

    return make
