"""The process that unpacks one layer, apart from the agent: so that its event loop never waits for the interpreter, layers use several
processors, and memory goes back when it is done.

stdin: one JSON object `{"source", "offset", "length", "destination", "diff_id"}`. stdout: lines of JSON: `{"read": n}` while it
works (bytes of the source so far), then `{"size", "entries"}` or `{"error"}`.
"""

import json
import os
import pathlib
import sys
from typing import Any

from pinnace.oci import compression, tar, unpack

REPORT_EVERY = 4 << 20


def main() -> int:
    os.umask(0)
    request = json.load(sys.stdin)
    try:
        answer = _unpack(request)
    except (OSError, ValueError) as error:
        _tell({"error": str(error)})
        return 1
    _tell(answer)
    return 0


def _unpack(request: dict[str, Any]) -> dict[str, Any]:
    read, reported = 0, 0

    def on_read(size: int) -> None:
        nonlocal read, reported
        read += size
        if read - reported >= REPORT_EVERY:
            reported = read
            _tell({"read": read})

    descriptor = os.open(request["source"], os.O_RDONLY | os.O_CLOEXEC)
    try:
        section = compression.Section(descriptor, request["offset"], request["length"])
        pipeline = compression.Pipeline(section, on_read)
        try:
            stream = tar.Stream(pipeline.fill)
            result = unpack.unpack(stream, pathlib.Path(request["destination"]))
            stream.drain()
        finally:
            pipeline.stop()
    finally:
        os.close(descriptor)
    if pipeline.digest != request["diff_id"]:
        raise unpack.UnpackError(f"layer content is {pipeline.digest}, its configuration says {request['diff_id']}")
    return {"size": result.size, "entries": result.entries}


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
