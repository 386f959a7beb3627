"""A layer archive becomes a directory that overlayfs can use as one of its lower ones.

Whiteouts become what overlayfs reads as such (a 0:0 character device, the `trusted.overlay.opaque` attribute); owners, modes, times, hard
links, devices and the allowed extended attributes are kept. Nothing leads outside the directory: every path goes through
`kernel.paths`. Blocking: run it in a process of its own (`unpack_worker`).
"""

import dataclasses
import os
import pathlib
import posixpath
import stat

from pinnace.kernel import paths
from pinnace.oci import tar

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
AUFS_METADATA = ".wh..wh."
OPAQUE_ATTRIBUTE = {"trusted.overlay.opaque": b"y"}
MAXIMUM_ENTRIES = 5_000_000
# Stop before the disk is full for everybody else.
SPARE_BYTES = 128 << 20
SPARE_FILES = 10_000
CHECK_SPACE_EVERY = 64 << 20
# What an entry takes of the disk besides its content, about.
ENTRY_BYTES = 4096
# The directories' paths are held until the end; an image has some thousand of them, of a hundred bytes.
MAXIMUM_PATH_BYTES = 64 << 20


class UnpackError(ValueError):
    """The layer holds what cannot or must not be unpacked; names the entry."""


@dataclasses.dataclass(frozen=True, slots=True)
class Unpacked:
    size: int
    """Bytes of content."""
    entries: int


def unpack(stream: tar.Stream, destination: pathlib.Path) -> Unpacked:
    """Unpack one layer into an empty directory. Raises UnpackError, tar.TarError, OSError."""
    with paths.Tree(destination) as tree:
        return _Unpacker(tree).run(tar.Reader(stream))


def entry_path(name: str) -> str:
    """Relative, without `.` and `..`; "" for the root itself. Raises UnpackError for a path that climbs out."""
    path = posixpath.normpath(name.lstrip("/") or ".")
    if path == "..":
        raise UnpackError(f"{name[:200]!r} lies outside of the layer")
    if path.startswith("../"):
        raise UnpackError(f"{name[:200]!r} lies outside of the layer")
    return "" if path == "." else path


def is_allowed_attribute(name: str) -> bool:
    """File capabilities and the user's own. `trusted.overlay.*` would let a layer redirect paths of overlayfs; ACLs and labels mean
    nothing on another machine."""
    return name == "security.capability" or (name.startswith("user.") and not name.startswith("user.overlay."))


class _Unpacker:
    def __init__(self, tree: paths.Tree) -> None:
        self._tree = tree
        self._times: dict[str, int] = {}
        """Directories' times are set at the end: every entry inside changes them."""
        self._path_bytes = 0
        self._size = 0
        self._written = 0
        self._checked = 0

    def run(self, reader: tar.Reader) -> Unpacked:
        entries = 0
        for entry in reader:
            entries += 1
            if entries > MAXIMUM_ENTRIES:
                raise UnpackError(f"more than {MAXIMUM_ENTRIES} entries")
            try:
                self._apply(entry, reader)
            except OSError as error:
                raise UnpackError(f"cannot unpack {entry.name[:200]!r}: {error.strerror or error}") from error
            self._written += ENTRY_BYTES + entry.size
            if self._written - self._checked > CHECK_SPACE_EVERY:
                self._check_space()
        for path in sorted(self._times, reverse=True):
            self._set_directory_time(path)
        return Unpacked(self._size, entries)

    def _apply(self, entry: tar.Entry, reader: tar.Reader) -> None:
        path = entry_path(entry.name)
        if not path:
            if entry.kind is tar.Kind.DIRECTORY:
                self._set_root(entry)
            return
        folder, _, name = path.rpartition("/")
        if name.startswith(WHITEOUT):
            self._whiteout(folder, name)
            return
        match entry.kind:
            case tar.Kind.FILE:
                self._file(path, entry, reader)
            case tar.Kind.DIRECTORY:
                self._directory(path, entry)
            case tar.Kind.HARD_LINK:
                self._tree.link(entry_path(entry.link), path)
            case tar.Kind.SYMLINK:
                self._tree.symlink(entry.link, path)
                self._finish_node(path, entry)
            case tar.Kind.FIFO:
                self._tree.make_node(path, stat.S_IFIFO | 0o600, 0)
                self._finish_node(path, entry)
            case tar.Kind.CHARACTER | tar.Kind.BLOCK:
                self._device(path, entry)

    def _file(self, path: str, entry: tar.Entry, reader: tar.Reader) -> None:
        descriptor = self._tree.create_file(path, 0o600)
        try:
            unchecked = 0
            for piece in reader.content():
                unchecked += len(piece)
                if unchecked > CHECK_SPACE_EVERY:
                    unchecked = 0
                    self._check_space()
                while piece:
                    piece = piece[os.write(descriptor, piece) :]
            # chown drops set-user-id bits and capabilities: it comes first.
            os.fchown(descriptor, entry.uid, entry.gid)
            for name, value in entry.attributes.items():
                if is_allowed_attribute(name):
                    os.setxattr(descriptor, name, value)
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)
        self._size += entry.size

    def _directory(self, path: str, entry: tar.Entry) -> None:
        hides_lower = self._is_whiteout(path)
        self._tree.make_directory(path, 0o700)
        attributes = {name: value for name, value in entry.attributes.items() if is_allowed_attribute(name)}
        if hides_lower:
            attributes |= OPAQUE_ATTRIBUTE
        self._tree.set_owner(path, entry.uid, entry.gid)
        self._tree.set_attributes(path, attributes)
        self._tree.set_mode(path, entry.mode)
        if path not in self._times:
            self._path_bytes += len(path)
            if self._path_bytes > MAXIMUM_PATH_BYTES:
                raise UnpackError(f"paths of directories of more than {MAXIMUM_PATH_BYTES} bytes together")
        self._times[path] = entry.mtime_ns

    def _device(self, path: str, entry: tar.Entry) -> None:
        kind = stat.S_IFCHR if entry.kind is tar.Kind.CHARACTER else stat.S_IFBLK
        major, minor = entry.device
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise UnpackError(f"{entry.name[:200]!r} has the impossible device number {major}:{minor}")
        if kind == stat.S_IFCHR and (major, minor) == (0, 0):
            raise UnpackError(f"{entry.name[:200]!r} is a 0:0 device, which only a whiteout may become")
        self._tree.make_node(path, kind | 0o600, os.makedev(major, minor))
        self._finish_node(path, entry)

    def _finish_node(self, path: str, entry: tar.Entry) -> None:
        self._tree.set_owner(path, entry.uid, entry.gid)
        if entry.kind is not tar.Kind.SYMLINK:
            self._tree.set_mode(path, entry.mode)
        self._tree.set_times(path, entry.mtime_ns, entry.mtime_ns)

    def _set_root(self, entry: tar.Entry) -> None:
        os.fchown(self._tree.root, entry.uid, entry.gid)
        os.fchmod(self._tree.root, entry.mode)
        self._times[""] = entry.mtime_ns

    def _set_directory_time(self, path: str) -> None:
        moment = self._times[path]
        if not path:
            os.utime(self._tree.root, ns=(moment, moment))
            return
        try:
            self._tree.set_times(path, moment, moment)
        except FileNotFoundError:
            return  # a later entry replaced it

    def _whiteout(self, folder: str, name: str) -> None:
        if name == OPAQUE:
            if folder:
                self._tree.make_directories(folder)
                self._tree.set_attributes(folder, OPAQUE_ATTRIBUTE)
            return
        if name.startswith(AUFS_METADATA):
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise UnpackError(f"malformed whiteout {name!r}")
        path = f"{folder}/{hidden}" if folder else hidden
        # A whiteout hides what lower layers have; what this layer itself brings stays.
        try:
            own = self._tree.lstat(path)
        except FileNotFoundError:
            self._tree.make_node(path, stat.S_IFCHR, os.makedev(0, 0))
            return
        if stat.S_ISDIR(own.st_mode):
            self._tree.set_attributes(path, OPAQUE_ATTRIBUTE)

    def _is_whiteout(self, path: str) -> bool:
        try:
            entry = self._tree.lstat(path)
        except FileNotFoundError:
            return False
        return stat.S_ISCHR(entry.st_mode) and entry.st_rdev == 0

    def _check_space(self) -> None:
        self._checked = self._written
        figures = os.fstatvfs(self._tree.root)
        if figures.f_bavail * figures.f_frsize < SPARE_BYTES:
            raise UnpackError("no space left on the disk")
        # File systems that make them as they go say 0 of 0.
        if figures.f_files and figures.f_favail < SPARE_FILES:
            raise UnpackError("no inodes left on the disk")
