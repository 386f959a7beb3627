"""Log files that stay small: one of at most `LIMIT_BYTES` and the one before it, `<name>.1`. For whoever starts a process; what the process
does itself is in `log_file`."""

import pathlib

LIMIT_BYTES = 10 << 20


def bound(path: pathlib.Path) -> None:
    """Before the file is opened for more: a large one becomes `<name>.1`, in the place of the last such."""
    try:
        if path.stat().st_size >= LIMIT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    except FileNotFoundError:
        return
