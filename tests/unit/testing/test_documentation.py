"""The examples of docs/testing-with-pinnace.md, run as a reader would run them."""

import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "testing-with-pinnace.md"
EXAMPLE = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_example_of_the_page_works(tmp_path: pathlib.Path) -> None:
    examples = EXAMPLE.findall(PAGE.read_text())
    tests = sum(text.count("\ndef test_") for _, text in examples)
    assert tests >= 7
    for name, text in examples:
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110, check=False)
    assert f"{tests} passed" in done.stdout, done.stdout + done.stderr
