"""A disk in memory on which SQLite runs, and which can lose power, fill up, or fail to sync.

What was written but not synced is remembered as such; `power_loss` gives the disk that a machine might find afterwards: of every
unsynced write it keeps all, nothing, or some sectors, whatever the order.
"""

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import apsw

SECTOR = 512
_names = itertools.count()


class _Content:
    """One file: what is certainly on the platter, what the system shows, and the writes between the two."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = bytearray(durable)
        self.shown = bytearray(durable)
        self.unsynced: list[tuple[int, bytes | None]] = []

    def write(self, offset: int, data: bytes) -> None:
        self.unsynced.append((offset, data))
        _apply(self.shown, offset, data)

    def truncate(self, size: int) -> None:
        self.unsynced.append((size, None))
        _apply(self.shown, size, None)

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _apply(self.durable, offset, data)
        self.unsynced.clear()

    def after_power_loss(self, rng: random.Random) -> bytes:
        left = bytearray(self.durable)
        for offset, data in self.unsynced:
            fate = rng.random()
            if fate < 0.4:
                continue
            if data is None or fate < 0.7:
                _apply(left, offset, data)
                continue
            for at in range(0, len(data), SECTOR):
                if rng.random() < 0.5:
                    _apply(left, offset + at, data[at : at + SECTOR])
        return bytes(left)


class SimulatedDisk(apsw.VFS):
    """Registered with SQLite under `name`; pass that as `vfs`. Use as a context manager."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.name = f"simulated-{next(_names)}"
        super().__init__(self.name, "")
        self.is_full = False
        self.fails_to_sync = False
        self.before_operation: Callable[[], None] = lambda: None
        """Called before each write, sync and truncation."""
        self._lock = threading.RLock()
        self._files = {path: _Content(content) for path, content in (files or {}).items()}

    def __enter__(self) -> "SimulatedDisk":
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def power_loss(self, rng: random.Random) -> dict[str, bytes]:
        """The files that may be found if the power failed now."""
        with self._lock:
            return {path: content.after_power_loss(rng) for path, content in self._files.items()}

    def damage(self, old: bytes, new: bytes) -> int:
        """Replace bytes in all files, as a failing medium would. Returns how often."""
        found = 0
        with self._lock:
            for content in self._files.values():
                found += content.shown.count(old)
                content.shown = bytearray(content.shown.replace(old, new))
                content.durable = bytearray(content.durable.replace(old, new))
        return found

    def note_operation(self, *, needs_room: bool) -> None:
        self.before_operation()
        if needs_room and self.is_full:
            raise apsw.FullError("no space left on the simulated disk")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        with self._lock:
            content = self._files.setdefault(path or f"temporary-{next(_names)}", _Content())
        flags[1] = flags[0]
        return _File(self, content)

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802
        return pathname in self._files

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        self._files.pop(filename, None)

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


class _File(apsw.VFSFile):
    def __init__(self, disk: SimulatedDisk, content: _Content) -> None:
        self._disk = disk
        self._content = content

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._content.shown[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.note_operation(needs_room=True)
        self._content.write(offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.note_operation(needs_room=False)
        self._content.truncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.note_operation(needs_room=False)
        if self._disk.fails_to_sync:
            raise apsw.IOError("the simulated disk failed to sync")
        self._content.sync()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._content.shown)

    def xClose(self) -> None:  # noqa: N802
        pass

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """A write, or (None) a truncation to `offset`."""
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
