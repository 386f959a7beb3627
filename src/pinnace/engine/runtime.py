"""Calls of the OCI runtime, `crun`, after the monitor created a container."""

import asyncio
import logging
import os
import pathlib

from pinnace.engine import interface, monitor
from pinnace.kernel import paths, process

log = logging.getLogger(__name__)

TIMEOUT = 60.0


def argv(root: pathlib.Path, *arguments: str) -> tuple[str, ...]:
    return (monitor.RUNTIME, f"--root={root}", "--cgroup-manager=cgroupfs", *arguments)


async def start(root: pathlib.Path, container_id: str) -> None:
    """Let the created process go on to its program. Raises StartError.

    It waits for a byte on the fifo of the runtime's state folder; no container of ours has hooks, so that writing the byte is all
    that `crun start` would do (libcrun_status_write_exec_fifo), at a tenth of the time. Where it is not as expected, the runtime
    is asked, if only for its words.
    """
    if not _release(root / container_id / "exec.fifo"):
        await _ask_to_start(root, container_id)


def _release(fifo: pathlib.Path) -> bool:
    """False when nobody waits there."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Without the fifo the runtime takes the container for started: first, since the byte cannot be taken back.
        fifo.unlink()
        os.write(descriptor, b"\0")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def waits(root: pathlib.Path, container_id: str) -> bool:
    """Is the container made, but not let go on to its program?"""
    return (root / container_id / "exec.fifo").exists()


def is_runtime(pid: int, container_id: str) -> bool:
    """Is this process still the runtime itself, about to become the container's program?"""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0] == monitor.RUNTIME.encode() and container_id.encode() in words


async def _ask_to_start(root: pathlib.Path, container_id: str) -> None:
    result = await _run(root, "start", container_id)
    if result.code:
        raise monitor.start_error(result.message)


async def delete(root: pathlib.Path, container_id: str) -> None:
    """Forget the container, killing what is left of it; quiet when the runtime does not know it. Raises EngineError, OSError.

    The caller has ended the processes of its cgroup. Then all that is left is files, and where an end in the middle of making or
    deleting them left too few for the runtime to understand, they go without it.
    """
    if not (root / container_id).exists():
        return
    result = await _run(root, "delete", "--force", container_id)
    if result.code and (root / container_id).exists():
        log.warning("the runtime could not delete container %s: %s", container_id[:12], result.message)
        await asyncio.to_thread(paths.remove_tree, root / container_id)


async def _run(root: pathlib.Path, *arguments: str) -> process.Completed:
    try:
        return await process.run(argv(root, *arguments), timeout=TIMEOUT, output_limit=1 << 16)
    except process.ProcessError as error:
        raise interface.StartError(str(error)) from error
