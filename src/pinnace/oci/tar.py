"""A reader of tar streams that trusts nothing: v7, ustar, pax and GNU headers, in one pass, in bounded memory.

It only tells what the archive says; what may be done with it is decided where it is used. Sparse members, multi-volume archives and
unknown member types are refused, not guessed.
"""

import dataclasses
import enum
import re
from collections.abc import Callable, Iterator, Mapping

BLOCK = 512
# Bounds on what one member may make us hold: names and attributes, never content.
MAXIMUM_PAX = 1 << 20
MAXIMUM_LONG_NAME = 1 << 16
# What the kernel takes for a path, and so more than any file that exists is called.
MAXIMUM_PATH = 4095
MAXIMUM_NUMBER = 1 << 62
MAXIMUM_OWNER = (1 << 32) - 1
SECOND = 1_000_000_000
# What ext4 can keep.
EARLIEST_TIME, LATEST_TIME = -(1 << 31) * SECOND, (1 << 33) * SECOND

# Of pax records only these mean something here; the others are read over and not kept.
_PAX_KEYS = frozenset({"path", "linkpath", "size", "uid", "gid", "mtime"})
_PAX_PREFIXES = ("SCHILY.xattr.", "GNU.sparse")

_PAX_NUMBER = re.compile(rb"-?\d{1,20}(\.\d{0,20})?")


class TarError(ValueError):
    """The stream is not a tar archive, is cut short, or holds what is refused."""


class Kind(enum.Enum):
    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER = b"3"
    BLOCK = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


_KINDS = {kind.value: kind for kind in Kind} | {b"\0": Kind.FILE, b"7": Kind.FILE}
_WITH_CONTENT = (Kind.FILE,)


@dataclasses.dataclass(slots=True)
class Entry:
    name: str
    """As written, undecodable bytes as surrogate escapes."""
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Of the content that follows; 0 for all but files."""
    mtime_ns: int = 0
    link: str = ""
    device: tuple[int, int] = (0, 0)
    attributes: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


class Stream:
    """Bytes on demand from a source of pieces. `fill()` returns the next piece, b"" at the end."""

    def __init__(self, fill: Callable[[], bytes]) -> None:
        self._fill = fill
        self._piece = memoryview(b"")
        self.position = 0

    def take(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer only at the end of the stream."""
        if len(self._piece) >= size:
            data = bytes(self._piece[:size])
            self._piece = self._piece[size:]
            self.position += size
            return data
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next `size` bytes in pieces, without copying; fewer only at the end of the stream."""
        while size:
            if not self._piece:
                self._piece = memoryview(self._fill())
                if not self._piece:
                    return
            part = self._piece[:size]
            self._piece = self._piece[len(part) :]
            size -= len(part)
            self.position += len(part)
            yield part

    def skip(self, size: int) -> int:
        return sum(len(part) for part in self.pieces(size))

    def drain(self) -> None:
        """To the end, so that a digest over the source covers all of it."""
        while self.skip(1 << 30):
            pass


class Reader:
    """Iterate over it for the entries; read an entry's content with `content()` before the next one is asked for."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> Iterator[memoryview]:
        """Raises TarError when the archive ends before the content does."""
        for piece in self._stream.pieces(self._left):
            self._left -= len(piece)
            yield piece
        if self._left:
            raise TarError("unexpected end of archive inside a member")

    def read(self, limit: int) -> bytes:
        """The content as bytes. Raises TarError when it is larger than `limit`."""
        if self._left > limit:
            raise TarError(f"member of {self._left} bytes where at most {limit} are expected")
        return b"".join(self.content())

    def skip_elsewhere(self) -> None:
        """The source itself skips the content of the present member with its padding (seekable archives)."""
        self._left = self._padding = 0

    def _next(self) -> Entry | None:
        pax: dict[str, bytes] = {}
        name = link = b""
        while True:
            header = self._header()
            if header is None:
                return None
            type_flag = header[156:157]
            if type_flag == b"x":
                # Each takes the place of the one before, as archive/tar has it: a thousand of them hold no more than one.
                pax = parse_pax(self._extension(header, MAXIMUM_PAX))
            elif type_flag == b"g":
                self._extension(header, MAXIMUM_PAX)
            elif type_flag == b"L":
                name = self._extension(header, MAXIMUM_LONG_NAME).rstrip(b"\0")
            elif type_flag == b"K":
                link = self._extension(header, MAXIMUM_LONG_NAME).rstrip(b"\0")
            else:
                entry = _entry(header, pax, name, link)
                self._left = entry.size
                self._padding = -entry.size % BLOCK
                return entry

    def _header(self) -> bytes | None:
        self._finish_member()
        header = self._stream.take(BLOCK)
        if not header or header == bytes(BLOCK):
            return None
        if len(header) < BLOCK:
            raise TarError("unexpected end of archive inside a header")
        _check_sum(header)
        return header

    def _finish_member(self) -> None:
        expected = self._left + self._padding
        skipped = self._stream.skip(expected) if expected else 0
        # The padding after the last member may be missing; content may not.
        if skipped < self._left:
            raise TarError("unexpected end of archive inside a member")
        self._left = self._padding = 0

    def _extension(self, header: bytes, limit: int) -> bytes:
        self._left = _number(header[124:136])
        self._padding = -self._left % BLOCK
        return self.read(limit)


def _entry(header: bytes, pax: Mapping[str, bytes], name: bytes, link: bytes) -> Entry:
    type_flag = header[156:157]
    if type_flag == b"S" or any(key.startswith("GNU.sparse") for key in pax):
        raise TarError("sparse members are not supported")
    kind = _KINDS.get(type_flag)
    if kind is None:
        raise TarError(f"member of unknown type {type_flag!r}")
    if not name:
        name = header[:100].partition(b"\0")[0]
        if header[257:263] == b"ustar\0" and header[345]:
            name = header[345:500].partition(b"\0")[0] + b"/" + name
    name = pax.get("path", name)
    link = pax.get("linkpath", link or header[157:257].partition(b"\0")[0])
    if b"\0" in name or b"\0" in link:
        raise TarError("a name holds a NUL byte")
    if max(len(name), len(link)) > MAXIMUM_PATH:
        raise TarError(
            f"a name of {max(len(name), len(link))} bytes, at most {MAXIMUM_PATH} are possible: {_text(name[:100])!r}"
        )
    if kind is Kind.FILE and name.endswith(b"/"):
        kind = Kind.DIRECTORY
    size = _pax_integer(pax, "size", header[124:136])
    if size < 0:
        raise TarError("a member of negative size")
    entry = Entry(
        name=_text(name),
        kind=kind,
        mode=_number(header[100:108]) & 0o7777,
        uid=_owner(pax, "uid", header[108:116]),
        gid=_owner(pax, "gid", header[116:124]),
        size=size if kind in _WITH_CONTENT else 0,
        mtime_ns=_time(pax, header[136:148]),
        link=_text(link),
    )
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        entry.device = (_number(header[329:337]), _number(header[337:345]))
    if pax:
        prefix = "SCHILY.xattr."
        entry.attributes = {key[len(prefix) :]: value for key, value in pax.items() if key.startswith(prefix)}
    return entry


def parse_pax(data: bytes) -> dict[str, bytes]:
    """Records `length key=value\\n` (POSIX pax), those that mean something here. Raises TarError."""
    records: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            raise TarError("malformed pax record")
        end = position + int(digits)
        if end <= space + 1 or end > len(data) or data[end - 1 : end] != b"\n":
            raise TarError("malformed pax record")
        key, separator, value = data[space + 1 : end - 1].partition(b"=")
        if not separator or not key:
            raise TarError("malformed pax record")
        name = _text(key)
        if name in _PAX_KEYS or name.startswith(_PAX_PREFIXES):
            records[name] = value
        position = end
    return records


def _number(field: bytes) -> int:
    """Octal text, or base 256 when the first bit is set. Raises TarError."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if abs(value) > MAXIMUM_NUMBER:
            raise TarError("a number in a header is too large")
        return value
    text = field.partition(b"\0")[0].strip()
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise TarError(f"malformed number in a header: {field!r}") from None


def _pax_integer(pax: Mapping[str, bytes], key: str, field: bytes) -> int:
    value = pax.get(key)
    if value is None:
        return _number(field)
    if not _PAX_NUMBER.fullmatch(value):
        raise TarError(f"malformed pax {key}: {value[:40]!r}")
    return int(value.partition(b".")[0])


def _owner(pax: Mapping[str, bytes], key: str, field: bytes) -> int:
    value = _pax_integer(pax, key, field)
    if not 0 <= value < MAXIMUM_OWNER:
        raise TarError(f"{key} {value} is out of range")
    return value


def _time(pax: Mapping[str, bytes], field: bytes) -> int:
    """Nanoseconds; moments that no file system can keep become the nearest that it can."""
    value = pax.get("mtime")
    if value is None:
        nanoseconds = _number(field) * SECOND
    elif _PAX_NUMBER.fullmatch(value):
        seconds, _, fraction = value.partition(b".")
        part = int(fraction[:9].ljust(9, b"0")) if fraction else 0
        nanoseconds = int(seconds) * SECOND + (-part if seconds.startswith(b"-") else part)
    else:
        raise TarError(f"malformed pax mtime: {value[:40]!r}")
    return max(EARLIEST_TIME, min(LATEST_TIME, nanoseconds))


def is_header(block: bytes) -> bool:
    """Whether an archive may begin with `block`: a member's header, or the end of an archive that holds nothing."""
    if len(block) < BLOCK or block == bytes(BLOCK):
        return len(block) == BLOCK
    try:
        _check_sum(block)
    except TarError:
        return False
    return True


def _check_sum(header: bytes) -> None:
    expected = _number(header[148:156])
    # The checksum's own field counts as spaces (8 * 32).
    if sum(header) - sum(header[148:156]) + 256 != expected:
        raise TarError("a header's checksum is wrong: not a tar archive, or a damaged one")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
