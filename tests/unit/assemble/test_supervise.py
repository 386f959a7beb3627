"""The supervisor's rules for starting a component again."""

import os
import pathlib
import select
import signal
import sys
import time

import pytest

from pinnace.assemble import places, processes, supervise

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
CRASHER = [sys.executable, "-c", "raise SystemExit(3)"]


@pytest.fixture
def component(tmp_path: pathlib.Path) -> supervise.Component:
    where = places.Places(tmp_path, tmp_path / "run")
    where.run.mkdir()
    where.logs.mkdir()
    return supervise.Component("server", where)


def end(component: supervise.Component) -> float:
    """Wait for the end of the process; the seconds until the next start."""
    poll = select.poll()
    poll.register(component.handle, select.POLLIN)
    poll.poll()
    component.on_exit()
    return component.start_at - time.monotonic()


def test_a_process_that_was_killed_starts_again_at_once_however_often(component: supervise.Component) -> None:
    component.arguments = SLEEPER
    for _ in range(8):
        component.start()
        pid = processes.read(component.pid_file)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert end(component) <= supervise.RESTART.first


def test_a_process_that_fails_by_itself_waits_longer_each_time(component: supervise.Component) -> None:
    component.arguments = CRASHER
    waits = []
    for _ in range(4):
        component.start()
        waits.append(end(component))
    assert waits == sorted(waits)
    assert waits[-1] > 4 * supervise.RESTART.first


def test_a_full_disk_does_not_end_the_supervisor(component: supervise.Component) -> None:
    """Its own words go to a log; where that cannot be written, it goes on."""
    component.arguments = CRASHER
    component.start()
    saved, full = os.dup(2), os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, 2)
        end(component)
        assert component.start_at > 0
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(full)
