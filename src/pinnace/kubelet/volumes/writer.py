"""Writes a payload so that readers see the old files or the new ones, never a mixture: upstream's atomic writer.

volume/..2026_01_02_03_04_05.123456789/key     the files
volume/..data -> ..2026_…                      renamed into place
volume/key -> ..data/key                       what containers open
"""

import datetime
import os
import pathlib
import secrets
import shutil

from pinnace.kubelet.volumes import payload as payload_module

DATA = "..data"
TEMPORARY = "..data_tmp"


def write(folder: pathlib.Path, payload: payload_module.Payload, now: datetime.datetime, group: int | None) -> bool:
    """Returns whether anything had to change. `group`: fsGroup, which gets to read every file."""
    current = _current(folder)
    if current is not None and _read(current) == {path: file.data for path, file in payload.items()}:
        return False
    name = f"..{now.strftime('%Y_%m_%d_%H_%M_%S')}.{secrets.randbelow(10**9):09d}"
    made = folder / name
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    for path, file in payload.items():
        _write_file(made, path, file, group)
    _own_folders(made, group)
    link = folder / TEMPORARY
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    os.replace(link, folder / DATA)
    _link_names(folder, payload)
    if current is not None:
        shutil.rmtree(current)
    return True


def _current(folder: pathlib.Path) -> pathlib.Path | None:
    try:
        return folder / os.readlink(folder / DATA)
    except FileNotFoundError:
        return None


def _read(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write_file(folder: pathlib.Path, path: str, file: payload_module.File, group: int | None) -> None:
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.data)
    if group is not None:
        os.chown(target, -1, group)
    if file.owner is not None:
        os.chown(target, file.owner, -1)
    target.chmod(file.mode | (0o440 if group is not None else 0))


def _own_folders(folder: pathlib.Path, group: int | None) -> None:
    if group is None:
        return
    for path in [folder, *(each for each in folder.rglob("*") if each.is_dir())]:
        os.chown(path, -1, group)
        path.chmod(0o2755)


def _link_names(folder: pathlib.Path, payload: payload_module.Payload) -> None:
    """A link for each first step of a path; links to what is gone are removed."""
    wanted = {path.split("/", 1)[0] for path in payload}
    for name in wanted:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted and entry.is_symlink():
            entry.unlink()
