"""The storage room: a write lands on the state that it was decided on, or is decided again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pinnace.api import errors, kinds, resources
from pinnace.apiserver.storage import envelope, objects
from pinnace.kit import clock
from pinnace.store import memory

Object = dict[str, Any]


def in_room(test: Callable[[objects.Objects], Awaitable[None]]) -> Callable[[], None]:
    """Run `test` on the objects of a store of its own."""

    async def main() -> None:
        store = memory.MemoryStore(envelope.stamp, clock.SystemClock())
        try:
            await test(objects.Objects(store, kinds.builtin()))
        finally:
            await store.close()

    # Without the parameter, which pytest would take for a fixture.
    def run() -> None:
        asyncio.run(main())

    return run


def config_map(**data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default", "uid": "1"},
        "data": data,
    }


@in_room
async def test_who_is_overtaken_decides_again_on_the_newest_state(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    await stored.create(kind, "default", "a", config_map(n="0"))
    seen = []

    async def act(present: objects.Stored) -> objects.Stored:
        obj = envelope.parse(present)
        seen.append(obj["data"]["n"])
        if len(seen) == 1:
            await stored.guaranteed_update(kind, "default", "a", lambda _: config_map(n="5"))
        return await stored.replace(kind, present, config_map(n=str(int(obj["data"]["n"]) + 1)))

    written = await stored.guaranteed(kind, "default", "a", act)
    assert seen == ["0", "5"]
    assert envelope.parse(written)["data"] == {"n": "6"}
    assert written is stored.find(kind, "default", "a")


@in_room
async def test_who_is_always_overtaken_gets_a_conflict(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    await stored.create(kind, "default", "a", config_map())
    tries = 0

    async def act(present: objects.Stored) -> None:
        nonlocal tries
        tries += 1
        raise objects.Overtaken

    with pytest.raises(errors.StatusError) as caught:
        await stored.guaranteed(kind, "default", "a", act)
    assert (caught.value.code, caught.value.message) == (
        409,
        f'Operation cannot be fulfilled on configmaps "a": {errors.OBJECT_MODIFIED}',
    )
    assert tries == objects.ATTEMPTS


@in_room
async def test_nothing_wanted_writes_nothing(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    made = await stored.create(kind, "default", "a", config_map())
    assert await stored.guaranteed_update(kind, "default", "a", lambda _: None) is made
    assert stored.revision == made.mod_revision


@in_room
async def test_what_is_there_is_not_created_and_what_is_not_there_not_updated(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    await stored.create(kind, "default", "a", config_map())
    with pytest.raises(errors.StatusError, match='configmaps "a" already exists'):
        await stored.create(kind, "default", "a", config_map())
    with pytest.raises(errors.StatusError, match='configmaps "b" not found'):
        await stored.guaranteed_update(kind, "default", "b", lambda obj: obj)


@in_room
async def test_what_has_changed_since_is_not_deleted(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    old = await stored.create(kind, "default", "a", config_map(n="0"))
    new = await stored.guaranteed_update(kind, "default", "a", lambda _: config_map(n="1"))
    assert not await stored.delete(kind, old)
    assert await stored.delete(kind, new)
    assert not await stored.delete(kind, new)
    assert stored.find(kind, "default", "a") is None


@in_room
async def test_pages_go_on_after_a_path(stored: objects.Objects) -> None:
    kind = stored.kind(resources.CONFIG_MAPS)
    for namespace, name in (("a", "x"), ("a", "y"), ("b", "x")):
        await stored.create(kind, namespace, name, config_map())
    first = stored.list(kind, limit=2)
    assert [objects.names(kind, found) for found in first.records] == [("a", "x"), ("a", "y")]
    rest = stored.list(kind, after=objects.path(kind, "", first.records[-1]), revision=first.revision)
    assert [objects.names(kind, found) for found in rest.records] == [("b", "x")]
    assert objects.path(kind, "a", first.records[-1]) == "y"
