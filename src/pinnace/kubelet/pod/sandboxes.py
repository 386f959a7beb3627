"""The acts on a pod's sandbox: made with its network, taken down with everything in it."""

import contextlib
import pathlib

from pinnace.engine import interface
from pinnace.kernel import filesystem
from pinnace.kit import files
from pinnace.kubelet.pod import containers, dependencies, model, podfiles, podspec


async def create(pod: podspec.Object, attempt: int, shared: dependencies.Dependencies) -> model.SandboxView:
    """Namespaces and address. What a failed try began is undone. Raises EngineError, NetworkError."""
    spec = containers.sandbox_spec(pod, attempt, shared.settings)
    try:
        sandbox = await shared.engine.create_sandbox(spec)
    except interface.NameInUse:
        # Left by a try whose undoing failed too: the id is this pod's alone, nothing runs in it.
        await remove(spec.id, shared)
        sandbox = await shared.engine.create_sandbox(spec)
    addresses: tuple[str, ...] = (shared.settings.node_ip,)
    if sandbox.network_namespace is not None:
        is_attached = False
        try:
            attachment = await shared.network.attach(sandbox.id, sandbox.network_namespace, containers.host_ports(pod))
            is_attached = True
        finally:
            if not is_attached:
                await shared.engine.remove_sandbox(sandbox.id)
        addresses = (str(attachment.address),)
    return view(sandbox, addresses)


async def remove(sandbox_id: str, shared: dependencies.Dependencies) -> None:
    """Idempotent. Raises EngineError, NetworkError."""
    await shared.network.detach(sandbox_id)
    await shared.engine.remove_sandbox(sandbox_id)


def view(sandbox: interface.Sandbox, addresses: tuple[str, ...]) -> model.SandboxView:
    """A sandbox without an address (its making was interrupted) is as good as none."""
    return model.SandboxView(
        id=sandbox.id,
        attempt=containers.sandbox_attempt(sandbox),
        is_ready=sandbox.is_ready and bool(addresses),
        addresses=addresses,
        created_ns=sandbox.created_at,
        limits=sandbox.spec.resources,
    )


FILES = ("etc-hosts", "resolv.conf", "hostname")
LAST_FILE = FILES[-1]
"""Written after the others: where it is, they are."""


def write_files(pod: podspec.Object, addresses: tuple[str, ...], shared: dependencies.Dependencies) -> None:
    """/etc/hosts, /etc/resolv.conf and /etc/hostname of the pod, which all its containers share."""
    folder = files.make_below(shared.settings.pods_dir, podspec.uid(pod))
    host_name, domain = podfiles.host_names(pod, shared.settings.cluster_domain)
    resolver = podfiles.resolver(pod, shared.host_resolver, shared.settings.cluster_dns, shared.settings.cluster_domain)
    (folder / "etc-hosts").write_text(podfiles.hosts(pod, addresses, host_name, domain, shared.host_hosts))
    (folder / "resolv.conf").write_text(podfiles.render_resolver(resolver))
    (folder / LAST_FILE).write_text(f"{host_name}\n")


def ensure_files(pod: podspec.Object, addresses: tuple[str, ...], shared: dependencies.Dependencies) -> None:
    """Where an agent ended between making the sandbox and writing its files, the next one writes them."""
    last = shared.settings.pod_dir(podspec.uid(pod)) / LAST_FILE
    if not last.exists() or not last.stat().st_size:
        write_files(pod, addresses, shared)


def files_bytes(folder: pathlib.Path) -> int:
    """Bytes of disk of what containers write to besides their layers, volumes and logs: these files, which they share and may fill, and
    their termination messages. `folder`: the pod's. Blocking."""
    total = filesystem.disk_usage(folder / "containers")
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            total += (folder / name).lstat().st_blocks * 512
    return total
