"""Namespaces: made in short-lived threads, pinned by bind mounts, entered for one function.

A namespace belongs to a thread. Whoever needs another one gets a fresh thread that ends afterwards; a pool's thread would carry it
into foreign work.
"""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from pinnace.kernel import libc, mounts

T = TypeVar("T")

Kind = Literal["mnt", "net", "ipc", "uts", "pid", "user", "cgroup"]
CGROUP = pathlib.Path("/sys/fs/cgroup")
CLONE_FS = 0x200
FLAGS: Mapping[str, int] = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}


def unshare(flags: int) -> None:
    libc.call("unshare", ctypes.c_int(flags))


def set_namespace(path: pathlib.Path, kind: Kind) -> None:
    """The calling thread enters the namespace that `path` names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.call("setns", ctypes.c_int(descriptor), ctypes.c_int(FLAGS[kind]), what=str(path))
    finally:
        os.close(descriptor)


def run_in_thread(function: Callable[[], T]) -> T:
    """Run `function` in a thread of its own, wait for it."""
    outcome: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # carried over to the caller
            errors.append(error)

    thread = threading.Thread(target=body, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


async def run_in_fresh_thread(function: Callable[[], T]) -> T:
    """Like `run_in_thread`, without stopping the event loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = function()
        except BaseException as error:  # carried over to the caller
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(finish, result, failure)

    threading.Thread(target=body, name="namespace", daemon=True).start()
    return await future


def run_in_network(path: pathlib.Path, function: Callable[[], T]) -> T:
    """Run `function` in the network namespace at `path`, in a thread of its own. Sockets made there stay there."""

    def body() -> T:
        set_namespace(path, "net")
        return function()

    return run_in_thread(body)


async def run_in_network_async(path: pathlib.Path, function: Callable[[], T]) -> T:
    def body() -> T:
        set_namespace(path, "net")
        return function()

    return await run_in_fresh_thread(body)


def pin_new(
    pins: Mapping[Kind, pathlib.Path], hostname: str | None = None, sysctls: Mapping[str, str] | None = None
) -> None:
    """Make new namespaces of these kinds at once and pin each at its path. All or nothing.

    `hostname` needs `uts` among them; `sysctls` (`net.ipv4.ip_forward` …) are written inside. Raises OSError.
    """
    run_in_thread(lambda: _pin_new(pins, hostname, sysctls or {}))


def _pin_new(pins: Mapping[Kind, pathlib.Path], hostname: str | None, sysctls: Mapping[str, str]) -> None:
    flags = 0
    for kind in pins:
        flags |= FLAGS[kind]
    unshare(flags)
    if hostname is not None:
        socket.sethostname(hostname)
    for name, value in sysctls.items():
        (pathlib.Path("/proc/sys") / name.replace(".", "/")).write_text(value)
    done: list[pathlib.Path] = []
    try:
        for kind, path in pins.items():
            path.touch(mode=0o600)
            done.append(path)
            mounts.bind(pathlib.Path(f"/proc/thread-self/ns/{kind}"), path)
    except BaseException:
        for path in done:
            unpin(path)
        raise


def unpin(path: pathlib.Path) -> None:
    """Let go of a pinned namespace; quiet when there is none."""
    while mounts.unmount(path):
        pass
    path.unlink(missing_ok=True)


def is_pinned(path: pathlib.Path) -> bool:
    """Whether a namespace (and not the bare file that a reboot leaves) is there."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- the mount namespace of a process


def enter_or_create_mount_namespace(folder: pathlib.Path) -> bool:
    """The process enters the mount namespace pinned in `folder`, made now if there is none. Returns whether it was made.

    Call at the start of a process, before it has threads: a thread that exists already stays where it is. Mounts of the
    machine made later show inside, ours never show outside; containers that ask for it (mount propagation) see each other's.
    Where the cgroup hierarchies are hybrid, `unified` is unmounted inside: an OCI runtime then sees plain v1, whose limits work.
    """
    pin = folder / "ns"
    created = not is_pinned(pin)
    if created:
        _create_mount_namespace(folder, pin)
    unshare(CLONE_FS)
    set_namespace(pin, "mnt")
    os.chdir("/")
    return created


def remove_mount_namespace(folder: pathlib.Path) -> None:
    """Unpin it, from outside. It goes, with every mount in it, when its last process has ended."""
    unpin(folder / "ns")
    while mounts.unmount(folder):
        pass
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


def make_private_mount_namespace() -> None:
    """The process gets a mount namespace of its own that nothing pins (tests, short-lived tools)."""
    unshare(FLAGS["mnt"])
    _settle()


def _create_mount_namespace(folder: pathlib.Path, pin: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not mounts.is_mounted(folder):
        # A namespace can only be pinned under a mount that does not propagate into that namespace.
        mounts.bind(folder, folder)
        mounts.set_propagation(folder, "private")
    pin.touch(mode=0o600)
    ready, release = threading.Event(), threading.Event()
    made: list[int | BaseException] = []

    def body() -> None:
        try:
            make_private_mount_namespace()
            made.append(threading.get_native_id())
        except BaseException as error:  # carried over to the caller
            made.append(error)
        ready.set()
        release.wait()

    thread = threading.Thread(target=body, name="mount namespace")
    thread.start()
    try:
        ready.wait()
        if isinstance(made[0], BaseException):
            raise made[0]
        mounts.bind(pathlib.Path(f"/proc/self/task/{made[0]}/ns/mnt"), pin)
    finally:
        release.set()
        thread.join()


def _settle() -> None:
    mounts.set_propagation(pathlib.Path("/"), "slave", recursive=True)
    entries = mounts.read_mounts()
    if any(entry.filesystem == "cgroup" for entry in entries):
        _hide_unified(entries)
    # Shared among those that are born of this namespace: what a container mounts may reach others that ask for it, never the machine.
    mounts.set_propagation(pathlib.Path("/"), "shared", recursive=True)


def _hide_unified(entries: Sequence[mounts.MountEntry]) -> None:
    """Put a folder with the v1 hierarchies alone in the place of a hybrid /sys/fs/cgroup.

    Unmounting v2 is not enough: a runtime that finds the empty directory would make groups in it.
    """
    hybrid = [pathlib.Path(e.target) for e in entries if e.filesystem == "cgroup2"]
    v1 = [
        pathlib.Path(e.target) for e in entries if e.filesystem == "cgroup" and CGROUP in pathlib.Path(e.target).parents
    ]
    if not hybrid or not v1:
        return
    links = {path.name: os.readlink(path) for path in CGROUP.iterdir() if path.is_symlink()}
    descriptors = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in v1}
    try:
        mounts.mount_tmpfs(CGROUP, 1 << 20)
        for path, descriptor in descriptors.items():
            path.mkdir(parents=True)
            mounts.bind(pathlib.Path(f"/proc/self/fd/{descriptor}"), path)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)
    for name, target in links.items():
        os.symlink(target, CGROUP / name)
    for path in hybrid:
        if CGROUP not in path.parents:
            mounts.unmount(path)
