"""Other users of the machine: what they may not enter, whatever an earlier version or the shell that started us left open."""

import os
import pathlib
import subprocess
import sys

import pytest

from pinnace.assemble import places

PROGRAM = """
import os, pathlib, sys
from pinnace.assemble import process
folder = pathlib.Path(sys.argv[1])
os.umask(int(sys.argv[2], 8))
async def main():
    (folder / "file").write_text("for every user of a pod")
    (folder / "folder").mkdir()
process.run(main, folder / "log", "info")
"""


def test_what_holds_others_files_is_closed_also_where_it_was_open(tmp_path: pathlib.Path) -> None:
    where = places.of(tmp_path / "data")
    for folder in (where.pki, where.store.parent, where.engine.parent, where.logs):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    places.close_folders(where, node=True)
    modes = {path.name: path.stat().st_mode & 0o777 for path in where.data.iterdir()}
    assert modes == {"pki": 0o700, "server": 0o700, "node": 0o700, "logs": 0o750}


def test_a_control_plane_alone_has_no_folder_of_a_node(tmp_path: pathlib.Path) -> None:
    where = places.of(tmp_path / "data")
    places.close_folders(where, node=False)
    assert not where.engine.parent.exists()


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_modes_of_files_do_not_follow_the_shell_that_started_us(umask: str, tmp_path: pathlib.Path) -> None:
    """With 077 a pod's other users could not read their /etc/hosts, with 000 they could write it."""
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path), umask], check=True, env=dict(os.environ))
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755
