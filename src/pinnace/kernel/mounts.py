"""Mounts: made, moved, listed, undone. Callers give absolute paths that they own; nothing here follows a container's symlink
(trees that a container controls are walked by `kernel.paths`)."""

import contextlib
import ctypes
import dataclasses
import errno
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Literal

from pinnace.kernel import libc

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

Propagation = Literal["private", "slave", "shared"]
_PROPAGATION = {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED}
# The kernel copies at most one page of mount options.
MAXIMUM_OPTIONS = 4000


@dataclasses.dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo (proc(5))."""

    id: int
    parent: int
    root: str
    target: str
    filesystem: str
    source: str
    options: str
    super_options: str
    is_shared: bool


def mount(source: str, target: pathlib.Path, filesystem: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    libc.call(
        "mount", libc.encode(source), libc.encode(target), filesystem.encode(), ctypes.c_ulong(flags),
        options.encode("utf-8", "surrogateescape"), what=str(target),
    )  # fmt: skip


def unmount(target: pathlib.Path, *, detach: bool = True) -> bool:
    """False when nothing is mounted there. `detach`: also while it is used (MNT_DETACH)."""
    try:
        libc.call(
            "umount2",
            libc.encode(target),
            ctypes.c_int(UMOUNT_NOFOLLOW | (MNT_DETACH if detach else 0)),
            what=str(target),
        )
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise
    return True


def bind(source: pathlib.Path, target: pathlib.Path, *, read_only: bool = False, recursive: bool = False) -> None:
    mount(str(source), target, flags=MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def set_propagation(target: pathlib.Path, propagation: Propagation, *, recursive: bool = False) -> None:
    mount("", target, flags=_PROPAGATION[propagation] | (MS_REC if recursive else 0))


def mount_tmpfs(
    target: pathlib.Path, size: int | None = None, mode: int = 0o755, flags: int = MS_NOSUID | MS_NODEV
) -> None:
    """`size` in bytes; None: the kernel's default (half of the memory)."""
    options = [f"mode={mode:o}"] + ([f"size={size}"] if size is not None else [])
    mount("tmpfs", target, "tmpfs", flags, ",".join(options))


def mount_overlay(
    target: pathlib.Path,
    lower: Sequence[pathlib.Path],
    upper: pathlib.Path | None = None,
    work: pathlib.Path | None = None,
    *,
    extra: str = "",
    flags: int = 0,
) -> None:
    """`lower` from the uppermost layer down; without `upper` and `work` read-only, and then at least two of them.

    However many there are: beyond one page of options they are named by descriptor.
    """
    written = f"upperdir={_escape(upper)},workdir={_escape(work)}," if upper is not None and work is not None else ""
    fixed = f"{written}index=off{extra and ','}{extra}"
    plain = f"lowerdir={':'.join(_escape(path) for path in lower)},{fixed}"
    if len(os.fsencode(plain)) < MAXIMUM_OPTIONS:
        mount("overlay", target, "overlay", flags, plain)
        return
    with contextlib.ExitStack() as stack:
        names = []
        for path in lower:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY)
            stack.callback(os.close, descriptor)
            names.append(f"/proc/self/fd/{descriptor}")
        mount("overlay", target, "overlay", flags, f"lowerdir={':'.join(names)},{fixed}")


def _escape(path: pathlib.Path) -> str:
    """overlayfs splits at commas and colons."""
    return re.sub(r"([\\:,])", r"\\\1", str(path))


def read_mounts() -> tuple[MountEntry, ...]:
    """The mounts of the calling thread's mount namespace, in the order in which they were made."""
    return tuple(parse_entry(line) for line in _mountinfo())


def _mountinfo() -> list[str]:
    return pathlib.Path("/proc/thread-self/mountinfo").read_text(errors="surrogateescape").rstrip("\n").split("\n")


def parse_entry(line: str) -> MountEntry:
    left, _, right = line.partition(" - ")
    number, parent, _, root, target, options, *optional = left.split(" ")
    filesystem, source, super_options = right.split(" ", 2)
    return MountEntry(
        int(number), int(parent), _unescape(root), _unescape(target), filesystem, _unescape(source), options, super_options,
        is_shared=any(field.startswith("shared:") for field in optional),
    )  # fmt: skip


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounts_below(path: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """What is mounted at `path` or below it, innermost first."""
    text = str(path)
    # One folder among hundreds of containers' mounts: the kernel writes these four characters otherwise, and few lines are left.
    marked = re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", text)
    entries = [parse_entry(line) for line in _mountinfo() if marked in line]
    found = [e.target for e in entries if e.target == text or e.target.startswith(text + "/")]
    return tuple(pathlib.Path(target) for target in reversed(found))


def unmount_tree(path: pathlib.Path) -> None:
    for target in mounts_below(path):
        unmount(target)


def is_mounted(path: pathlib.Path) -> bool:
    """Whether `path` itself (no symlink) is where something is mounted; False when it is not there.

    By the ids of the mounts that hold it and its parent: it takes as long however many mounts there are.
    """
    try:
        own = _mount_id(path, os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return path == path.parent or own != _mount_id(path.parent)


def _mount_id(path: pathlib.Path, flags: int = 0) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
    try:
        text = pathlib.Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    return int(text.partition("mnt_id:")[2].split(None, 1)[0])
