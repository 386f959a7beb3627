"""Writing kubeconfig files: the admin's own, and the merge into the user's.

The user's file is locked as kubectl locks it (`config.lock`), written atomically with mode 0600, and only entries of this cluster are
touched.
"""

import base64
import contextlib
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import yaml

from pinnace.assemble import places, settings
from pinnace.kit import files

Entry = dict[str, Any]
LOCK_WAIT_SECONDS = 5.0


class KubeconfigError(Exception):
    """The user's kubeconfig cannot be changed; the text names the file and what to do."""


def write_admin(where: places.Places, cluster: settings.Cluster) -> None:
    """`DIR/admin.kubeconfig`, self-contained."""
    config = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **_entries(where, cluster, cluster.name)}
    files.write_atomic(where.admin_kubeconfig, yaml.safe_dump(config, sort_keys=False).encode(), 0o600)


def user_file() -> pathlib.Path:
    """The file that kubectl would write to: the first of $KUBECONFIG, else ~/.kube/config."""
    named = [part for part in os.environ.get("KUBECONFIG", "").split(":") if part]
    path = pathlib.Path(named[0]) if named else pathlib.Path.home() / ".kube" / "config"
    return path.resolve()  # a symbolic link stays one


def user_files() -> tuple[pathlib.Path, ...]:
    """Every file in which this user's kubectl, now or with another $KUBECONFIG, may find a cluster."""
    named = [pathlib.Path(part) for part in os.environ.get("KUBECONFIG", "").split(":") if part]
    usual = pathlib.Path.home() / ".kube" / "config"
    return tuple(dict.fromkeys(path.resolve() for path in (*named, usual)))


def merge(path: pathlib.Path, where: places.Places, cluster: settings.Cluster) -> str:
    """Add or refresh this cluster's entries and make its context the current one. Returns the context's name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise KubeconfigError(f"{path.parent} cannot be made ({error}); use --no-merge-kubeconfig") from error
    with _locked(path):
        config = _read(path)
        name = _own_name(config, cluster)
        _drop(config, name)
        for section, entries in _entries(where, cluster, name).items():
            if section == "current-context":
                config[section] = entries
            else:
                config[section] = [*(config.get(section) or []), *entries]
        _save(path, config)
    return name


def unmerge(path: pathlib.Path, cluster: settings.Cluster) -> None:
    """Take this cluster's entries out again; the file itself stays."""
    if not path.is_file() or cluster.id not in path.read_text(errors="replace"):
        return
    with _locked(path):
        config = _read(path)
        name = _name_of(config, cluster)
        if name is None:
            return
        _drop(config, name)
        if config.get("current-context") == name:
            config["current-context"] = ""
        _save(path, config)


def _save(path: pathlib.Path, config: Entry) -> None:
    """Whose it was, it stays: `sudo pinnace up` with the user's HOME must not take the file from the user."""
    owner = path.stat() if path.exists() else path.parent.stat()
    files.write_atomic(path, yaml.safe_dump(config, sort_keys=False).encode(), 0o600)
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def _entries(where: places.Places, cluster: settings.Cluster, name: str) -> Entry:
    def encoded(file: str) -> str:
        return base64.b64encode((where.pki / file).read_bytes()).decode()

    extension = {"name": "pinnace.dev", "extension": {"id": cluster.id, "data-dir": str(where.data)}}
    user = f"{name}-admin"
    return {
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": cluster.url,
                    "certificate-authority-data": encoded("ca.crt"),
                    "extensions": [extension],
                },
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": encoded("admin.crt"), "client-key-data": encoded("admin.key")},
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }


def _own_name(config: Entry, cluster: settings.Cluster) -> str:
    """The name that this cluster has already, else its own, else (another cluster has that one) its own with its id."""
    present = _name_of(config, cluster)
    if present is not None:
        return present
    taken = {entry.get("name") for section in ("clusters", "contexts") for entry in config.get(section) or []}
    users = {entry.get("name") for entry in config.get("users") or []}
    is_free = cluster.name not in taken and f"{cluster.name}-admin" not in users
    return cluster.name if is_free else f"{cluster.name}-{cluster.id}"


def _name_of(config: Entry, cluster: settings.Cluster) -> str | None:
    for entry in config.get("clusters") or []:
        for extension in (entry.get("cluster") or {}).get("extensions") or []:
            value = extension.get("extension")
            if extension.get("name") == "pinnace.dev" and isinstance(value, dict) and value.get("id") == cluster.id:
                return str(entry["name"])
    return None


def _drop(config: Entry, name: str) -> None:
    for section, mine in (("clusters", name), ("users", f"{name}-admin"), ("contexts", name)):
        config[section] = [entry for entry in config.get(section) or [] if entry.get("name") != mine]


_SECTIONS = ("clusters", "users", "contexts")


def _is_section(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(entry, dict) for entry in value))


def _read(path: pathlib.Path) -> Entry:
    try:
        loaded = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        loaded = None
    except (OSError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path} cannot be read ({error}); use --no-merge-kubeconfig") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{path} is not YAML ({error}); repair it, or use --no-merge-kubeconfig") from error
    if loaded is None:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    if not isinstance(loaded, dict) or not all(_is_section(loaded.get(name)) for name in _SECTIONS):
        raise KubeconfigError(f"{path} is not a kubeconfig; repair it, or use --no-merge-kubeconfig")
    return loaded


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    lock = path.with_name(path.name + ".lock")
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except PermissionError as error:
            raise KubeconfigError(f"{path} cannot be changed ({error}); use --no-merge-kubeconfig") from error
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigError(f"{lock} is held by another program; if none runs, remove it") from None
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink()
