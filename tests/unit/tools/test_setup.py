"""`tools/setup.sh`, which `./pinnace` runs at first use: two first uses at once make one environment."""

import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]

FAKE_PYTHON = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-r requirements.lock") echo installing > {began}; cat {go} ;;
esac
"""


def checkout(folder: pathlib.Path) -> pathlib.Path:
    (folder / "tools").mkdir()
    for name in (
        "pyproject.toml",
        "requirements.lock",
        "tools/setup.sh",
        "tools/build_definitions.py",
        "tools/enums.txt",
    ):
        shutil.copy(ROOT / name, folder / name)
    for name in ("began", "go"):
        os.mkfifo(folder / name)
    python = folder / "python"
    python.write_text(FAKE_PYTHON.format(**{name: folder / name for name in ("log", "began", "go")}))
    python.chmod(0o755)
    return folder


def start(folder: pathlib.Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", str(folder / "tools/setup.sh")],
        env={**os.environ, "PYTHON": str(folder / "python")},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_first_use_waits_for_the_first_and_installs_nothing_again(tmp_path: pathlib.Path) -> None:
    folder = checkout(tmp_path)
    with start(folder) as first:
        assert (folder / "began").read_text() == "installing\n"
        with start(folder) as second:
            assert second.stderr is not None
            assert "waiting" in second.stderr.readline()
            (folder / "go").write_text("")
            assert second.wait() == 0
        assert first.wait() == 0
    calls = (folder / "log").read_text().splitlines()
    assert [call for call in calls if call.startswith("-m venv")] == ["-m venv --clear .venv"]
    assert len([call for call in calls if "pip install" in call]) == 2
