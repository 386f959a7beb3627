"""How commands speak: tables for people, JSON for programs, progress only on a terminal."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any


class CommandFailed(Exception):
    """Ends the command with exit code 1 and this text."""


class Interrupted(Exception):
    """Ctrl-C, with what goes on nevertheless."""


def error(text: str) -> None:
    print(f"{_styled('error:', '31')} {as_called(text)}", file=sys.stderr)


def as_called(text: str) -> str:
    """Commands in hints as they work here: `./pinnace up` where a checkout is used and nothing of that name is on PATH."""
    called = os.environ.get("PINNACE_CALLED", "")
    if not called or shutil.which("pinnace"):
        return text
    return re.sub(r"(`(?:sudo )?|Try: )pinnace (?=[a-z-])", lambda found: f"{found[1]}{called} ", text)


def reason(failed: OSError) -> str:
    """`/srv/x: permission denied`, as shells say it."""
    what = (failed.strerror or str(failed)).lower()
    return f"{failed.filename}: {what}" if failed.filename else what


def warning(text: str) -> None:
    print(f"{_styled('warning:', '33')} {as_called(text)}", file=sys.stderr)


def as_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as kubectl prints them: upper-case headings, three spaces between."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class Progress:
    """One line per step on stderr: rewritten with the seconds on a terminal, plain lines where `CI` is set (a log keeps them).

    Nothing with `quiet`, and nothing into pipes and files: programs read the result alone.
    """

    def __init__(self, *, quiet: bool) -> None:
        in_ci = bool(os.environ.get("CI"))
        self._live = sys.stderr.isatty() and not in_ci
        self._quiet = quiet or not (self._live or in_ci)
        self._step = ""
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        if self._quiet or text == self._step:
            return
        self.finish()
        self._step = text
        self._began = time.monotonic()
        if self._live:
            sys.stderr.write(f"  {text} …")
            sys.stderr.flush()

    def update(self, text: str) -> None:
        """Within a step: how far it is. Shown on a terminal only."""
        if self._live and not self._quiet:
            sys.stderr.write(f"\r\x1b[2K  {self._step} … {text}")
            sys.stderr.flush()

    def abandon(self) -> None:
        """The step failed: its line ends without a tick, and the error follows."""
        if self._step and self._live:
            sys.stderr.write("\n")
        self._step = ""

    def finish(self) -> None:
        if not self._step:
            return
        took = f"{time.monotonic() - self._began:.1f} s"
        if self._live:
            sys.stderr.write(f"\r\x1b[2K{_styled('✓', '32')} {self._step} ({took})\n")
        else:
            sys.stderr.write(f"{self._step} ({took})\n")
        self._step = ""


def _styled(text: str, code: str) -> str:
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def human_size(size: float) -> str:
    """Decimal units, as docker prints them: `12.3MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"
