"""Reading container logs in the CRI format: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`, as every monitor writes them.

Used by whoever serves logs; needs no engine, only the file. Following never polls.
"""

import asyncio
import dataclasses
import datetime
import pathlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

from pinnace.engine import log_files
from pinnace.kernel import inotify

Stream = Literal["stdout", "stderr"]


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
    """Begin with `<file>.<suffix>` left by rotation, oldest first (`.gz` too); a `tail` reaches back over them."""


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
    with log_files.begin(path, options.tail, include_rotated=options.include_rotated) as (older, tailer):
        for part in older:
            for raw in part.lines():
                if (piece := writer.format(raw)) is not None:
                    yield piece
                if writer.is_full:
                    return
        async for raw in _follow(tailer, options.follow, wait_ended):
            if (piece := writer.format(raw)) is not None:
                yield piece
            if writer.is_full:
                return


async def _follow(
    tailer: log_files.Tailer, follow: bool, wait_ended: Callable[[], Awaitable[object]] | None
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
                for raw in tailer.reopen():
                    yield raw
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
