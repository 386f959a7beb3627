"""Logs stay bounded, and no line is lost when a file is turned over."""

import pathlib
import subprocess
import sys

from pinnace.assemble import logs

WRITER = """
import logging, pathlib, sys
from pinnace.assemble import log_file
log = logging.getLogger()
log.addHandler(log_file.LogFile(pathlib.Path(sys.argv[1]), limit=1000))
for number in range(60):
    log.warning("line %d %s", number, "x" * 20)
    print("out", number, flush=True)
"""


def test_a_process_turns_its_own_log_over_with_both_descriptors(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "server.log"
    with path.open("ab") as file:
        subprocess.run([sys.executable, "-c", WRITER, str(path)], stdout=file, stderr=file, check=True)
    older = path.with_name("server.log.1").read_text().splitlines()
    newer = path.read_text().splitlines()
    assert len("\n".join(newer)) < 1100
    kept = [line.split()[1] for line in older + newer if line.startswith("line")]
    assert kept == [str(number) for number in range(60 - len(kept), 60)]
    out = [line.split()[1] for line in older + newer if line.startswith("out")]
    assert out[-1] == "59"


def test_output_that_goes_elsewhere_is_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "server.log"
    with (tmp_path / "elsewhere").open("ab") as file:
        subprocess.run([sys.executable, "-c", WRITER, str(path)], stdout=file, stderr=file, check=True)
    assert not path.exists()
    assert (tmp_path / "elsewhere").read_text().count("line ") == 60


def test_only_a_large_file_is_set_aside_before_a_start(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "node.log"
    logs.bound(path)
    path.write_text("small")
    logs.bound(path)
    assert path.exists()
    with path.open("ab") as file:
        file.truncate(logs.LIMIT_BYTES)
    logs.bound(path)
    assert not path.exists()
    assert (tmp_path / "node.log.1").exists()
