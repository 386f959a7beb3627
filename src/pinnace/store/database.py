"""The one door to SQLite: a revision log in a file. Synchronous; used by one thread at a time.

One table holds it all, one row for each change that is still needed: the row of a key's current state, and the rows of recent
history. No index beside the revision is needed, since current state lives in memory. `meta.compacted` is the revision up to
which superseded rows and rows of deletions are gone: the rows up to there *are* the state as of it, and from there to the newest
no revision is missing.

Many rows are written by one statement: a thread that calls SQLite gives the interpreter lock away and may wait for it
for milliseconds after each call while the loop computes.
"""

import dataclasses
import json
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from pinnace.kit import files
from pinnace.store import interface, keys, state

ROWS_PER_STATEMENT = 64
CACHED_STATEMENTS = 100
PAGE_SIZE = 16384
SCHEMA = f"""
PRAGMA page_size = {PAGE_SIZE};
PRAGMA auto_vacuum = INCREMENTAL;
"""
TABLES = """
CREATE TABLE IF NOT EXISTS log (
  revision INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  created INTEGER NOT NULL,
  value BLOB,
  checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS meta (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  format INTEGER NOT NULL,
  compacted INTEGER NOT NULL,
  checksum INTEGER NOT NULL
) STRICT;
"""
FORMAT = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    checkpoint_bytes: int = 4 << 20
    """The write-ahead log is copied into the database when it is larger. A larger one means fewer but longer pauses of writers."""
    vacuum_pages: int = 512
    """Free pages given back to the file system in one go."""
    free_pages_kept: int = 2048
    """Free pages that the file may keep for what is written next."""


class Database:
    """Every method may raise `interface.StoreFailed`; after that none may be called but `close`."""

    def __init__(self, path: pathlib.Path, settings: Settings, *, vfs: str | None = None) -> None:
        self._settings = settings
        self._path = path
        try:
            if vfs is None:
                _ensure_created(path)
            self._connection = _open(path, vfs)
        except apsw.BusyError:
            raise interface.StoreFailed(f"{path} is in use by another process") from None
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot open {path}: {error}{_what_to_do(path, error)}") from error
        self._wal_bytes = 0
        """Since the last checkpoint, by a rough and high estimate: an exact figure would cost a call into SQLite."""

    def load(self, stamp: interface.Stamp) -> state.State:
        """All that the file holds, each row verified against its checksum."""
        try:
            return self._load(stamp)
        except (apsw.Error, ValueError) as error:
            why = f"cannot read {self._path}: {error}{_what_to_do(self._path, error)}"
            raise interface.StoreFailed(why) from error

    def write(self, events: Sequence[interface.Event], dropped: Sequence[int], compacted: int) -> None:
        """In one durable transaction: append `events`, delete the rows of the revisions `dropped`, history now begins at
        `compacted` (0: where it did). Raises NoSpace: nothing of it was done."""
        try:
            if len(events) <= ROWS_PER_STATEMENT and not compacted:
                self._insert(events)
                return
            self._connection.execute("BEGIN IMMEDIATE")
            for at in range(0, len(events), ROWS_PER_STATEMENT):
                self._insert(events[at : at + ROWS_PER_STATEMENT])
            if compacted:
                self._wal_bytes += PAGE_SIZE * len(dropped)
                self._connection.execute(
                    "DELETE FROM log WHERE revision IN (SELECT value FROM json_each(?))", (json.dumps(list(dropped)),)
                )
                self._write_meta(compacted)
            self._connection.execute("COMMIT")
        except apsw.FullError as error:
            # Before anything was promised: SQLite has undone it, or does so now.
            self._roll_back()
            raise interface.NoSpace(f"no space left on the disk of {self._path}") from error
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot write to {self._path}: {error}") from error

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot undo a write to {self._path}: {error}") from error

    def maybe_checkpoint(self) -> None:
        if self._wal_bytes < self._settings.checkpoint_bytes:
            return
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.FullError:
            # The log holds it all; a later one finds more room.
            self._wal_bytes = self._settings.checkpoint_bytes // 2
            return
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot checkpoint {self._path}: {error}") from error
        self._wal_bytes = 0

    def vacuum(self) -> bool:
        """Give a slice of the free pages back; True: there are more."""
        try:
            [(free,)] = self._integers("PRAGMA freelist_count")
            free -= self._settings.free_pages_kept
            if free <= 0:
                return False
            self._connection.execute(f"PRAGMA incremental_vacuum({min(free, self._settings.vacuum_pages)})").fetchall()
            return free > self._settings.vacuum_pages
        except apsw.FullError:
            self._roll_back()
            return False
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot shrink {self._path}: {error}") from error

    def close(self) -> None:
        """SQLite copies the write-ahead log into the database and removes it."""
        try:
            self._connection.close()
        except apsw.Error as error:
            raise interface.StoreFailed(f"cannot close {self._path}: {error}") from error

    def _insert(self, events: Sequence[interface.Event]) -> None:
        if not events:
            return
        self._wal_bytes += PAGE_SIZE
        bindings: list[Any] = []
        for event in events:
            record = event.record
            created, value = (record.create_revision, record.value) if record is not None else (0, None)
            checksum = row_checksum(event.revision, event.key, created, value)
            bindings += (event.revision, event.key, created, value, checksum)
            self._wal_bytes += len(value) if value is not None else 0
        rows = ",".join(["(?,?,?,?,?)"] * len(events))
        self._connection.execute(f"INSERT INTO log VALUES {rows}", bindings)  # noqa: S608 - question marks alone

    def _write_meta(self, compacted: int) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (1, ?, ?, ?)", (FORMAT, compacted, _meta_checksum(FORMAT, compacted))
        )

    def _load(self, stamp: interface.Stamp) -> state.State:
        compacted = self._load_compacted()
        rows = self._rows()
        records: dict[str, interface.Record] = {}
        first: interface.Event | None = None
        for revision, key, created, value in rows:
            if revision > compacted:
                first = _event(revision, key, created, value, records.get(key), stamp)
                break
            if value is None or key in records:
                raise ValueError(f"key {key!r} has a superfluous row at revision {revision}")
            records[key] = interface.Record(key, value, created, revision)
        loaded = state.State(compacted, records.values())
        if first is not None:
            _apply_next(loaded, first)
        for revision, key, created, value in rows:
            _apply_next(loaded, _event(revision, key, created, value, loaded.records.get(key), stamp))
        return loaded

    def read_past(self, prefix: str, revision: int) -> list[interface.Record]:
        """The keys under `prefix` as of `revision`: a look at every row up to it. Raises Compacted."""
        try:
            [(oldest,)] = self._integers("SELECT compacted FROM meta")
            if revision < oldest:
                raise interface.Compacted(revision, oldest)
            # Beside max(), SQLite answers the other columns of the very row that holds the greatest.
            rows: Iterator[Any] = self._connection.execute(
                "SELECT key, created, value, checksum, max(revision) FROM log"
                " WHERE revision <= ? AND key >= ? AND (? IS NULL OR key < ?) GROUP BY key ORDER BY key",
                (revision, prefix, end := keys.prefix_end(prefix), end),
            )
            found = []
            for key, created, value, checksum, changed in rows:
                if checksum != row_checksum(changed, key, created, value):
                    raise ValueError(f"the checksum of key {key!r} at revision {changed} is wrong")
                if value is not None:
                    found.append(interface.Record(key, value, created, changed))
            return found
        except (apsw.Error, ValueError) as error:
            raise interface.StoreFailed(f"cannot read {self._path}: {error}") from error

    def _load_compacted(self) -> int:
        found = self._integers("SELECT format, compacted, checksum FROM meta")
        if not found:
            if self._integers("SELECT EXISTS (SELECT * FROM log)") != [(0,)]:
                raise ValueError("the log has rows but its beginning is not known")
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_meta(state.FIRST_REVISION)
            self._connection.execute("COMMIT")
            return state.FIRST_REVISION
        [(version, compacted, checksum)] = found
        if checksum != _meta_checksum(version, compacted):
            raise ValueError("the checksum of its head is wrong")
        if version != FORMAT:
            raise ValueError(f"its format is {version}, not {FORMAT}")
        return compacted

    def _rows(self) -> Iterator[tuple[int, str, int, bytes | None]]:
        rows: Iterator[Any] = self._connection.execute(
            "SELECT revision, key, created, value, checksum FROM log ORDER BY revision"
        )
        for revision, key, created, value, checksum in rows:
            if checksum != row_checksum(revision, key, created, value):
                raise ValueError(f"the checksum of key {key!r} at revision {revision} is wrong")
            yield revision, key, created, value

    def _integers(self, query: str) -> list[tuple[int, ...]]:
        found: list[Any] = self._connection.execute(query).fetchall()
        return found


def _apply_next(loaded: state.State, event: interface.Event) -> None:
    """This store leaves no gaps: one is a change that has been lost."""
    if event.revision != loaded.revision + 1:
        raise ValueError(f"change {event.revision} cannot follow revision {loaded.revision}")
    loaded.apply(event)


def row_checksum(revision: int, key: str, created: int, value: bytes | None) -> int:
    head = zlib.crc32(f"{revision} {created} {value is None} {key}".encode())
    return zlib.crc32(value, head) if value is not None else head


def _meta_checksum(version: int, compacted: int) -> int:
    return zlib.crc32(f"{version} {compacted}".encode())


def _event(
    revision: int,
    key: str,
    created: int,
    value: bytes | None,
    previous: interface.Record | None,
    stamp: interface.Stamp,
) -> interface.Event:
    if value is not None:
        return interface.Event(revision, key, interface.Record(key, value, created, revision), previous)
    if previous is None:
        raise ValueError(f"key {key!r} is deleted at revision {revision} but was not there")
    return interface.Event(revision, key, None, previous, stamp(previous.value, revision))


def _what_to_do(path: pathlib.Path, error: Exception) -> str:
    if isinstance(error, ValueError | apsw.NotADBError | apsw.CorruptError):
        return f"; put a sound copy in its place, or delete {path}* to begin with an empty cluster"
    return ""


def _ensure_created(path: pathlib.Path) -> None:
    """A new file appears whole or not at all, so that an empty one is never taken for a new cluster: somebody has emptied it."""
    if path.exists():
        if path.stat().st_size == 0:
            raise interface.StoreFailed(
                f"{path} is empty, and the state of its cluster is gone; put a copy in its place, "
                "or delete it to begin with an empty cluster"
            )
        return
    made = path.with_name(path.name + ".new")
    for left in (made, path.with_name(made.name + "-wal")):
        left.unlink(missing_ok=True)
    _open(made, None).close()
    made.rename(path)
    files.sync_directory(path.parent)


def _open(path: pathlib.Path, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(str(path), vfs=vfs, statementcachesize=CACHED_STATEMENTS)
    # Exclusive: no second process can open it, and no shared memory file is needed.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(SCHEMA)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Checkpoints are made between commits, never by the commit that a client waits for.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute(f"BEGIN EXCLUSIVE; {TABLES} COMMIT")
    files.sync_directory(path.parent)
    return connection
