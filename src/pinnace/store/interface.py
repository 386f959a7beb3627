"""What a store is. Every implementation passes `pinnace.testing.store_contract`.

A store maps keys (`/registry/pods/default/web`) to bytes and orders its changes by one 63-bit **revision** for all keys: each change
has a greater one than all before it (there may be gaps, as another user of the same log leaves them), none is ever reused, and they
survive restarts.

* A change is durable before its call returns, and becomes visible to readers and watchers only then.
* Changes become visible in the order of their revisions; a read that starts after a change returned sees that change.
* A change whose key is not in the state that the caller expected changes nothing.
* The changes of a transaction happen together or not at all: they are durable together and become visible together. Each has a revision of
  its own, one after the other.
* A watch delivers every change of its prefix after its start revision exactly once, in order; or ends with `Compacted`.
* Where the disk has no room for a change, that change alone is refused (`NoSpace`) and everything else goes on.
* After any other failed commit or a bad checksum every further call raises `StoreFailed`: it stops rather than lies.

Values are opaque, but for one thing: a store is made with a `stamp` function that writes the revision of a change into its
value at the moment the revision is assigned (`Stamp`), so that every reader and every watcher is handed the very same bytes.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

Stamp = Callable[[bytes, int], bytes]
"""(value as written, revision) -> value as read. Must be pure and fast: it runs once for each change; and it must be able to stamp
what it stamped before, since a deletion stamps the last value with its own revision."""


class StoreError(Exception):
    """Any error of a store."""


class KeyExists(StoreError):
    """`create` of a key that is there. `current` is its record."""

    def __init__(self, key: str, current: "Record") -> None:
        super().__init__(f"key {key!r} exists at revision {current.mod_revision}")
        self.key = key
        self.current = current


class KeyMissing(StoreError):
    """`update` or `delete` of a key that is not there."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key {key!r} does not exist")
        self.key = key


class RevisionMismatch(StoreError):
    """The key is at another revision than the caller expected. `current` is its record: decide again and retry."""

    def __init__(self, key: str, expected: int, current: "Record") -> None:
        super().__init__(f"key {key!r} is at revision {current.mod_revision}, not at {expected}")
        self.key = key
        self.expected = expected
        self.current = current


class Compacted(StoreError):
    """The revision asked for is older than `oldest`, the oldest one still kept. List again."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted; the oldest kept is {oldest}")
        self.revision = revision
        self.oldest = oldest


class FutureRevision(StoreError):
    """The revision asked for has not happened yet."""

    def __init__(self, revision: int, current: int) -> None:
        super().__init__(f"revision {revision} is ahead of the current revision {current}")
        self.revision = revision
        self.current = current


class WatcherTooSlow(StoreError):
    """A watcher left more unread than it may; its watch has ended. Resume from the last revision seen."""


class NoSpace(StoreError):
    """The disk is full: the change was refused and nothing is changed. Later ones are tried again, each for itself."""


class StoreFailed(StoreError):
    """A commit or a checksum failed. Nothing is served any more; the process must be restarted."""


@dataclasses.dataclass(slots=True, eq=False)
class Record:
    """A key's state. One object for all readers while it is current: never change `value`."""

    key: str
    value: bytes
    """Stamped."""
    create_revision: int
    mod_revision: int
    derived: Any = None
    """A place for what a reader computes from `value` (labels, say). The store never looks at it."""


@dataclasses.dataclass(slots=True, eq=False)
class Event:
    """One change. The same object is handed to every watcher, so `derived` is computed once for all."""

    revision: int
    key: str
    record: Record | None
    """The new state; None: the key was deleted."""
    previous: Record | None
    """The state before; None: the key was created."""
    last_value: bytes = b""
    """For a deletion: the previous value stamped with the deletion's own revision."""
    derived: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Write:
    """One change of a transaction."""

    key: str
    value: bytes | None
    """The new one; None: the key goes."""
    expected_revision: int
    """At which the key must be; 0: it must not be there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    records: Sequence[Record]
    """In the order of their keys (bytewise)."""
    revision: int
    """The revision of the snapshot that the page belongs to."""
    remaining: int
    """How many more keys of the range come after this page."""


class Watch(Protocol):
    """An iterator of batches of events, never empty: `async with store.watch(...) as watch: async for batch in watch`."""

    async def __aenter__(self) -> "Watch": ...
    async def __aexit__(self, *exc: object) -> None: ...
    def __aiter__(self) -> AsyncIterator[Sequence[Event]]: ...

    @property
    def progress(self) -> int:
        """Every change up to this revision has been delivered or did not match."""
        ...


class Store(Protocol):
    @property
    def revision(self) -> int:
        """The newest visible revision."""
        ...

    @property
    def oldest_revision(self) -> int:
        """Reads and watches from this revision on are possible; older ones raise `Compacted`."""
        ...

    @property
    def trouble(self) -> str:
        """Why changes are refused at the moment (`NoSpace`), or ""."""
        ...

    async def create(self, key: str, value: bytes) -> Record:
        """Raises `KeyExists`, and as all changes `NoSpace`."""
        ...

    async def update(self, key: str, value: bytes, expected_revision: int) -> Record:
        """Raises `KeyMissing`, `RevisionMismatch`."""
        ...

    async def delete(self, key: str, expected_revision: int | None = None) -> Event:
        """The deletion as watchers see it. Raises `KeyMissing`, `RevisionMismatch`."""
        ...

    async def transact(self, writes: Sequence[Write]) -> Sequence[Event]:
        """All of `writes` (each of another key) or none. Raises `KeyExists`, `KeyMissing`, `RevisionMismatch` of the first that does not
        find its key as it expects it."""
        ...

    def get(self, key: str, *, at: int = 0) -> Record | None:
        """The newest visible state (`at` 0), or the one as of the revision `at`. Never waits: recent state lives in memory.
        Raises `Compacted`, `FutureRevision`."""
        ...

    async def wait_revision(self, revision: int) -> None:
        """Returns once everything up to `revision` is visible here. Never returns for one that never comes: bound it in time."""
        ...

    async def wait_current(self) -> int:
        """Returns once everything that had been answered to anybody before the call, by any server of the same state, is visible
        here: what is read then is no older than what others have been told. The revision that this takes."""
        ...

    async def range_of_past(self, prefix: str, revision: int) -> Sequence[Record]:
        """All keys under `prefix` as of `revision`, which may be older than `oldest_revision` as long as the disk remembers it.
        Raises `Compacted` (its `oldest` is then what the disk remembers), `FutureRevision`."""
        ...

    def range(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """The keys that start with `prefix` and are greater than `after`; at most `limit` (0: all).

        `revision` 0: the newest; else the snapshot as of that revision, so that all pages of a list are one snapshot.
        Raises `Compacted`, `FutureRevision`.
        """
        ...

    def count(self, prefix: str) -> int: ...

    def watch(self, prefix: str, after_revision: int, *, max_bytes: int = 8 << 20) -> Watch:
        """All changes of keys under `prefix` whose revision is greater than `after_revision`.

        Raises `Compacted` or `FutureRevision` at the call. While iterating: `WatcherTooSlow` once more than `max_bytes` of
        values wait unread, `Compacted` if the history that it still needs is dropped, `StoreFailed`. Ends when the store is closed.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget history before `revision`. Current state is never lost."""
        ...

    async def wait_failed(self) -> StoreFailed:
        """Returns once the store has failed, with why: the moment to end the process. For ever otherwise."""
        ...

    async def close(self) -> None: ...
