"""Waiting for processes that are not our children, and signalling them without hitting a reused number."""

import asyncio
import os
import select
import signal


def open_pidfd(pid: int) -> int | None:
    """A descriptor that names the process for good; None when there is none of that number."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def is_dead(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send_signal(pidfd: int, number: int) -> bool:
    """False when the process is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


async def wait_dead(pidfd: int) -> None:
    """Returns once the process has ended (it may still be a zombie). Does not close `pidfd`."""
    await wait_readable(pidfd)


async def wait_readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        loop.remove_reader(descriptor)
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(descriptor, ready)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)


async def wait_writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        loop.remove_writer(descriptor)
        if not writable.done():
            writable.set_result(None)

    loop.add_writer(descriptor, ready)
    try:
        await writable
    finally:
        loop.remove_writer(descriptor)
