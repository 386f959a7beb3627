"""Faults at every change that a piece of code makes to the machine: its end by SIGKILL, an error, a full disk, a cancellation.

A child process runs the code with an audit hook (PEP 578) that counts the calls that change something (files made, renamed and
removed, programs started) and the C library's (mounts, namespaces), and at the chosen one, before it happens, brings the fault.
What Python does not audit (writes into open descriptors) lies between two points. The caller must be single-threaded when it
forks; the child is its own and may do what it likes to its interpreter.
"""

import asyncio
import enum
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from pinnace.kernel import libc

CHANGES = frozenset({
    "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "os.chmod", "os.chown", "os.posix_spawn",
    "subprocess.Popen",
})  # fmt: skip
GROWS = frozenset({"os.mkdir", "open"})
"""What a full disk refuses. Renaming over and removing work on it."""
WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MAXIMUM_POINTS = 2000


class Fault(enum.Enum):
    KILL = "kill"
    ERROR = "error"
    """This one call fails."""
    FULL = "full"
    """From this call on nothing can be written to a disk, until the piece of code has ended."""
    CANCEL = "cancel"
    """The task is cancelled; the call itself succeeds."""


class Points:
    """Counts, and strikes at number `at`. One for a process."""

    def __init__(self, fault: Fault, at: int) -> None:
        self.count = 0
        self.struck = ""
        """What the fault hit; "" while it has not."""
        self._fault = fault
        self._at = at
        self._is_on = False
        self._lock = threading.Lock()
        self._cancel: Callable[[], object] = lambda: None
        self._call = libc.call
        libc.call = self._libc_call
        sys.addaudithook(self._audit)

    async def run(self, work: Awaitable[None]) -> None:
        """Await `work` with the fault. Raises what `work` raises."""
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        self._is_on = True
        try:
            await task
        finally:
            self._is_on = False

    def _libc_call(self, name: str, *arguments: Any, what: str = "") -> int:
        self._reach(f"{name} {what}")
        return self._call(name, *arguments, what=what)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_on:
            return
        if event == "open":
            if isinstance(arguments[2], int) and arguments[2] & WRITE and not str(arguments[0]).startswith("/dev/"):
                self._reach(f"open {arguments[0]}")
        elif event in CHANGES:
            self._reach(f"{event} {arguments[0]}")

    def _reach(self, what: str) -> None:
        if not self._is_on:
            return
        with self._lock:
            self.count += 1
            is_now = self.count == self._at
            if is_now:
                self.struck = what
        if is_now and self._fault is Fault.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif is_now and self._fault is Fault.CANCEL:
            self._cancel()
        elif is_now and self._fault is Fault.ERROR:
            raise OSError(errno.EIO, os.strerror(errno.EIO), what)
        elif self.struck and self._fault is Fault.FULL and what.partition(" ")[0] in GROWS and "/sys/" not in what:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), what)


def in_child(work: Callable[[], None]) -> tuple[int, str]:
    """Run `work` in a forked child. Returns its exit code (128+n for signal n, 1 for an exception) and the exception's text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            os.close(read)
            work()
        except BaseException:
            code = 1
            os.write(write, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(code)
    os.close(write)
    with open(read, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return (128 - status if status < 0 else status), text
