"""`up`, `down` and `status` of a cluster. Called by the command line; says what it does through `tell` and prints nothing itself.

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
import time
from collections.abc import Callable, Iterator

from pinnace.assemble import connect, doctor, kubeconfig, pki, places, processes, settings
from pinnace.client import client, resources
from pinnace.kernel import namespaces

Tell = Callable[[str], None]

READY_SECONDS = 60.0
POLL_SECONDS = 0.01
STOP_SECONDS = 45.0
LOG_LINES_SHOWN = 15


class LifecycleError(Exception):
    """The cluster could not be brought to the wanted state; the text says why and the next step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What `pinnace up` was asked for. None: not said, keep what the cluster has or take the default."""

    data_dir: pathlib.Path
    name: str
    port: int | None = None
    node: bool | None = None
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
class ComponentStatus:
    name: str
    pid: int
    """0: does not run."""
    address: str
    ready: bool


def up(options: Options, tell: Tell) -> Running:
    where, cluster = prepare(options)
    with locked(where):
        was_running = processes.read(where.pid_file("supervisor")) is not None
        if not was_running:
            _start_supervisor(where)
        asyncio.run(_wait_ready(where, cluster, tell))
        return Running(cluster, where, _merge(options, where, cluster), was_running)


def prepare(options: Options) -> tuple[places.Places, settings.Cluster]:
    """Settings, certificates and kubeconfig of the cluster are on the disk. Idempotent; changes no running cluster."""
    where = places.of(options.data_dir)
    where.data.mkdir(parents=True, exist_ok=True, mode=0o755)
    with locked(where):
        present = settings.load(where)
        running = processes.read(where.pid_file("supervisor")) is not None
        cluster = _decide(options, where, present, running=running)
        if not running:
            _require_possible(where, cluster)
        if cluster != present:
            settings.save(where, cluster)
        for folder in (where.store.parent, where.logs, where.run):
            folder.mkdir(parents=True, exist_ok=True)
        pki.ensure(where, cluster, datetime.datetime.now(datetime.UTC))
        kubeconfig.write_admin(where, cluster)
        return where, cluster


def down(data_dir: pathlib.Path, *, purge: bool, tell: Tell) -> None:
    """Stop everything and take away everything but the data; with `purge` the data too. Idempotent."""
    where = places.of(data_dir)
    cluster = settings.load(where)
    if cluster is None:
        if purge and where.data.exists() and not any(where.data.iterdir()):
            where.data.rmdir()
        return
    with locked(where):
        tell("stopping the control plane and the node agent")
        for component in ("supervisor", "node", "server"):
            pid_file = where.pid_file(component)
            if not processes.signal_and_wait(pid_file, signal.SIGTERM, STOP_SECONDS):
                processes.signal_and_wait(pid_file, signal.SIGKILL, STOP_SECONDS)
            pid_file.unlink(missing_ok=True)
        if cluster.node:
            tell("stopping containers, removing their mounts and networks")
            _tear_down_node(where)
            namespaces.remove_mount_namespace(where.mount_namespace)
        shutil.rmtree(where.run, ignore_errors=True)
        with contextlib.suppress(OSError):  # another cluster's folder is still in it
            where.run.parent.rmdir()
        if purge:
            tell(f"deleting {where.data}")
            kubeconfig.unmerge(kubeconfig.user_file(), cluster)
            shutil.rmtree(where.data)


async def status(data_dir: pathlib.Path) -> list[ComponentStatus]:
    where, cluster = settings.require(data_dir)
    pids = {name: processes.read(where.pid_file(name)) or 0 for name in ("supervisor", "server", "node")}
    async with connect.Admin(where, cluster) as admin:
        server_ready = pids["server"] != 0 and await admin.is_ready()
        node_ready = server_ready and pids["node"] != 0 and await _node_is_ready(admin, cluster)
    found = [ComponentStatus("server", pids["server"], cluster.url, server_ready)]
    if cluster.node:
        address = f"https://{cluster.node_ip}:{cluster.kubelet_port}"
        found.append(ComponentStatus("node", pids["node"], address, node_ready))
    found.append(ComponentStatus("supervisor", pids["supervisor"], "", pids["supervisor"] != 0))
    return found


@contextlib.contextmanager
def locked(where: places.Places) -> Iterator[None]:
    """Only one program at a time changes this cluster's processes."""
    handle = os.open(where.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _decide(
    options: Options, where: places.Places, present: settings.Cluster | None, *, running: bool
) -> settings.Cluster:
    if present is None:
        return settings.decide(
            where,
            name=options.name,
            port=options.port or settings.DEFAULT_PORT,
            node=options.node is not False,
            addresses_in_use=local_addresses(),
        )
    wanted = dataclasses.replace(
        present,
        name=options.name,
        port=present.port if options.port is None else options.port,
        node=present.node if options.node is None else options.node,
    )
    if running and dataclasses.replace(wanted, name=present.name) != present:
        raise LifecycleError(
            f"the cluster in {where.data} runs with port {present.port} and {'a' if present.node else 'no'} node; "
            "`pinnace down` first to start it with other settings"
        )
    return wanted if running else dataclasses.replace(wanted, node_ip=settings.own_address())


def _require_possible(where: places.Places, cluster: settings.Cluster) -> None:
    is_adopted = processes.read(where.pid_file("server")) is not None  # its supervisor died, it did not
    if not is_adopted and settings.free_port(cluster.port) != cluster.port:
        raise LifecycleError(f"port {cluster.port} is in use by another program; choose one with --port")
    if not cluster.node:
        return
    if os.geteuid() != 0:
        raise LifecycleError(
            "a node needs root: run `sudo pinnace up`, or `pinnace up --no-node` for a control plane alone"
        )
    missing = [check for check in doctor.checks() if not check.ok and check.required]
    if missing:
        lines = "\n".join(f"  {check.name}: {check.detail}\n    {check.fix}" for check in missing)
        raise LifecycleError(f"this machine lacks what a node needs:\n{lines}")
    own = processes.read(where.pid_file("node")) is not None
    taken = [] if own else [one for one in local_addresses() if one in ipaddress.IPv4Network(cluster.pod_cidr)]
    if taken:
        raise LifecycleError(
            f"an interface of this machine has {taken[0]}, inside the pod range {cluster.pod_cidr} of this cluster: "
            "another cluster runs there; stop it, or `pinnace down --purge` this one"
        )


def local_addresses() -> frozenset[ipaddress.IPv4Address]:
    """Every IPv4 address of this machine's interfaces, from the kernel's routing table."""
    found = set()
    previous = ""
    for line in pathlib.Path("/proc/net/fib_trie").read_text().splitlines():
        if "/32 host LOCAL" in line:
            found.add(ipaddress.IPv4Address(previous))
        previous = line.rpartition(" ")[2]
    return frozenset(found)


def _start_supervisor(where: places.Places) -> None:
    log = os.open(where.log_of("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    arguments = [sys.executable, "-m", "pinnace.assemble.supervise", str(where.data)]
    os.posix_spawn(arguments[0], arguments, os.environ, file_actions=actions, setsid=True)
    os.close(log)
    os.close(null)


async def _wait_ready(where: places.Places, cluster: settings.Cluster, tell: Tell) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with connect.Admin(where, cluster) as admin:
        tell("waiting for the API")
        while not await admin.is_ready():
            await _pause(where, "server", deadline, "the API did not become ready")
        if cluster.node:
            tell(f"waiting for node {cluster.node_name}")
            while not await _node_is_ready(admin, cluster):
                await _pause(where, "node", deadline, f"node {cluster.node_name} did not become Ready")


async def _pause(where: places.Places, component: str, deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        log = where.log_of(component)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]) if log.exists() else ""
        raise LifecycleError(f"{what} within {READY_SECONDS:.0f} s; the end of {log}:\n{tail}")
    await asyncio.sleep(POLL_SECONDS)


async def _node_is_ready(admin: connect.Admin, cluster: settings.Cluster) -> bool:
    """The agent answers, and the cluster knows its node as Ready (which alone may be old news)."""
    try:
        node = await admin.api.get(resources.NODES, None, cluster.node_name)
    except (client.NotFound, client.Unavailable):
        return False
    conditions = node.get("status", {}).get("conditions", ())
    is_ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)
    return is_ready and await admin.is_healthy(f"https://127.0.0.1:{cluster.kubelet_port}/healthz")


def _merge(options: Options, where: places.Places, cluster: settings.Cluster) -> str:
    if not options.merge_kubeconfig:
        return ""
    return kubeconfig.merge(kubeconfig.user_file(), where, cluster)


def _tear_down_node(where: places.Places) -> None:
    """In a process of its own: it must enter the node's mount namespace, which only a single-threaded process can."""
    arguments = [sys.executable, "-m", "pinnace.assemble.node", str(where.data), "--tear-down"]
    pid = os.posix_spawn(arguments[0], arguments, os.environ)
    _, code = os.waitpid(pid, 0)
    if code != 0:
        raise LifecycleError(
            f"the node could not be cleaned up; see {where.log_of('node')}, then run `pinnace down` again"
        )
