"""What every long-running process of ours does at its start and its end."""

import asyncio
import gc
import logging
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from pinnace.assemble import log_file
from pinnace.kernel import allocator

# The store's writer comes back from each commit to a loop that computes; it must not wait the usual 5 ms until the loop lets go, since
# clients wait for it. A switch costs some microseconds.
SWITCH_SECONDS = 0.0005
UMASK = 0o022
QUIET_SECONDS = 60.0
QUIET_SHARE = 0.05
"""Of one processor: below it nobody notices that memory is given back, and nobody is about to need it again."""
WORTH_GIVING_BACK = 8 << 20
LOG_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname).1s %(name)s: %(message)s"


def run(main: Callable[[], Coroutine[Any, Any, None]], log: pathlib.Path, level: str) -> None:
    """Run `main` on uvloop until it returns; it usually waits for `stop_requested()`. `log` is where standard error goes to."""
    # Not whatever the shell had that started us: containers of any user read what we write for them (/etc/hosts, config maps).
    os.umask(UMASK)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level.upper(),
        format=LOG_FORMAT,
        datefmt="%Y-%m-%dT%H:%M:%S",
        handlers=[log_file.LogFile(log)],
    )
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def stop_requested() -> None:
    """Returns at the first SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()


async def keep_memory_small() -> None:
    """For ever: what a busy time has left is given back in the first quiet minute after it."""
    settled, busy = _resident(), time.process_time()
    while True:
        await asyncio.sleep(QUIET_SECONDS)
        before, busy = busy, time.process_time()
        is_quiet = busy - before < QUIET_SECONDS * QUIET_SHARE
        if is_quiet and _resident() > settled + WORTH_GIVING_BACK:
            await asyncio.to_thread(allocator.give_back)
            settled = _resident()


def _resident() -> int:
    """Bytes (proc_pid_statm(5), second field)."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settle_memory() -> None:
    """Once everything is imported and loaded: what lives for ever need not be looked at by each garbage collection."""
    gc.collect()
    gc.freeze()
    # Objects of the API are trees without cycles, freed by counting alone: collections may be rare.
    gc.set_threshold(20_000, 20, 50)
