"""Where a cluster keeps its things. The only place that spells out these paths."""

import dataclasses
import os
import pathlib
import zlib

from pinnace.kit import files

DEFAULT_NAME = "pinnace"


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """All paths of one cluster. `data` survives `down`; `run` does not survive a reboot."""

    data: pathlib.Path
    run: pathlib.Path

    @property
    def cluster_file(self) -> pathlib.Path:
        return self.data / "cluster.json"

    @property
    def admin_kubeconfig(self) -> pathlib.Path:
        return self.data / "admin.kubeconfig"

    @property
    def pki(self) -> pathlib.Path:
        return self.data / "pki"

    @property
    def store(self) -> pathlib.Path:
        return self.data / "server" / "store.db"

    @property
    def engine(self) -> pathlib.Path:
        return self.data / "node" / "engine"

    @property
    def network_state(self) -> pathlib.Path:
        return self.data / "node" / "network.json"

    @property
    def pods(self) -> pathlib.Path:
        return self.data / "node" / "pods"

    @property
    def volumes(self) -> pathlib.Path:
        return self.data / "node" / "volumes"

    @property
    def logs(self) -> pathlib.Path:
        return self.data / "logs"

    @property
    def lock(self) -> pathlib.Path:
        return self.data / "lifecycle.lock"

    @property
    def owned(self) -> tuple[pathlib.Path, ...]:
        """Everything of ours in `data`, what marks it as a cluster last. Nothing else there is ever deleted."""
        first = (self.admin_kubeconfig, self.pki, self.store.parent, self.engine.parent, self.logs)
        return (*first, self.cluster_file, self.lock)

    def log_of(self, component: str) -> pathlib.Path:
        return self.logs / f"{component}.log"

    def pid_file(self, component: str) -> pathlib.Path:
        return self.run / f"{component}.pid"

    @property
    def mount_namespace(self) -> pathlib.Path:
        return self.run / "mnt"


def default_data_dir(name: str) -> pathlib.Path:
    """Root: `/var/lib/pinnace`; other users: below XDG_DATA_HOME. A cluster of another name has a folder beside it."""
    folder = DEFAULT_NAME if name == DEFAULT_NAME else f"{DEFAULT_NAME}-{name}"
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib") / folder
    base = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return pathlib.Path(base) / folder


def cluster_id(data_dir: pathlib.Path) -> str:
    """Eight characters that tell this cluster's interfaces, tables, cgroups and run folder from those of others.

    It depends on the data directory alone, so that two clusters of one name never meet.
    """
    return f"{zlib.crc32(bytes(data_dir)):08x}"


def of(data_dir: pathlib.Path) -> Places:
    data = data_dir.absolute()
    mine = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/pinnace-{os.geteuid()}"  # noqa: S108 - the fallback of others too
    base = pathlib.Path("/run/pinnace") if os.geteuid() == 0 else pathlib.Path(mine, "pinnace")
    return Places(data, base / cluster_id(data))


def close_folders(where: Places, *, node: bool) -> None:
    """What holds keys, other people's objects, files, programs and output is entered by this user alone (logs: by its group too),
    also where an earlier version left it open. Raises OSError."""
    for folder in (where.pki, where.store.parent, *((where.engine.parent,) if node else ())):
        files.close_folder(folder)
    files.close_folder(where.logs, 0o750)


def make_run_folder(where: Places) -> None:
    """Only this user may write there: who could would choose what `down` sends signals to. Raises PermissionError."""
    for folder in (where.run.parent.parent, where.run.parent, where.run):
        if folder == pathlib.Path("/run"):
            continue
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if os.geteuid() else 0o755)
        if folder.stat().st_uid not in (os.geteuid(), 0) or folder.is_symlink():
            raise PermissionError(f"{folder} belongs to another user; set XDG_RUNTIME_DIR to a folder of your own")
