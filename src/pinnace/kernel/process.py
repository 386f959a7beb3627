"""The only door to child processes.

Children are started with `vfork` (a fork of a large Python process costs milliseconds), never through a shell, with an environment
that the caller names, and awaited through a pidfd: no thread, no SIGCHLD handler, any event loop.
"""

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from pinnace.kernel import pidfd

DEFAULT_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
READ_SIZE = 1 << 16
NULL = subprocess.DEVNULL
"""In the place of a descriptor: /dev/null."""


class ProcessError(Exception):
    """The program could not be started, or did not end in time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Completed:
    code: int
    """Exit code; 128+n for a death by signal n."""
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """What it complained about: stderr, else stdout, in one line."""
        return " ".join((self.stderr or self.stdout).decode(errors="replace").split())


class Child:
    """A running child. Its owner awaits `wait`, or kills it and awaits then."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.pid = process.pid
        self._pidfd = os.pidfd_open(process.pid)
        self._ended: asyncio.Future[int] | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """The exit code (128+n for signal n). Several callers may wait."""
        if self._ended is None:
            self._ended = asyncio.ensure_future(self._wait())
        return await asyncio.shield(self._ended)

    async def _wait(self) -> int:
        try:
            await pidfd.wait_dead(self._pidfd)
        finally:
            os.close(self._pidfd)
        code = self._process.wait()
        return 128 - code if code < 0 else code


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] = DEFAULT_ENVIRONMENT,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    pass_descriptors: Sequence[int] = (),
    directory: str | None = None,
    new_session: bool = False,
) -> Child:
    """Start a program; the descriptors stay the caller's to close. Raises ProcessError."""
    try:
        process = subprocess.Popen(
            list(argv), env=dict(environment), stdin=stdin, stdout=stdout, stderr=stderr, close_fds=True,
            pass_fds=tuple(pass_descriptors), cwd=directory, start_new_session=new_session,
        )  # fmt: skip
    except OSError as error:
        raise ProcessError(f"cannot start {argv[0]}: {error.strerror or error}") from error
    return Child(process)


async def run(
    argv: Sequence[str],
    *,
    data: bytes = b"",
    environment: Mapping[str, str] = DEFAULT_ENVIRONMENT,
    directory: str | None = None,
    timeout: float | None = None,
    output_limit: int = 16 << 20,
) -> Completed:
    """Run a program to its end, feeding `data`, keeping its output. Killed when cancelled or after `timeout` seconds.

    Output beyond `output_limit` bytes per stream is read and dropped. Raises ProcessError.
    """
    with contextlib.ExitStack() as stack:
        in_read, in_write = _pipe(stack)
        out_read, out_write = _pipe(stack)
        err_read, err_write = _pipe(stack)
        child = spawn(
            argv,
            environment=environment,
            stdin=in_read.fd,
            stdout=out_write.fd,
            stderr=err_write.fd,
            directory=directory,
        )
        for end in (in_read, out_write, err_write):
            end.close()
        reading = asyncio.gather(
            _write_all(in_write, data), read_all(out_read.fd, output_limit), read_all(err_read.fd, output_limit)
        )
        try:
            async with asyncio.timeout(timeout):
                code = await child.wait()
                _, stdout, stderr = await reading
        except TimeoutError:
            raise ProcessError(f"{argv[0]} did not end within {timeout} s") from None
        finally:
            child.kill()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await child.wait()
    return Completed(code, stdout, stderr)


@dataclasses.dataclass(slots=True)
class _End:
    fd: int

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _pipe(stack: contextlib.ExitStack) -> tuple[_End, _End]:
    read, write = (_End(fd) for fd in os.pipe2(os.O_CLOEXEC))
    stack.callback(read.close)
    stack.callback(write.close)
    return read, write


async def read_all(descriptor: int, limit: int) -> bytes:
    """Everything until the end of a pipe; bytes beyond `limit` are dropped."""
    os.set_blocking(descriptor, False)
    pieces: list[bytes] = []
    size = 0
    while piece := await read_some(descriptor):
        pieces.append(piece[: max(0, limit - size)])
        size += len(piece)
    return b"".join(pieces)


async def read_some(descriptor: int, size: int = READ_SIZE) -> bytes:
    """The next bytes of a non-blocking pipe or terminal; b"" at its end (a terminal's EIO counts as one)."""
    while True:
        try:
            return os.read(descriptor, size)
        except BlockingIOError:
            await pidfd.wait_readable(descriptor)
        except OSError:
            return b""


async def write_some(descriptor: int, data: bytes) -> None:
    """All of `data` into a non-blocking pipe or terminal. Raises BrokenPipeError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await pidfd.wait_writable(descriptor)


async def _write_all(end: _End, data: bytes) -> None:
    os.set_blocking(end.fd, False)
    with contextlib.suppress(BrokenPipeError):
        await write_some(end.fd, data)
    end.close()


def spawn_detached(argv: Sequence[str], *, name: str) -> tuple[int, int]:
    """Start a program that lives on its own, in a session of its own. `name` is what `ps` shows first.

    Returns its pid and the writing end of a pipe, its standard input, for the caller to close: what waits for a line there ends with a caller
    that is killed before it has done all that the program needs. Called in a thread whose namespaces the program is to have. Whoever
    runs when it ends collects it. Raises ProcessError.
    """
    reading, writing = os.pipe()
    try:
        with open(os.devnull, "r+b") as null:
            pid = os.posix_spawn(
                argv[0], [name, *argv[1:]], dict(DEFAULT_ENVIRONMENT), setsid=True,
                file_actions=[(os.POSIX_SPAWN_DUP2, source, fd) for fd, source in enumerate((reading, null.fileno(), null.fileno()))],
            )  # fmt: skip
    except OSError as error:
        os.close(writing)
        raise ProcessError(f"cannot start {argv[0]}: {error.strerror or error}") from error
    finally:
        os.close(reading)
    return pid, writing
