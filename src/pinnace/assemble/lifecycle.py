"""`up` and `down` of a cluster. Called by the command line; says what it does through `tell` and prints nothing itself.

One lock per data directory: two `up` at once are one `up` and one that finds a running cluster.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import fcntl
import ipaddress
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from pinnace.assemble import doctor, health, kubeconfig, notify, pki, places, processes, settings
from pinnace.kernel import mounts, namespaces

Tell = Callable[[str], None]

STOP_SECONDS = 45.0
KILL_SECONDS = 5.0


class LifecycleError(Exception):
    """The cluster could not be brought to the wanted state; the text says why and the next step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What `pinnace up` was asked for. None: not said, keep what the cluster has or take the default."""

    data_dir: pathlib.Path
    name: str | None = None
    port: int | None = None
    node: bool | None = None
    log_level: str | None = None
    discard_unpacked_layers: bool | None = None
    merge_kubeconfig: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Running:
    """What `up` made of it."""

    cluster: settings.Cluster
    places: places.Places
    context: str
    """In the user's kubeconfig; "" when it was left alone."""
    was_running: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Stopped:
    """What `down` found and did."""

    name: str
    """"" when there was no cluster."""
    data_dir: pathlib.Path
    was_running: bool
    purged: bool
    kept: tuple[pathlib.Path, ...] = ()
    """After a purge: what lies in the data directory and is not ours."""


def up(options: Options, tell: Tell) -> Running:
    """Start the cluster unless it runs, and wait until it is ready.

    When the API does not come up at all, what was started for it is stopped again, so that the next `up` may have other settings.
    """
    with _prepared(options, tell) as (where, cluster):
        was_running = "supervisor" in processes.running(where)
        started = 0 if was_running else _start_supervisor(where)
        try:
            asyncio.run(health.wait_ready(where, cluster, tell, lambda: _has_ended(where, started)))
        except health.NotReady as error:
            if started and not asyncio.run(_is_server_ready(where, cluster)):
                _stop_processes(where)
                raise LifecycleError(str(error)) from error
            raise LifecycleError(
                f"{error}\nit goes on trying: see `pinnace status`; `pinnace down` stops it"
            ) from error
        return Running(cluster, where, _merge(options, where, cluster), was_running)


def stay(
    options: Options, tell: Tell, when_ready: Callable[[Running], None], when_failed: Callable[[str], None]
) -> NoReturn:
    """Become the cluster's supervisor. A process beside it waits until everything is ready and says so, also to systemd."""
    with _prepared(options, tell) as (where, cluster):
        if "supervisor" in processes.running(where):
            raise LifecycleError(f"the cluster in {where.data} runs already; `pinnace down` stops it")
        processes.write(where.pid_file("supervisor"), os.getpid())
    _in_background(lambda: _announce(options, where, cluster, tell, when_ready, when_failed))
    arguments = processes.command("supervisor", where.data)
    os.execve(arguments[0], arguments, processes.environment())  # noqa: S606 - the supervisor needs none of what this process has in memory


def is_running(data_dir: pathlib.Path) -> bool:
    """Whether any of its processes runs."""
    return bool(processes.running(places.of(data_dir)))


def down(data_dir: pathlib.Path, *, purge: bool, tell: Tell) -> Stopped:
    """Stop everything and take away everything but the data; with `purge` the data too. Idempotent."""
    where = places.of(data_dir)
    cluster = _load_for_down(where, purge=purge)
    if cluster is None:
        return Stopped("", where.data, was_running=False, purged=False)
    settings.require_own(where)
    with locked(where, tell):
        was_running = bool(processes.running(where))
        tell("stopping the control plane and the node agent")
        _stop_processes(where)
        has_node = os.geteuid() == 0 and (cluster.node or where.engine.exists())
        if has_node:
            tell("stopping containers, removing their mounts and networks")
            _tear_down_node(where)
            namespaces.remove_mount_namespace(where.mount_namespace)
        _remove_run_folder(where)
        if not purge:
            return Stopped(cluster.name, where.data, was_running, purged=False)
        tell(f"deleting {where.data}")
        for path in kubeconfig.user_files():
            kubeconfig.unmerge(path, cluster)
        return Stopped(cluster.name, where.data, was_running, purged=True, kept=_delete_data(where))


@contextlib.contextmanager
def locked(where: places.Places, tell: Tell) -> Iterator[None]:
    """Only one program at a time changes this cluster's processes."""
    handle = os.open(where.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("waiting for another pinnace command on this cluster")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _prepared(options: Options, tell: Tell) -> Iterator[tuple[places.Places, settings.Cluster]]:
    """Under the lock: settings, certificates and kubeconfig of the cluster are on the disk. Changes no running cluster."""
    where = places.of(options.data_dir)
    is_new = not where.data.exists()
    try:
        with contextlib.ExitStack() as held:
            try:
                where.data.mkdir(parents=True, exist_ok=True, mode=0o755)
                held.enter_context(locked(where, tell))
                cluster = _prepare(options, where)
            except OSError as error:
                what = f"{error.filename or where.data}: {(error.strerror or str(error)).lower()}"
                is_refused = isinstance(error, PermissionError) and os.geteuid() != 0
                further = ", or run with sudo" if is_refused else ""
                raise LifecycleError(f"{what}; choose another folder with --data-dir{further}") from error
            yield where, cluster
    finally:
        if is_new and not where.cluster_file.exists():
            _forget(where)


def _prepare(options: Options, where: places.Places) -> settings.Cluster:
    present = settings.load(where)
    running = processes.running(where)
    cluster = _decide(options, where, present, running=bool(running))
    _require_possible(where, cluster, running)
    if cluster != present:
        settings.save(where, cluster)
    places.close_folders(where, node=cluster.node)
    places.make_run_folder(where)
    pki.ensure(where, cluster, datetime.datetime.now(datetime.UTC))
    kubeconfig.write_admin(where, cluster)
    return cluster


def _forget(where: places.Places) -> None:
    """A first start that was refused leaves no folder that looks like a cluster."""
    where.lock.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        where.data.rmdir()


def _decide(
    options: Options, where: places.Places, present: settings.Cluster | None, *, running: bool
) -> settings.Cluster:
    if present is None:
        return settings.decide(
            where,
            name=options.name or places.DEFAULT_NAME,
            port=options.port or settings.DEFAULT_PORT,
            node=options.node is not False,
            addresses_in_use=local_addresses(),
            log_level=options.log_level or "info",
            discard_unpacked_layers=bool(options.discard_unpacked_layers),
        )
    wanted = change(present, options)
    if not running:
        port = settings.free_port(present.kubelet_port)
        return dataclasses.replace(wanted, node_ip=settings.own_address(), kubelet_port=port)
    if wanted.name != present.name:
        raise LifecycleError(
            f"the cluster that runs in {where.data} is named {present.name}; `pinnace down` first to name it {wanted.name}, "
            "or choose another folder with --data-dir"
        )
    if wanted != present:
        raise LifecycleError(
            f"the cluster in {where.data} runs with port {present.port}, {'a' if present.node else 'no'} node and log level "
            f"{present.log_level}; `pinnace down` first to start it with other settings"
        )
    return wanted


def change(present: settings.Cluster, options: Options) -> settings.Cluster:
    """What a cluster that exists becomes: only what was said changes. Its node keeps its name when the machine gets another one."""
    return dataclasses.replace(
        present,
        name=present.name if options.name is None else options.name,
        port=present.port if options.port is None else options.port,
        node=present.node if options.node is None else options.node,
        log_level=present.log_level if options.log_level is None else options.log_level,
        discard_unpacked_layers=(
            present.discard_unpacked_layers
            if options.discard_unpacked_layers is None
            else options.discard_unpacked_layers
        ),
    )


def _require_possible(where: places.Places, cluster: settings.Cluster, running: dict[str, int]) -> None:
    if "server" not in running and "supervisor" not in running and settings.free_port(cluster.port) != cluster.port:
        raise LifecycleError(f"port {cluster.port} is in use by another program; choose one with --port")
    if not cluster.node:
        return
    if os.geteuid() != 0:
        raise LifecycleError(
            "a node needs root: run `sudo pinnace up`, or `pinnace up --no-node` for a control plane alone"
        )
    missing = [check for check in doctor.checks(versions=False) if not check.ok and check.required]
    if missing:
        lines = "\n".join(f"  {check.name}: {check.detail}\n    {check.fix}" for check in missing)
        raise LifecycleError(f"this machine lacks what a node needs:\n{lines}")
    if running or pathlib.Path("/sys/class/net", cluster.bridge).exists():
        return  # the address found below would be its own
    taken = [one for one in local_addresses() if one in ipaddress.IPv4Network(cluster.pod_cidr)]
    if taken:
        raise LifecycleError(
            f"an interface of this machine has {taken[0]}, inside the pod range {cluster.pod_cidr} of this cluster: "
            "another cluster runs there; stop it, or `pinnace down --purge` this one"
        )


def local_addresses() -> frozenset[ipaddress.IPv4Address]:
    """Every IPv4 address of this machine's interfaces, from the kernel's routing table."""
    return parse_addresses(pathlib.Path("/proc/net/fib_trie").read_text())


def parse_addresses(fib_trie: str) -> frozenset[ipaddress.IPv4Address]:
    """A leaf (`|-- 10.0.0.1`) is one address, followed by a line for each kind of route to it."""
    found = set()
    leaf = ""
    for line in fib_trie.splitlines():
        if "|--" in line:
            leaf = line.split()[-1]
        elif "/32 host LOCAL" in line:
            found.add(ipaddress.IPv4Address(leaf))
    return frozenset(found)


def _start_supervisor(where: places.Places) -> int:
    log = os.open(where.log_of("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    arguments = processes.command("supervisor", where.data)
    pid = os.posix_spawn(arguments[0], arguments, processes.environment(), file_actions=actions, setsid=True)
    os.close(log)
    os.close(null)
    processes.write(where.pid_file("supervisor"), pid)
    return pid


def _has_ended(where: places.Places, child: int) -> bool:
    if child:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, os.WNOHANG)
    return processes.read(where.pid_file("supervisor")) is None


async def _is_server_ready(where: places.Places, cluster: settings.Cluster) -> bool:
    async with health.Probe(where, cluster) as probe:
        return await probe.is_server_ready()


def _in_background(action: Callable[[], None]) -> None:
    """In a process that nobody has to wait for: its parent ends at once, so it becomes a child of the machine's first process."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    code = 1
    try:
        action()
        sys.stdout.flush()
        code = 0
    except KeyboardInterrupt:
        pass  # Ctrl-C reaches the supervisor as well, which says what happens
    finally:
        os._exit(code)


def _announce(
    options: Options,
    where: places.Places,
    cluster: settings.Cluster,
    tell: Tell,
    when_ready: Callable[[Running], None],
    when_failed: Callable[[str], None],
) -> None:
    """Once everything is ready: tell the user, and the service manager if there is one."""
    try:
        asyncio.run(health.wait_ready(where, cluster, tell, lambda: _has_ended(where, 0)))
        running = Running(cluster, where, _merge(options, where, cluster), was_running=False)
    except (health.NotReady, LifecycleError) as error:
        if where.pid_file("supervisor").exists():  # it takes its file away when it is told to stop: no failure
            when_failed(str(error))
        return
    when_ready(running)
    notify.send(f"READY=1\nSTATUS=API at {cluster.url}", os.environ)


def _merge(options: Options, where: places.Places, cluster: settings.Cluster) -> str:
    if not options.merge_kubeconfig:
        return ""
    try:
        return kubeconfig.merge(kubeconfig.user_file(), where, cluster)
    except kubeconfig.KubeconfigError as error:
        raise LifecycleError(f"the cluster runs, but has no context in your kubeconfig: {error}") from error


def _load_for_down(where: places.Places, *, purge: bool) -> settings.Cluster | None:
    try:
        return settings.load(where)
    except settings.SettingsError:
        if not purge:
            raise
    # Names of interfaces, tables and cgroups follow from the folder alone: enough to take the cluster apart.
    node = os.geteuid() == 0
    cluster = settings.decide(
        where, name=places.DEFAULT_NAME, port=settings.DEFAULT_PORT, node=node, addresses_in_use=frozenset()
    )
    settings.save(where, cluster)
    return cluster


def _stop_processes(where: places.Places) -> None:
    """The supervisor ends the others in their order; whoever is left after it is ended here."""
    processes.running(where)
    for component in ("supervisor", "node", "server"):
        pid_file = where.pid_file(component)
        if not processes.signal_and_wait(pid_file, signal.SIGTERM, STOP_SECONDS):
            processes.signal_and_wait(pid_file, signal.SIGKILL, KILL_SECONDS)
        pid_file.unlink(missing_ok=True)


def _tear_down_node(where: places.Places) -> None:
    """In a process of its own: it must enter the node's mount namespace, which only a single-threaded process can."""
    log = os.open(where.log_of("node"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    arguments = processes.command("tear-down", where.data)
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    pid = os.posix_spawn(arguments[0], arguments, processes.environment(), file_actions=actions)
    os.close(log)
    _, code = os.waitpid(pid, 0)
    if code != 0:
        tail = where.log_of("node").read_text(errors="replace").splitlines()[-health.LOG_LINES_SHOWN :]
        shown = "\n".join(f"  {line}" for line in tail)
        raise LifecycleError(
            f"the node could not be cleaned up; run `pinnace down` again. The end of {where.log_of('node')}:\n{shown}"
        )


def _remove_run_folder(where: places.Places) -> None:
    shutil.rmtree(where.run, ignore_errors=True)
    for folder in (where.run.parent, where.run.parent.parent):
        if "pinnace" in folder.name:
            with contextlib.suppress(OSError):  # another cluster's folder is still in it
                folder.rmdir()


def _delete_data(where: places.Places) -> tuple[pathlib.Path, ...]:
    """Delete what is ours in the data directory, and the directory when nothing else is in it. Returns what else is."""
    below = mounts.mounts_below(where.data)
    if any(path != where.data for path in below):
        raise LifecycleError(
            f"{below[0]} is still mounted: deleting would reach into it; unmount it, then run this again"
        )
    for path in where.owned:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    kept = tuple(sorted(where.data.iterdir()))
    if not kept:
        with contextlib.suppress(OSError):  # a mount point stays
            where.data.rmdir()
    return kept
