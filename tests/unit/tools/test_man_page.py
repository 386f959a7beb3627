"""The manual page tells what the commands are."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_the_manual_page_is_the_one_of_the_commands() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "tools/man_page.py"], capture_output=True, text=True, check=True
    ).stdout
    assert made == (ROOT / "packaging/pinnace.1").read_text(), "run `make man`"
    for part in ("pinnace image build\\-base", "\\-\\-foreground", "\\-h, \\-\\-help", "EXIT STATUS"):
        assert part in made
