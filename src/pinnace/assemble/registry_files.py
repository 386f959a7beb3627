"""Where this machine says how registries are reached: `registries.yaml` (k3s' form) and docker's `config.json`. Looked at again at every
pull and push, and parsed again when it has changed: nothing needs a restart."""

import os
import pathlib

from pinnace.assemble import places
from pinnace.oci import registries

MACHINE_FILE = pathlib.Path("/etc/pinnace/registries.yaml")


class RegistrySettings:
    """Call it for the present settings. Of several files the first that is there counts. Raises `registries.SettingsError`."""

    def __init__(self, *files: pathlib.Path) -> None:
        self._files = files
        self._seen: tuple[pathlib.Path, int, int, int] | None = None
        self._parsed = registries.Registries()

    def __call__(self) -> registries.Registries:
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                continue
            seen = (path, status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._parsed = registries.load_registries(path)
                self._seen = seen
            return self._parsed
        return registries.Registries()


def of_cluster(where: places.Places) -> RegistrySettings:
    """The cluster's own file in place of the machine's."""
    return RegistrySettings(where.data / "registries.yaml", MACHINE_FILE)


def docker_config() -> pathlib.Path:
    """That of the user whom this process runs as; the file need not be there."""
    folder = os.environ.get("DOCKER_CONFIG")
    return pathlib.Path(folder or pathlib.Path.home() / ".docker") / "config.json"
