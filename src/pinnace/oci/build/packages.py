"""Reading Debian packages: an `ar` archive with two tar archives in it. Nothing is unpacked, no maintainer script runs. Blocking."""

import contextlib
import dataclasses
import lzma
import os
import pathlib
from collections.abc import Callable, Iterator

from pinnace.oci import compression, tar

_MAGIC = b"!<arch>\n"
_HEADER = 60
_MAXIMUM_CONTROL = 1 << 20


class PackageError(ValueError):
    """The file is no Debian package, or a damaged one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    name: str
    offset: int
    length: int
    time: int
    """Seconds since 1970: when the package was made."""


def members(path: pathlib.Path) -> dict[str, Member]:
    """The parts of a .deb by name: `debian-binary`, `control.tar.xz`, `data.tar.xz`. Raises PackageError."""
    found = {}
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise PackageError(f"{path.name} is not a Debian package")
        while header := file.read(_HEADER):
            member = _member(path, header, file.tell())
            if member.offset + member.length > size:
                raise PackageError(f"{path.name} is cut short")
            found[member.name] = member
            file.seek(member.offset + member.length + member.length % 2)
    return found


def _member(path: pathlib.Path, header: bytes, offset: int) -> Member:
    try:
        if len(header) != _HEADER or header[58:] != b"`\n":
            raise ValueError
        name = header[:16].decode().rstrip(" /")
        return Member(name, offset, int(header[48:58]), int(header[16:28] or b"0"))
    except ValueError:
        raise PackageError(f"{path.name} has a damaged header") from None


@contextlib.contextmanager
def reader(path: pathlib.Path, part: str) -> Iterator[tar.Reader]:
    """The tar archive `part` (`data` or `control`) of a package. Raises PackageError, tar.TarError."""
    parts = members(path)
    member = next((item for name, item in parts.items() if name.startswith(f"{part}.tar")), None)
    if member is None:
        raise PackageError(f"{path.name} has no {part} archive")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        section = compression.Section(descriptor, member.offset, member.length)
        pieces = _plain(section, member.name)
        yield tar.Reader(tar.Stream(lambda: next(pieces, b"")))
    finally:
        os.close(descriptor)


def time_of(path: pathlib.Path) -> int:
    """When the package was made, in seconds since 1970."""
    return max(member.time for member in members(path).values())


def control(path: pathlib.Path) -> bytes:
    """The control file: name, version, maintainer, dependencies. Raises PackageError, tar.TarError."""
    with reader(path, "control") as archive:
        for entry in archive:
            if entry.name.removeprefix("./") == "control":
                return archive.read(_MAXIMUM_CONTROL)
    raise PackageError(f"{path.name} has no control file")


def _plain(section: compression.Section, name: str) -> Iterator[bytes]:
    if name.endswith(".xz"):
        return _unxz(section.read, name)
    return compression.decompressed(section.read, compression.detect(section.head()))


def _unxz(read: Callable[[int], bytes], name: str) -> Iterator[bytes]:
    engine = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    while not engine.eof:
        data = read(compression.PIECE) if engine.needs_input else b""
        if engine.needs_input and not data:
            raise PackageError(f"{name} is cut short")
        try:
            piece = engine.decompress(data, compression.PIECE * 4)
        except lzma.LZMAError as error:
            raise PackageError(f"{name} is damaged: {error}") from error
        if piece:
            yield piece
