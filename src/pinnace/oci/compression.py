"""Reading what may be compressed: recognised by its first bytes, in bounded pieces."""

import hashlib
import os
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import zstandard

PIECE = 1 << 18
# Pieces in flight between the thread that reads and the one that consumes.
DEPTH = 8

Compression = Literal["none", "gzip", "zstd"]


class CompressionError(ValueError):
    """The data is damaged, cut short, or compressed in a way that is not supported."""


def detect(head: bytes) -> Compression:
    """From the first 6 bytes. Raises CompressionError for xz and bzip2."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return "zstd"
    if head.startswith((b"BZh", b"\xfd7zXZ\0")):
        raise CompressionError("compressed with bzip2 or xz: only gzip, zstd and plain archives are supported")
    return "none"


class Section:
    """A part of an open file: `length` bytes from `offset`, read with pread, so that threads may share the descriptor."""

    def __init__(self, descriptor: int, offset: int, length: int) -> None:
        self._descriptor = descriptor
        self._position = offset
        self._end = offset + length

    def read(self, size: int) -> bytes:
        data = os.pread(self._descriptor, min(size, self._end - self._position), self._position)
        self._position += len(data)
        return data

    def head(self) -> bytes:
        return os.pread(self._descriptor, min(6, self._end - self._position), self._position)


def decompressed(read: Callable[[int], bytes], compression: Compression) -> Iterator[bytes]:
    """The plain bytes, in pieces of bounded size. Raises CompressionError."""
    if compression == "none":
        while piece := read(PIECE):
            yield piece
    elif compression == "gzip":
        yield from _gunzip(read)
    else:
        yield from _unzstd(read)


def _gunzip(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """One member or several (pigz, estargz write many)."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
    data = read(PIECE)
    is_started = False
    while data:
        try:
            piece = engine.decompress(data, PIECE * 4)
        except zlib.error as error:
            raise CompressionError(f"damaged gzip data: {error}") from error
        is_started = True
        if piece:
            yield piece
        if engine.eof:
            data = engine.unused_data.lstrip(b"\0") or read(PIECE).lstrip(b"\0")
            if data:
                engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            is_started = False
        else:
            data = engine.unconsumed_tail or read(PIECE)
    if is_started:
        raise CompressionError("gzip data is cut short")


def _unzstd(read: Callable[[int], bytes]) -> Iterator[bytes]:
    class Source:
        def read(self, size: int = -1) -> bytes:
            return read(PIECE if size < 0 else size)

    source: Any = Source()
    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        source, read_size=PIECE, read_across_frames=True, closefd=False
    ) as reader:
        while True:
            try:
                piece = reader.read(PIECE * 4)
            except zstandard.ZstdError as error:
                raise CompressionError(f"damaged zstd data: {error}") from error
            if not piece:
                return
            yield piece


class Pipeline:
    """Reads, decompresses and hashes in a thread (all of which release the interpreter) while the owner consumes `fill()`."""

    def __init__(self, section: Section, on_read: Callable[[int], None] = lambda _: None) -> None:
        self._section = section
        self._on_read = on_read
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(DEPTH)
        self._hash = hashlib.sha256()
        self._stopped = False
        self._thread = threading.Thread(target=self._pump, name="layer reader", daemon=True)
        self._thread.start()

    def fill(self) -> bytes:
        """The next plain bytes; b"" at the end. Raises CompressionError, OSError."""
        piece = self._queue.get()
        if isinstance(piece, BaseException):
            self._queue.put(b"")
            raise piece
        if not piece:
            self._queue.put(b"")
        return piece

    @property
    def digest(self) -> str:
        """Of all plain bytes; valid after the end was reached."""
        return f"sha256:{self._hash.hexdigest()}"

    def stop(self) -> None:
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.01)

    def _pump(self) -> None:
        try:
            for piece in decompressed(self._read, detect(self._section.head())):
                self._hash.update(piece)
                self._queue.put(piece)
                if self._stopped:
                    return
            self._queue.put(b"")
        except (OSError, ValueError) as error:
            self._queue.put(error)

    def _read(self, size: int) -> bytes:
        data = self._section.read(size)
        self._on_read(len(data))
        return data
