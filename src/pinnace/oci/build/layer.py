"""Writing layers: the same input gives the same bytes, on every machine. Blocking.

The layout is Debian's merged /usr: what packages ship in /bin, /lib or /sbin goes below /usr, and the old names are links.
"""

import dataclasses
import hashlib
import os
import pathlib
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from pinnace.oci import tar
from pinnace.oci.build import packages, specification

MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")

# Documentation and translations: most of what a package weighs, and of no use inside of a container. Licences stay.
_LEFT_OUT = (
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "usr/share/bug/",
    "usr/share/doc-base/",
    "usr/share/menu/",
)
_LICENCE = "/copyright"

_ROOT_ACCOUNT = "root:x:0:0:root:/root:/bin/sh\n"
_ROOT_GROUP = "root:x:0:\n"

_TYPES = {
    tar.Kind.FILE: tarfile.REGTYPE,
    tar.Kind.HARD_LINK: tarfile.LNKTYPE,
    tar.Kind.SYMLINK: tarfile.SYMTYPE,
    tar.Kind.CHARACTER: tarfile.CHRTYPE,
    tar.Kind.BLOCK: tarfile.BLKTYPE,
    tar.Kind.DIRECTORY: tarfile.DIRTYPE,
    tar.Kind.FIFO: tarfile.FIFOTYPE,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    path: pathlib.Path
    diff_id: str
    size: int
    created: int
    """Time of the newest package in it, in seconds since 1970; 0 when there is none."""


class Writer:
    """A tar archive that is hashed while it is written; each path is written once, the first time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._seen: set[str] = set()
        self.size = 0

    def add(self, entry: tar.Entry, content: Iterable[bytes | memoryview] = ()) -> bool:
        """Write `entry` with its content; False when its path is there already."""
        if entry.name in self._seen:
            return False
        self._seen.add(entry.name)
        info = tarfile.TarInfo(entry.name)
        info.type = _TYPES[entry.kind]
        info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
        info.size, info.linkname = entry.size, entry.link
        info.mtime = entry.mtime_ns // tar.SECOND
        info.devmajor, info.devminor = entry.device
        self._write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        for piece in content:
            self._write(piece)
        self._write(bytes(-entry.size % tar.BLOCK))
        return True

    def finish(self) -> str:
        """Write the end; returns the diff id."""
        self._write(bytes(2 * tar.BLOCK))
        return f"sha256:{self._digest.hexdigest()}"

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


def write_packages(target: pathlib.Path, found: Sequence[pathlib.Path], *, with_skeleton: bool) -> Layer:
    """A layer with the files of packages, in their order. `with_skeleton` adds what the lowest layer needs."""
    with target.open("wb") as file:
        writer = Writer(file)
        if with_skeleton:
            for entry in _skeleton():
                writer.add(entry)
        for path in found:
            _add_package(writer, path)
        diff_id = writer.finish()
    return Layer(target, diff_id, writer.size, max(map(packages.time_of, found), default=0))


def _skeleton() -> Iterator[tar.Entry]:
    yield _directory("usr", 0o755)
    for name in MERGED:
        yield _directory(f"usr/{name}", 0o755)
        yield tar.Entry(name, tar.Kind.SYMLINK, mode=0o777, link=f"usr/{name}")
    for name, mode in (("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("run", 0o755), ("tmp", 0o1777)):
        yield _directory(name, mode)


def _directory(name: str, mode: int, owner: int = 0, group: int = 0) -> tar.Entry:
    return tar.Entry(name, tar.Kind.DIRECTORY, mode=mode, uid=owner, gid=group)


def _add_package(writer: Writer, path: pathlib.Path) -> None:
    moved: dict[str, str] = {}
    with packages.reader(path, "data") as archive:
        for entry in archive:
            name = merged(entry.name)
            if not name or is_left_out(name):
                continue
            link = merged(entry.link) if entry.kind is tar.Kind.HARD_LINK else entry.link
            if entry.kind is tar.Kind.HARD_LINK and is_left_out(link):
                continue
            moved[name] = link
            writer.add(dataclasses.replace(entry, name=name, link=link, attributes={}), archive.content())
    described = packages.control(path)
    name = path.name.partition("_")[0]
    # Where scanners look for the packages of an image that has no dpkg database.
    writer.add(_directory("var/lib/dpkg", 0o755))
    writer.add(_directory("var/lib/dpkg/status.d", 0o755))
    writer.add(tar.Entry(f"var/lib/dpkg/status.d/{name}", tar.Kind.FILE, size=len(described)), [described])


def merged(path: str) -> str:
    """A package's path in the image, without slash at the ends: `./bin/sh` is `usr/bin/sh`. "" is the root.

    Raises PackageError for a path that leads out of the image.
    """
    name = posixpath.normpath(path.lstrip("/")).removeprefix("./")
    if name == ".":
        return ""
    first, _, _ = name.partition("/")
    if first == "..":
        raise packages.PackageError(f"package has the path {path!r}, which leads out of the image")
    return f"usr/{name}" if first in MERGED else name


def is_left_out(name: str) -> bool:
    return name.startswith(_LEFT_OUT) and not name.endswith(_LICENCE)


def write_additions(
    target: pathlib.Path, wanted: specification.Specification, folder: pathlib.Path, accounts: str
) -> Layer:
    """The topmost layer: accounts, directories, links and files of the specification. `accounts` is the base's passwd file."""
    with target.open("wb") as file:
        writer = Writer(file)
        _add_accounts(writer, wanted.users, accounts)
        for item in wanted.directories:
            _add_parents(writer, item.path)
            writer.add(_directory(_inside(item.path), item.mode, item.owner, item.group))
        for path, link in sorted(wanted.links.items()):
            _add_parents(writer, path)
            writer.add(tar.Entry(_inside(path), tar.Kind.SYMLINK, mode=0o777, link=link))
        for addition in wanted.add:
            _add_files(writer, addition, folder)
        diff_id = writer.finish()
    return Layer(target, diff_id, writer.size, 0)


def _inside(path: str) -> str:
    return merged(path)


def _add_parents(writer: Writer, path: str) -> None:
    """Folders above `path` that the packages may not have; those that they have keep their owner: the upper layer repeats root's 0755."""
    steps = _inside(path).split("/")[:-1]
    for depth in range(len(steps)):
        name = "/".join(steps[: depth + 1])
        if name not in _COMMON:
            writer.add(_directory(name, 0o755))


# Folders that every image has, some with other modes than 0755: never repeated in an upper layer.
_COMMON = frozenset(
    {"dev", "etc", "home", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var", "var/cache", "var/lib", "var/log",
     "var/tmp", *(f"usr/{name}" for name in (*MERGED, "share", "local", "local/bin"))}
)  # fmt: skip


def _add_accounts(writer: Writer, users: Sequence[specification.User], accounts: str) -> None:
    """passwd and group: Debian's own accounts and those of the image, each with a group of its own."""
    passwd, group = accounts.split("\0")
    for user in users:
        passwd += f"{user.name}:x:{user.uid}:{user.uid}::{user.home}:{user.shell}\n"
        group += f"{user.name}:x:{user.uid}:\n"
    for name, text in (("etc/passwd", passwd), ("etc/group", group)):
        data = text.encode()
        writer.add(tar.Entry(name, tar.Kind.FILE, mode=0o644, size=len(data)), [data])


def _add_files(writer: Writer, addition: specification.Addition, folder: pathlib.Path) -> None:
    source = folder / addition.source
    if not source.is_dir():
        _add_parents(writer, addition.target)
        _add_file(writer, source, _inside(addition.target), addition)
        return
    _add_parents(writer, addition.target.rstrip("/") + "/x")
    for path in sorted(source.rglob("*")):
        name = posixpath.join(_inside(addition.target), path.relative_to(source).as_posix())
        if "__pycache__" in path.parts:
            continue
        if path.is_symlink():
            writer.add(tar.Entry(name, tar.Kind.SYMLINK, mode=0o777, link=os.readlink(path)))
        elif path.is_dir():
            writer.add(_directory(name, 0o755, addition.owner, addition.group))
        else:
            _add_file(writer, path, name, addition)


def _add_file(writer: Writer, source: pathlib.Path, name: str, addition: specification.Addition) -> None:
    with source.open("rb") as file:
        found = os.fstat(file.fileno())
        mode = addition.mode
        if mode is None:
            mode = 0o755 if stat.S_IMODE(found.st_mode) & stat.S_IXUSR else 0o644
        data = file.read()
    entry = tar.Entry(name, tar.Kind.FILE, mode=mode, uid=addition.owner, gid=addition.group, size=len(data))
    writer.add(entry, [data])


def accounts_of(found: Sequence[pathlib.Path]) -> str:
    """Debian's own passwd and group files from base-passwd, joined by NUL; root alone where that package is missing."""
    wanted = {"usr/share/base-passwd/passwd.master": "", "usr/share/base-passwd/group.master": ""}
    for path in found:
        if not path.name.startswith("base-passwd_"):
            continue
        with packages.reader(path, "data") as archive:
            for entry in archive:
                name = merged(entry.name)
                if name in wanted:
                    wanted[name] = archive.read(1 << 16).decode().replace(":*:", ":x:")
    passwd, group = wanted.values()
    return "\0".join((passwd or _ROOT_ACCOUNT, group or _ROOT_GROUP))
