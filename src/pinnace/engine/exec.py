"""The verb exec: one more process in a running container, its stdio in the caller's hands."""

import asyncio
import contextlib
import fcntl
import json
import os
import pathlib
import secrets
import signal
import socket
import struct
import termios
from collections.abc import Sequence
from typing import Any, Literal

from pinnace.engine import interface, machine, monitor, records, runtime, runtime_spec, users
from pinnace.kernel import paths, pidfd, process
from pinnace.kit import files

# Pieces of output that wait for the caller before the process has to.
PIECES = 16
RUNTIME_FAILED = 255


async def execute(
    here: machine.Machine,
    container_id: str,
    command: Sequence[str],
    *,
    tty: bool,
    stdin: bool,
    environment: Sequence[tuple[str, str]],
    user: str,
    working_directory: str,
    privileged: bool,
) -> "ExecStreams":
    record = here.find(container_id)
    if record.status is not interface.ContainerStatus.RUNNING:
        raise interface.WrongStatus(f"container {record.spec.name} is not running", record.status)
    if not command:
        raise interface.EngineError("no command to execute")
    document = json.loads((here.bundle(record.id) / "config.json").read_bytes())["process"]
    document["args"], document["terminal"] = list(command), tty
    if user:
        _become(here, record, document, user)
    if working_directory:
        document["cwd"] = working_directory
    if privileged:
        everything = runtime_spec.capability_set(interface.Security(privileged=True), here.abilities.bounding)
        is_root = document["user"]["uid"] == 0
        document["capabilities"] = runtime_spec.capability_sets(everything, is_root=is_root)
    document["env"] = _merged(document["env"], environment, tty=tty)
    folder = here.bundle(record.id) / "exec" / secrets.token_hex(6)
    folder.mkdir(parents=True, mode=0o700)
    files.write_atomic(folder / "process.json", json.dumps(document).encode(), 0o600)
    session = ExecStreams(record, here.runtime_root, folder, tty=tty)
    await session.start(stdin=stdin)
    return session


def _merged(present: Sequence[str], added: Sequence[tuple[str, str]], *, tty: bool) -> list[str]:
    values = dict(pair.split("=", 1) for pair in present)
    if tty:
        values.setdefault("TERM", "xterm")
    values.update(added)
    return [f"{name}={value}" for name, value in values.items()]


def _become(here: machine.Machine, record: records.ContainerRecord, document: dict[str, Any], user: str) -> None:
    with paths.Tree(here.root_mount(record.id)) as tree:
        texts = []
        for path in ("etc/passwd", "etc/group"):
            try:
                texts.append(tree.read(path, 4 << 20).decode(errors="replace"))
            except (OSError, ValueError):
                texts.append("")
    try:
        identity = users.resolve(user, record.spec.security.supplemental_groups, texts[0], texts[1])
    except users.UnknownUser as error:
        raise interface.EngineError(str(error)) from error
    document["user"] = runtime_spec.user_object(identity)
    bounding = [name.removeprefix("CAP_") for name in document["capabilities"]["bounding"]]
    document["capabilities"] = runtime_spec.capability_sets(bounding, is_root=identity.uid == 0)
    names = [pair for pair in document["env"] if not pair.startswith("HOME=")]
    document["env"] = [*names, f"HOME={identity.home}"]


class ExecStreams:
    """Implements `interface.Streams` on pipes, or on the terminal that the runtime made."""

    def __init__(self, record: records.ContainerRecord, root: pathlib.Path, folder: pathlib.Path, *, tty: bool) -> None:
        self._record = record
        self._root = root
        self._folder = folder
        self._tty = tty
        self._child: process.Child | None = None
        self._input = -1
        self._terminal = -1
        self._queue: asyncio.Queue[tuple[Literal["stdout", "stderr"], bytes] | None] = asyncio.Queue(PIECES)
        self._ended = asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._complaint = b""
        self._closed = False

    async def start(self, *, stdin: bool) -> None:
        """Raises EngineError when the runtime itself cannot be started."""
        try:
            outputs = await (self._start_terminal() if self._tty else self._start_pipes(stdin))
        except process.ProcessError as error:
            raise interface.EngineError(str(error)) from error
        pumps = [asyncio.create_task(self._pump(descriptor, name)) for descriptor, name in outputs]
        self._tasks = [*pumps, asyncio.create_task(self._finish(pumps))]

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        piece = await self._queue.get()
        if piece is None:
            self._queue.put_nowait(None)
        return piece

    async def write(self, data: bytes) -> None:
        descriptor = self._terminal if self._tty else self._input
        if descriptor < 0:
            return
        try:
            await process.write_some(descriptor, data)
        except OSError:
            return  # the process has closed its stdin, or is gone

    async def close_stdin(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    async def resize(self, width: int, height: int) -> None:
        if self._terminal >= 0:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if not self._ended.is_set():
            self._kill()
        # Nobody reads any more: make room, so that the pumps can end.
        while not self._code.done():
            while not self._queue.empty():
                self._queue.get_nowait()
            await asyncio.wait({self._code}, timeout=0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.close_stdin()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        await asyncio.to_thread(paths.remove_tree, self._folder)

    # -------------------------------------------------------------- inside

    def _argv(self, *extra: str) -> tuple[str, ...]:
        return runtime.argv(
            self._root, "exec", f"--process={self._folder / 'process.json'}", f"--pid-file={self._folder / 'pid'}", *extra,
            self._record.id,
        )  # fmt: skip

    async def _start_pipes(self, stdin: bool) -> list[tuple[int, Literal["stdout", "stderr"]]]:
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        in_read = process.NULL
        if stdin:
            in_read, self._input = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._input, False)
        try:
            self._child = process.spawn(self._argv(), stdin=in_read, stdout=out_write, stderr=err_write)
        except process.ProcessError:
            os.close(out_read)
            os.close(err_read)
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
            if stdin:
                os.close(in_read)
        return [(out_read, "stdout"), (err_read, "stderr")]

    async def _start_terminal(self) -> list[tuple[int, Literal["stdout", "stderr"]]]:
        """The runtime makes the terminal and sends its master end through a socket."""
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            # Through the descriptor: a socket's own path may be no longer than 107 bytes.
            listener.bind(f"/proc/self/fd/{folder}/console")
            listener.listen(1)
            console = f"--console-socket=/proc/{os.getpid()}/fd/{folder}/console"
            self._child = process.spawn(self._argv(console), stderr=err_write)
            self._terminal = await self._receive_terminal(listener)
        finally:
            os.close(err_write)
            os.close(folder)
            listener.close()
        if self._terminal < 0:
            return [(err_read, "stderr")]
        os.set_blocking(self._terminal, False)
        return [(os.dup(self._terminal), "stdout"), (err_read, "stderr")]

    async def _receive_terminal(self, listener: socket.socket) -> int:
        """The master end; -1 when the runtime ended without sending one."""
        assert self._child is not None
        ended = asyncio.ensure_future(self._child.wait())
        connected = asyncio.ensure_future(pidfd.wait_readable(listener.fileno()))
        try:
            await asyncio.wait({ended, connected}, return_when=asyncio.FIRST_COMPLETED)
            if not connected.done():
                return -1
            connection, _ = listener.accept()
            with connection:
                connection.setblocking(False)
                received = asyncio.ensure_future(pidfd.wait_readable(connection.fileno()))
                await asyncio.wait({ended, received}, return_when=asyncio.FIRST_COMPLETED)
                received.cancel()
                with contextlib.suppress(BlockingIOError):
                    _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
                    return descriptors[0] if descriptors else -1
            return -1
        finally:
            ended.cancel()
            connected.cancel()

    async def _pump(self, descriptor: int, name: Literal["stdout", "stderr"]) -> None:
        os.set_blocking(descriptor, False)
        try:
            while True:
                try:
                    data = os.read(descriptor, process.READ_SIZE)
                except BlockingIOError:
                    # What the process wrote itself was there when it ended; what still comes is from children it left.
                    if self._ended.is_set():
                        return
                    await self._wait_readable_or_ended(descriptor)
                    continue
                except OSError:  # a terminal whose last user has gone
                    return
                if not data:
                    return
                if name == "stderr" or self._tty:
                    self._complaint = (self._complaint + data)[-4096:]
                await self._queue.put(("stdout" if self._tty else name, data))
        finally:
            os.close(descriptor)

    async def _wait_readable_or_ended(self, descriptor: int) -> None:
        readable = asyncio.ensure_future(pidfd.wait_readable(descriptor))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({readable, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            readable.cancel()
            ended.cancel()
            await asyncio.gather(readable, ended, return_exceptions=True)

    async def _finish(self, pumps: list[asyncio.Task[None]]) -> None:
        assert self._child is not None
        code = await self._child.wait()
        self._ended.set()
        is_started = (self._folder / "pid").exists()
        waiting = asyncio.gather(*pumps, return_exceptions=True)
        if code == RUNTIME_FAILED and not is_started:
            await waiting
            code = monitor.start_error(self._complaint.decode(errors="replace")).exit_code
        self._code.set_result(code)
        await waiting
        await self._queue.put(None)

    def _kill(self) -> None:
        """The process in the container, not only the runtime that waits for it."""
        assert self._child is not None
        for _ in range(2):
            try:
                pid = int((self._folder / "pid").read_text())
            except (OSError, ValueError):
                # Not started yet: without the runtime it never will be, unless it was at this very moment.
                self._child.kill()
                continue
            descriptor = pidfd.open_pidfd(pid)
            if descriptor is None:
                return
            try:
                if self._record.cgroup in pathlib.Path(f"/proc/{pid}/cgroup").read_text():
                    pidfd.send_signal(descriptor, signal.SIGKILL)
            except OSError:
                return
            finally:
                os.close(descriptor)
            return
