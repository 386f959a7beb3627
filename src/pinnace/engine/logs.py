"""Reading container logs in the CRI format: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`, as every monitor writes them.

Used by whoever serves logs; needs no engine, only the file. Following never polls.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import errno
import gzip
import os
import pathlib
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Literal

from pinnace.kernel import inotify

Stream = Literal["stdout", "stderr"]

BLOCK = 1 << 16
# A monitor cuts lines at 8 KiB; what is longer than this is no log line of ours.
MAXIMUM_LINE = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    time: str
    """As written."""
    stream: Stream
    is_partial: bool
    """The next line of the stream goes on where this one ends."""
    text: bytes
    """Without the newline."""


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    follow: bool = False
    tail: int | None = None
    """Only so many of the last lines; None: all."""
    since_ns: int | None = None
    """Only lines written then or later (nanoseconds since the epoch)."""
    limit_bytes: int | None = None
    """Stop after exactly so many bytes of output."""
    timestamps: bool = False
    """Put the time before each line."""
    stream: Stream | None = None
    """Only this one; None: both."""
    include_rotated: bool = False
    """Begin with `<file>.<suffix>` left by rotation, oldest first (`.gz` too)."""


def parse(raw: bytes) -> Line:
    """One line of the file, with or without its newline. Raises ValueError."""
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3:
        raise ValueError(f"not a log line: {raw[:80]!r}")
    stream = parts[1].decode(errors="replace")
    # Further tags may follow the first one after a colon.
    tag = parts[2].split(b":")[0]
    if stream not in ("stdout", "stderr") or tag not in (b"P", b"F"):
        raise ValueError(f"not a log line: {raw[:80]!r}")
    return Line(
        parts[0].decode(errors="replace"),
        "stdout" if stream == "stdout" else "stderr",
        tag == b"P",
        parts[3] if len(parts) > 3 else b"",
    )


def time_ns(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with up to nine digits of a fraction. Raises ValueError."""
    whole, point, rest = text.partition(".")
    digits = "".join(c for c in rest if c.isdigit()) if point else ""
    zone = ""
    if point:
        cut = next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))
        digits, zone = rest[:cut], rest[cut:]
    moment = datetime.datetime.fromisoformat(whole + zone)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or 0)


async def read(
    path: pathlib.Path, options: Options, wait_ended: Callable[[], Awaitable[object]] | None = None
) -> AsyncIterator[tuple[Stream, bytes]]:
    """The output of a container as (stream, bytes), formatted by `options`.

    With `follow` it goes on, over rotations of the file, until `wait_ended` returns (the container's death) and everything
    written before is delivered. Raises FileNotFoundError; OSError where the log is no regular file.
    """
    writer = _Writer(options)
    if options.include_rotated and options.tail is None:
        for old in rotated(path):
            for raw in _lines_of(old):
                if (piece := writer.format(raw)) is not None:
                    yield piece
                if writer.is_full:
                    return
    tailer = _Tailer(path)
    try:
        if options.tail is not None:
            tailer.seek_tail(options.tail)
        async for raw in _follow(tailer, options.follow, wait_ended):
            if (piece := writer.format(raw)) is not None:
                yield piece
            if writer.is_full:
                return
    finally:
        tailer.close()


def rotated(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """Older files of a log, oldest first. A `.tmp` is one that is being compressed: its original is still there."""
    found = [p for p in path.parent.glob(f"{path.name}.*") if p.suffix != ".tmp"]
    return tuple(sorted(found, key=lambda p: p.name.removesuffix(".gz")))


def _lines_of(path: pathlib.Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), open(_open(path), "rb") as file:
        if path.suffix == ".gz":
            with gzip.open(file) as text:
                yield from text
        else:
            yield from file


async def _follow(
    tailer: "_Tailer", follow: bool, wait_ended: Callable[[], Awaitable[object]] | None
) -> AsyncIterator[bytes]:
    if not follow:
        for raw in tailer.lines():
            yield raw
        return
    ended = asyncio.ensure_future(wait_ended()) if wait_ended is not None else None
    watch = tailer.watch()
    try:
        while True:
            # Asked before reading: what was written before the end is then read for sure.
            is_last = ended is not None and ended.done()
            for raw in tailer.lines():
                yield raw
            if tailer.was_replaced():
                # Once more to the end of the old file: it may have grown until the monitor opened the new one.
                for raw in tailer.lines():
                    yield raw
                tailer.reopen()
                watch.close()
                watch = tailer.watch()
                continue
            if is_last:
                return
            await _wait_any(watch, ended)
    finally:
        watch.close()
        if ended is not None:
            ended.cancel()


async def _wait_any(watch: inotify.Watch, ended: "asyncio.Future[object] | None") -> None:
    changed = asyncio.ensure_future(watch.wait_changed())
    try:
        await asyncio.wait({changed} | ({ended} if ended is not None else set()), return_when=asyncio.FIRST_COMPLETED)
    finally:
        changed.cancel()
        await asyncio.gather(changed, return_exceptions=True)


def _open(path: pathlib.Path) -> int:
    """Whoever can write the folder of logs (a pod that mounts it, say) gets no other file of the host shown through it.

    Raises OSError, also for what is no regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "a log is a regular file", str(path))
    return descriptor


class _Tailer:
    """One log file, read line by line from a position; a line without its newline waits for the rest."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._descriptor = _open(path)
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
        return (there.st_dev, there.st_ino) != self._identity()

    def reopen(self) -> None:
        os.close(self._descriptor)
        self._descriptor = _open(self._path)
        self._position = 0

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

    def seek_tail(self, count: int) -> None:
        """To the beginning of the last `count` lines; a line in several parts counts as one."""
        end = os.fstat(self._descriptor).st_size
        if count <= 0:
            self._position = end
            return
        position, wanted, buffer = end, count, b""
        while position > 0:
            size = min(BLOCK, position)
            position -= size
            buffer = os.pread(self._descriptor, size, position) + buffer
            starts = _line_starts(buffer, is_file_start=position == 0)
            if len(starts) >= wanted:
                self._position = position + starts[-wanted]
                return
        self._position = 0

    def _identity(self) -> tuple[int, int]:
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
        fields = line.split(b" ", 3)
        stream, tag = (fields[1], fields[2]) if len(fields) > 2 else (b"", b"F")
        if is_known and stream not in open_parts:
            starts.append(position)
        if tag.startswith(b"P"):
            open_parts.add(stream)
        else:
            open_parts.discard(stream)
        is_known = True
        position = end + 1 if end >= 0 else len(buffer)
    return starts


class _Writer:
    """Formats lines, counts bytes."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._inside: set[str] = set()
        """Streams whose last line was a part."""

    @property
    def is_full(self) -> bool:
        return self._left == 0

    def format(self, raw: bytes) -> tuple[Stream, bytes] | None:
        try:
            line = parse(raw)
        except ValueError:
            return None  # a line cut by a full disk or a crash tells nothing
        options = self._options
        is_new = line.stream not in self._inside
        if line.is_partial:
            self._inside.add(line.stream)
        else:
            self._inside.discard(line.stream)
        if options.stream is not None and line.stream != options.stream:
            return None
        if options.since_ns is not None and not self._is_recent(line, options.since_ns):
            return None
        data = line.text if line.is_partial else line.text + b"\n"
        if options.timestamps and is_new:
            data = line.time.replace("+00:00", "Z").encode() + b" " + data
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return (line.stream, data) if data else None

    @staticmethod
    def _is_recent(line: Line, since_ns: int) -> bool:
        try:
            return time_ns(line.time) >= since_ns
        except ValueError:
            return True
