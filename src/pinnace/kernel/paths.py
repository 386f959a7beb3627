"""All path work on trees that a container or an image controls.

Every path is resolved by the kernel inside the tree (openat2 with RESOLVE_IN_ROOT: `..` and absolute symlinks stop at the tree's
root, as in a chroot) and the last step is taken by name in the directory that was reached, never following a symlink. So no
entry of the tree, however it changes meanwhile, leads outside.

Paths are relative or absolute, both meaning "from the tree's root". Names that are not UTF-8 come as surrogate escapes.
"""

import collections
import contextlib
import ctypes
import errno
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Mapping

from pinnace.kernel import libc

OPENAT2 = 437  # the same number on every architecture
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
# Directories that stay open while a tree is written: sequences of files in one directory resolve it once.
CACHED_DIRECTORIES = 64
MAXIMUM_PATH = 4096
MAXIMUM_DEPTH = 64
MAXIMUM_LINKS = 40


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_in_root(root: int, path: str, flags: int, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """A descriptor for `path` inside the tree whose directory descriptor is `root`; symlinks are followed inside. Raises OSError.

    `resolve`: RESOLVE_BENEATH refuses (EXDEV) what would lead outside instead of stopping at the root."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve | RESOLVE_NO_MAGICLINKS)
    for _ in range(100):
        try:
            return libc.syscall(
                OPENAT2, ctypes.c_int(root), libc.encode(path or "."), ctypes.byref(how),
                ctypes.c_size_t(ctypes.sizeof(how)), what=path,
            )  # fmt: skip
        except OSError as error:
            if error.errno != errno.EAGAIN:  # a rename raced with a `..` step; the kernel asks to try again
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def split(path: str) -> tuple[str, str]:
    """Folder and last name, without `.`, doubled and trailing slashes. Raises ValueError where the last name is missing or `..`."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or parts[-1] == ".." or "\0" in path or len(path) > MAXIMUM_PATH:
        raise ValueError(f"not the path of an entry: {path[:200]!r}")
    return "/".join(parts[:-1]), parts[-1]


class Tree:
    """A directory tree, worked on from its root. Not for two threads at once. Use as a context manager."""

    def __init__(self, root: pathlib.Path) -> None:
        self.path = root
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: collections.OrderedDict[str, int] = collections.OrderedDict()

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.forget()
        os.close(self.root)

    def forget(self) -> None:
        """Drop the directories kept open. Needed after a directory was removed or replaced."""
        while self._open:
            os.close(self._open.popitem()[1])

    # -------------------------------------------------------------- reading

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
        """Follows symlinks inside the tree. The caller closes it. Raises OSError."""
        return open_in_root(self.root, path, flags, mode)

    def open_beneath(self, path: str, flags: int = os.O_RDONLY) -> int:
        """As `open`, but a path or a symlink that points outside is refused (EXDEV) instead of being taken as one of the tree."""
        return open_in_root(self.root, path, flags, resolve=RESOLVE_BENEATH)

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """The content of a regular file (never of a device or fifo, which could block). Raises OSError, ValueError beyond `limit`."""
        descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"{path} is larger than {limit} bytes")
        return data

    def stat(self, path: str) -> os.stat_result:
        """Of what `path` leads to, symlinks followed inside the tree. Raises OSError."""
        descriptor = self.open(path, os.O_PATH)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)

    def lstat(self, path: str) -> os.stat_result:
        """Of the entry itself. Raises OSError."""
        folder, name = split(path)
        return os.stat(name, dir_fd=self._folder(folder), follow_symlinks=False)

    # -------------------------------------------------------------- writing

    def parent(self, path: str, *, make: bool = True) -> tuple[int, str]:
        """The directory of an entry (made, 0755, where it is missing) and the entry's name in it.

        The descriptor belongs to the tree and is good until the next call.
        """
        folder, name = split(path)
        return self._folder(folder, make=make), name

    def make_directory(self, path: str, mode: int = 0o755) -> bool:
        """False when a directory is there already. Anything else in its place is replaced."""
        folder, name = self.parent(path)
        try:
            os.mkdir(name, mode, dir_fd=folder)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return False
            self.remove(path)
            folder, name = self.parent(path)
            os.mkdir(name, mode, dir_fd=folder)
        return True

    def make_directories(self, path: str, mode: int = 0o755) -> None:
        """`path` and what is missing above it; symlinks on the way are followed inside the tree."""
        os.close(self._make_folder([part for part in path.split("/") if part not in ("", ".")], mode))

    def create_file(self, path: str, mode: int = 0o644, *, replace: bool = True) -> int:
        """A new, empty file open for writing; what was there by that name is replaced. The caller closes it."""
        folder, name = self.parent(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, mode, dir_fd=folder)
        except FileExistsError:
            if not replace:
                raise
            self.remove(path)
            folder, name = self.parent(path)
            return os.open(name, flags, mode, dir_fd=folder)

    def symlink(self, target: str, path: str) -> None:
        self._replacing(path, lambda folder, name: os.symlink(target, name, dir_fd=folder))

    def make_node(self, path: str, mode: int, device: int) -> None:
        self._replacing(path, lambda folder, name: os.mknod(name, mode, device, dir_fd=folder))

    def link(self, source: str, path: str) -> None:
        """A hard link to the entry `source` of the tree itself, a symlink not followed. Raises OSError (also for directories)."""
        source_folder, source_name = split(source)
        descriptor = os.dup(self._folder(source_folder))
        try:
            if stat.S_ISDIR(os.stat(source_name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                raise OSError(errno.EPERM, "hard link to a directory", source)

            def create(folder: int, name: str) -> None:
                os.link(source_name, name, src_dir_fd=descriptor, dst_dir_fd=folder, follow_symlinks=False)

            if split(path) != (source_folder, source_name):
                self._replacing(path, create)
        finally:
            os.close(descriptor)

    def set_owner(self, path: str, uid: int, gid: int) -> None:
        """Of the entry itself, a symlink not followed."""
        folder, name = self.parent(path, make=False)
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)

    def set_mode(self, path: str, mode: int) -> None:
        """Not for symlinks, which have none: the entry is checked not to be one."""
        with self._entry(path) as descriptor:
            if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
                os.chmod(f"/proc/self/fd/{descriptor}", mode)

    def set_times(self, path: str, access_ns: int, modified_ns: int) -> None:
        folder, name = self.parent(path, make=False)
        os.utime(name, ns=(access_ns, modified_ns), dir_fd=folder, follow_symlinks=False)

    def set_attributes(self, path: str, attributes: Mapping[str, bytes]) -> None:
        """Extended attributes of the entry itself. Raises OSError."""
        if not attributes:
            return
        with self._entry(path) as descriptor:
            for name, value in attributes.items():
                # No call sets one through O_PATH; the magic link leads to exactly the inode that is held open.
                os.setxattr(f"/proc/self/fd/{descriptor}", name, value)

    def remove(self, path: str) -> None:
        """The entry with everything below it; quiet when it is not there. Mounts below make it fail (EBUSY), never vanish."""
        try:
            folder, name = self.parent(path, make=False)
            entry = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(entry.st_mode):
            _remove_directory(folder, name)
        else:
            os.unlink(name, dir_fd=folder)
        if stat.S_ISDIR(entry.st_mode) or stat.S_ISLNK(entry.st_mode):
            self.forget()

    # -------------------------------------------------------------- inside

    def _folder(self, folder: str, *, make: bool = False) -> int:
        if not folder:
            return self.root
        descriptor = self._open.get(folder)
        if descriptor is not None:
            self._open.move_to_end(folder)
            return descriptor
        try:
            descriptor = self.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if not make:
                raise
            descriptor = self._make_folder(folder.split("/"), 0o755)
        if len(self._open) >= CACHED_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])
        self._open[folder] = descriptor
        return descriptor

    def _make_folder(self, parts: list[str], mode: int, links: int = 0) -> int:
        """Make the directories `parts` where missing, also where a symlink leads to one that is missing; returns the last, open."""
        descriptor = os.dup(self.root)
        try:
            for depth, name in enumerate(parts, 1):
                following = self._make_step(descriptor, parts[:depth], name, mode, links)
                os.close(descriptor)
                descriptor = following
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _make_step(self, folder: int, parts: list[str], name: str, mode: int, links: int) -> int:
        path = "/".join(parts)
        with contextlib.suppress(FileNotFoundError):
            return self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if name != "..":
                os.mkdir(name, mode, dir_fd=folder)
        except FileExistsError:
            if links >= MAXIMUM_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
            target = os.readlink(name, dir_fd=folder)
            steps = [part for part in target.split("/") if part not in ("", ".")]
            return self._make_folder(steps if target.startswith("/") else parts[:-1] + steps, mode, links + 1)
        return self.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def _replacing(self, path: str, create: Callable[[int, str], None]) -> None:
        folder, name = self.parent(path)
        try:
            create(folder, name)
        except FileExistsError:
            self.remove(path)
            create(*self.parent(path))

    @contextlib.contextmanager
    def _entry(self, path: str) -> Iterator[int]:
        folder, name = self.parent(path, make=False)
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def remove_tree(path: pathlib.Path) -> None:
    """The directory (or file) with everything below; quiet when it is not there. Follows no symlink, whatever changes meanwhile."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        try:
            os.unlink(path.name, dir_fd=folder)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):
            _remove_directory(folder, path.name)
    finally:
        os.close(folder)


def _remove_directory(folder: int, name: str) -> None:
    """Depth first, by descriptor, never into another mount (EXDEV). A tree deeper than `MAXIMUM_DEPTH` is flattened on the way, so
    that neither the stack nor the descriptors grow with what a container built."""
    stack = [_Opened(folder, name)]
    flattened = 0
    try:
        while stack:
            top = stack[-1]
            if not top.entries:
                stack.pop()
                top.close()
                with contextlib.suppress(FileNotFoundError):  # somebody else removes it too
                    os.rmdir(top.name, dir_fd=stack[-1].descriptor if stack else folder)
                continue
            entry = top.entries.pop()
            try:
                os.unlink(entry, dir_fd=top.descriptor)
            except FileNotFoundError:
                continue
            except (IsADirectoryError, PermissionError):
                if len(stack) < MAXIMUM_DEPTH:
                    with contextlib.suppress(FileNotFoundError):
                        stack.append(_Opened(top.descriptor, entry))
                    continue
                flattened += 1
                shallow = f".flattened-{flattened}"
                os.rename(entry, shallow, src_dir_fd=top.descriptor, dst_dir_fd=stack[0].descriptor)
                stack[0].entries.append(shallow)
    finally:
        for opened in stack:
            opened.close()


class _Opened:
    """A directory that is being emptied."""

    def __init__(self, folder: int, name: str) -> None:
        how = _OpenHow(
            os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS
        )
        self.name = name
        self.descriptor = libc.syscall(
            OPENAT2, ctypes.c_int(folder), libc.encode(name), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how)),
            what=name,
        )  # fmt: skip
        self.entries = os.listdir(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
