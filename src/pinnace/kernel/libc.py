"""The C library, for the few calls that the standard library does not have. The only module that loads it."""

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(name: str, *arguments: Any, what: str = "") -> int:
    """Call the C function `name`; a result of -1 becomes the OSError that `errno` names. `what`: the object, for the message."""
    return _checked(getattr(_libc, name)(*arguments), what or name)


def syscall(number: int, *arguments: Any, what: str = "") -> int:
    """The system call itself, for those without a wrapper. Integers must be wrapped (`ctypes.c_int`) by the caller."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments), what or f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), what)
    return result


def encode(path: str | os.PathLike[str]) -> bytes:
    return os.fsencode(path)
