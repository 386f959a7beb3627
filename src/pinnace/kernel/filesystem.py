"""What concerns whole file systems and trees of files."""

import ctypes
import os
import pathlib
import stat

from pinnace.kernel import libc


def sync_filesystem(path: pathlib.Path) -> None:
    """Write everything of the file system on which `path` lies to its disk (syncfs). Blocking, for seconds if need be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.call("syncfs", ctypes.c_int(descriptor), what=str(path))
    finally:
        os.close(descriptor)


NESTED_CHARACTERS = 2000
NESTINGS = 32
UNCOUNTABLE = 1 << 60


def disk_usage(folder: str | os.PathLike[str]) -> int:
    """Bytes of disk below `folder`, hard links counted once; links and other mounts' roots are looked at, not into. What vanishes
    meanwhile does not count; what is nested deeper than any path reaches does, and a tree that nobody could look through to its
    end counts as more than any disk holds. Blocking."""
    return _disk_usage(os.fspath(folder), set(), 0)


def _disk_usage(folder: str, seen: set[tuple[int, int]], nesting: int) -> int:
    total = 0
    pending = [folder]
    while pending:
        place = pending.pop()
        if len(place) - len(folder) > NESTED_CHARACTERS:
            total += _deeper(place, seen, nesting + 1)
            continue
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    is_folder = stat.S_ISDIR(status.st_mode)
                    if status.st_nlink > 1 and not is_folder:
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
                    if is_folder:
                        pending.append(entry.path)
        except OSError:
            continue
    return total


def _deeper(place: str, seen: set[tuple[int, int]], nesting: int) -> int:
    """A path is at most 4096 bytes long, a tree may be deeper: what lies there begins a path of its own."""
    if nesting > NESTINGS:
        return UNCOUNTABLE
    try:
        descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return _disk_usage(f"/proc/self/fd/{descriptor}", seen, nesting)
    finally:
        os.close(descriptor)
