"""The parent of a cluster's processes: starts them, starts them again when they die, ends them in order.

    python -m pinnace.assemble.supervise DATA_DIR

Small on purpose (standard library only: it stays in memory for as long as the cluster runs). When it is killed itself, the
components go on; the next `pinnace up` starts a new one, which takes over the components that still run. SIGTERM ends the node agent first,
then the server, then itself. Containers are not its business: they go on until `pinnace down`.

Logs: a process that notes much turns its own file over (`log_file.LogFile`); what a crash writes is bounded here, before each start.
"""

import contextlib
import os
import pathlib
import select
import signal
import sys
import time

from pinnace.assemble import logs, notify, places, processes, settings
from pinnace.kit import backoff

RESTART = backoff.Backoff(first=0.05, limit=5.0)
HEALTHY_AFTER_SECONDS = 10.0
STOP_SECONDS = 15.0

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
OUTSIDE_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Component:
    """One supervised process. `handle` is a pidfd, which works for processes that another supervisor started too."""

    def __init__(self, name: str, where: places.Places) -> None:
        self.name = name
        self.pid_file = where.pid_file(name)
        self._log = where.log_of(name)
        self.arguments = processes.command(name, where.data)
        self.handle = -1
        self.pid = 0
        self.failures = 0
        self.started_at = 0.0
        self.start_at = 0.0

    @property
    def is_running(self) -> bool:
        return self.handle >= 0

    def adopt_or_start(self) -> None:
        pid = processes.read(self.pid_file)
        if pid is None:
            self.start()
        else:
            self.handle = os.pidfd_open(pid)
            self.pid = pid
            self.started_at = time.monotonic()

    def start(self) -> None:
        logs.bound(self._log)
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        pid = os.posix_spawn(
            self.arguments[0],
            self.arguments,
            {name: value for name, value in processes.environment().items() if name not in notify.VARIABLES},
            file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
            setpgroup=0,  # Ctrl-C on a terminal is for the supervisor, which ends the others in their order
            setsigmask=(),
        )
        os.close(log)
        self.handle = os.pidfd_open(pid)
        self.pid = pid
        self.started_at = time.monotonic()
        processes.write(self.pid_file, pid)

    def on_exit(self) -> None:
        os.close(self.handle)
        self.handle = -1
        status = _reap(self.pid)
        now = time.monotonic()
        # Who was killed from outside did not fail: only a process that ends by itself, soon after its start, is likely to do so again.
        was_killed = status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in OUTSIDE_SIGNALS
        if was_killed or now - self.started_at > HEALTHY_AFTER_SECONDS:
            self.failures = 0
        self.start_at = now + RESTART.delay(self.failures)
        self.failures += 1
        _say(f"{self.name} ended; starting it again in {self.start_at - now:.2f} s")

    def stop(self) -> None:
        if not self.is_running:
            return
        if not processes.signal_and_wait(self.pid_file, signal.SIGTERM, STOP_SECONDS):
            _say(f"{self.name} did not end within {STOP_SECONDS:.0f} s; killing it")
            processes.signal_and_wait(self.pid_file, signal.SIGKILL, STOP_SECONDS)
        self.pid_file.unlink(missing_ok=True)


def run(where: places.Places, cluster: settings.Cluster) -> None:
    os.chdir("/")
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: None)
    places.make_run_folder(where)
    own = where.pid_file("supervisor")
    processes.write(own, os.getpid())
    components = [Component("server", where)] + ([Component("node", where)] if cluster.node else [])
    for component in components:
        component.adopt_or_start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    while step(components, wake_read):
        pass
    notify.send("STOPPING=1", os.environ)
    for component in reversed(components):
        component.stop()
    own.unlink(missing_ok=True)
    _say("stopped" + ("; containers go on until `pinnace down`" if cluster.node else ""))


def step(components: list[Component], wake: int) -> bool:
    """Wait for one thing to happen and handle it. False when it was the wish to stop."""
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    timeout: float | None = None
    for component in components:
        if component.is_running:
            poll.register(component.handle, select.POLLIN)
        else:
            wait = max(0.0, component.start_at - time.monotonic())
            timeout = wait if timeout is None else min(timeout, wait)
    ready = {descriptor for descriptor, _ in poll.poll(None if timeout is None else timeout * 1000 + 1)}
    if wake in ready:
        return False
    for component in components:
        if component.handle in ready:
            component.on_exit()
        elif not component.is_running and component.start_at <= time.monotonic():
            component.start()
    return True


def _reap(pid: int) -> int | None:
    """How the process ended; None when it is not our child (another supervisor started it)."""
    try:
        return os.waitpid(pid, os.WNOHANG)[1]
    except ChildProcessError:
        return None


def _say(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    # Unbuffered, and quiet on failure: on a full disk a line is lost, not the supervisor.
    with contextlib.suppress(OSError):
        os.write(2, f"{stamp} supervisor: {text}\n".encode())


def main() -> None:
    where, cluster = settings.require(pathlib.Path(sys.argv[1]))
    run(where, cluster)


if __name__ == "__main__":
    main()
