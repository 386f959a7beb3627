"""The files of a container's log: the present one, and those that rotation left beside it.

Lines here are raw, as the monitor wrote them; `logs` says what they mean.
"""

import contextlib
import errno
import gzip
import itertools
import os
import pathlib
import stat
import zlib
from collections.abc import Iterator
from typing import Protocol

from pinnace.kernel import inotify

BLOCK = 1 << 16
# A monitor cuts lines at 8 KiB; what is longer than this is no log line of ours.
MAXIMUM_LINE = 1 << 20


class Part(Protocol):
    """One file that nobody writes any more."""

    def lines(self) -> Iterator[bytes]: ...
    def seek_tail(self, count: int) -> int: ...
    def close(self) -> None: ...


def rotated(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Older files of a log, oldest first. A `.tmp` is one that is being compressed: its original is still there."""
    found = [p for p in path.parent.glob(f"{path.name}.*") if p.suffix != ".tmp"]
    return tuple(sorted(found, key=lambda p: p.name.removesuffix(".gz")))


def exists(path: pathlib.Path) -> bool:
    """Whether there is anything of the log: for a moment of each rotation only older files are."""
    return path.exists() or bool(rotated(path))


@contextlib.contextmanager
def begin(path: pathlib.Path, tail: int | None, *, include_rotated: bool) -> "Iterator[tuple[list[Part], Tailer]]":
    """(the older files that matter, the present one), each where its first wanted line begins. Raises FileNotFoundError, OSError."""
    with contextlib.ExitStack() as held:
        tailer = _newest(path) if include_rotated else Tailer(path)
        held.callback(tailer.close)
        older: list[Part] = []
        missing = None if tail is None else tail - tailer.seek_tail(tail)
        for file in reversed(rotated(path)) if include_rotated else ():
            if missing is not None and missing <= 0:
                break
            if _identity_at(file) == tailer.identity:
                continue  # renamed since it was opened
            part = held.enter_context(_opened(file))
            if part is None:
                continue
            older.insert(0, part)
            if missing is not None:
                missing -= part.seek_tail(missing)
        yield older, tailer


def _newest(path: pathlib.Path) -> "Tailer":
    try:
        return Tailer(path)
    except FileNotFoundError:
        older = rotated(path)
        if not older:
            raise
        # Between a renaming and the monitor's new file.
        return Tailer(path, older[-1])


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[Part | None]:
    """None where rotation has removed it meanwhile."""
    try:
        part: Part = Compressed(path) if path.suffix == ".gz" else Tailer(path)
    except FileNotFoundError:
        yield None
        return
    try:
        yield part
    finally:
        part.close()


def _identity_at(path: pathlib.Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _open(path: pathlib.Path) -> int:
    """Whoever can write the folder of logs (a pod that mounts it, say) gets no other file of the host shown through it.

    Raises OSError, also for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a log is a regular file", str(path))
    return descriptor


class Tailer:
    """One log file, read line by line from a position; a line without its newline waits for the rest."""

    def __init__(self, path: pathlib.Path, at: pathlib.Path | None = None) -> None:
        """`at`: the file to begin with where it is no longer (or not yet) the one that `path` leads to."""
        self._path = path
        self._known = {each.name for each in rotated(path)}
        self._descriptor = _open(at or path)
        self._position = 0

    def close(self) -> None:
        os.close(self._descriptor)

    def watch(self) -> inotify.Watch:
        return inotify.Watch(
            (pathlib.Path(f"/proc/self/fd/{self._descriptor}"), inotify.MODIFY),
            (self._path.parent, inotify.CREATE | inotify.MOVED_TO),
        )

    def was_replaced(self) -> bool:
        """The path leads to another file by now (not: to none, as between a rename and the monitor's reopening)."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) != self.identity

    def reopen(self) -> Iterator[bytes]:
        """Go on with the file that the path leads to now. Yields the lines of those between: a reader may be slower than the rotation."""
        try:
            fresh = _open(self._path)
        except FileNotFoundError:
            return  # renamed again meanwhile
        files = rotated(self._path)
        between = [each for each in files if each.name not in self._known and _identity_at(each) != self.identity]
        os.close(self._descriptor)
        self._descriptor, self._position = fresh, 0
        self._known = {each.name for each in files}
        for path in between:
            if _identity_at(path) != self.identity:
                with _opened(path) as part:
                    yield from part.lines() if part is not None else ()

    def lines(self) -> Iterator[bytes]:
        """The whole lines from the present position on."""
        rest = b""
        while block := os.pread(self._descriptor, BLOCK, self._position + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._position += len(line) + 1
                yield line
            if len(rest) > MAXIMUM_LINE:
                self._position += len(rest)
                rest = b""

    def seek_tail(self, count: int) -> int:
        """To the beginning of the last `count` lines; a line in several parts counts as one. Returns how many there are, at most `count`."""
        end = os.fstat(self._descriptor).st_size
        if count <= 0:
            self._position = end
            return 0
        position, wanted, buffer = end, count, b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            buffer = os.pread(self._descriptor, size, position) + buffer
            starts = _line_starts(buffer, is_file_start=position == 0)
            if len(starts) >= wanted:
                self._position = position + starts[-wanted]
                return wanted
        self._position = 0
        return len(_line_starts(buffer, is_file_start=True))

    @property
    def identity(self) -> tuple[int, int]:
        own = os.fstat(self._descriptor)
        return own.st_dev, own.st_ino


def _line_starts(buffer: bytes, *, is_file_start: bool) -> list[int]:
    """Where lines begin that are not the continuation of a part before. The first line of a buffer that begins inside the file
    is left out: it may be cut."""
    starts: list[int] = []
    position = 0
    open_parts: set[bytes] = set()
    is_known = is_file_start
    while position < len(buffer):
        end = buffer.find(b"\n", position)
        line = buffer[position : end if end >= 0 else len(buffer)]
        stream, is_part = _kind(line)
        if is_known and stream not in open_parts:
            starts.append(position)
        (open_parts.add if is_part else open_parts.discard)(stream)
        is_known = True
        position = end + 1 if end >= 0 else len(buffer)
    return starts


class Compressed:
    """A rotated file that somebody compressed."""

    def __init__(self, path: pathlib.Path) -> None:
        self._descriptor = _open(path)
        self._skipped = 0

    def close(self) -> None:
        os.close(self._descriptor)

    def lines(self) -> Iterator[bytes]:
        return itertools.islice(self._all(), self._skipped, None)

    def seek_tail(self, count: int) -> int:
        """Reads it all, twice with `lines`: no more than a line of it is ever held."""
        beginnings = sum(1 for is_first in self._is_first() if is_first)
        unwanted = max(0, beginnings - count)
        for is_first in self._is_first():
            unwanted -= is_first
            if unwanted < 0:
                break
            self._skipped += 1
        return min(beginnings, count)

    def _is_first(self) -> Iterator[bool]:
        """Of every line, whether it is not the continuation of a part before."""
        open_parts: set[bytes] = set()
        for line in self._all():
            stream, is_part = _kind(line)
            yield stream not in open_parts
            (open_parts.add if is_part else open_parts.discard)(stream)

    def _all(self) -> Iterator[bytes]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        # What is cut short or damaged tells as much as can be read.
        damage = contextlib.suppress(EOFError, OSError, zlib.error)
        with damage, os.fdopen(os.dup(self._descriptor), "rb") as file, gzip.open(file) as text:
            while line := text.readline(MAXIMUM_LINE):
                yield line.rstrip(b"\n")


def _kind(line: bytes) -> tuple[bytes, bool]:
    """(stream, whether its next line goes on where this one ends)."""
    fields = line.split(b" ", 3)
    return (fields[1], fields[2].startswith(b"P")) if len(fields) > 2 else (b"", False)
