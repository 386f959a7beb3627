"""What concerns a whole file system."""

import ctypes
import os
import pathlib

from pinnace.kernel import libc


def sync_filesystem(path: pathlib.Path) -> None:
    """Write everything of the file system on which `path` lies to its disk (syncfs). Blocking, for seconds if need be."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.call("syncfs", ctypes.c_int(descriptor), what=str(path))
    finally:
        os.close(descriptor)
