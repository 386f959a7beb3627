"""The verb attach: the stdio of a container's own process, through its monitor's socket.

The monitor sends packets whose first byte tells the stream (2 stdout, 3 stderr) and takes packets for stdin.
"""

import contextlib
import os
import socket
from typing import Literal

from pinnace.engine import interface, life, machine, monitor, records, stop
from pinnace.kernel import pidfd

STDERR = 3
# The monitor reads stdio in pieces of 8 KiB and puts one byte before each.
PACKET = 8192 + 64


async def attach(here: machine.Machine, container_id: str, *, stdin: bool) -> "AttachStreams":
    record = here.find(container_id)
    if record.status is not interface.ContainerStatus.RUNNING:
        raise interface.WrongStatus(f"container {record.spec.name} is not running", record.status)
    folder = os.open(here.bundle(record.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{folder}/attach")
    except OSError as error:
        connection.close()
        raise interface.EngineError(f"cannot attach to container {record.spec.name}: {error.strerror}") from error
    finally:
        os.close(folder)
    return AttachStreams(here, record, connection, stdin=stdin and record.spec.stdin)


class AttachStreams:
    """Implements `interface.Streams`."""

    def __init__(
        self, here: machine.Machine, record: records.ContainerRecord, connection: socket.socket, *, stdin: bool
    ) -> None:
        self._here = here
        self._record = record
        self._connection = connection
        self._takes_input = stdin
        self._closed = False

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        while not self._closed:
            try:
                packet = self._connection.recv(PACKET)
            except BlockingIOError:
                await pidfd.wait_readable(self._connection.fileno())
                continue
            except OSError:
                return None
            if not packet:
                return None
            is_stderr = packet[0] == STDERR and not self._record.spec.tty
            return ("stderr" if is_stderr else "stdout"), packet[1:]
        return None

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._takes_input and not self._closed:
            try:
                sent = self._connection.send(view[:8192])
            except BlockingIOError:
                await pidfd.wait_writable(self._connection.fileno())
                continue
            except OSError:
                return
            view = view[sent:]

    async def close_stdin(self) -> None:
        if self._takes_input and not self._closed:
            self._takes_input = False
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    async def resize(self, width: int, height: int) -> None:
        if self._record.spec.tty:
            await monitor.control(life.places(self._here, self._record), monitor.RESIZE, height, width)

    async def wait(self) -> int:
        return (await stop.wait(self._here, self._record.id)).exit_code

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.close()
