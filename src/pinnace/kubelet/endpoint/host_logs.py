"""`/logs/` of the node's endpoint: the machine's log folder, as files and listings.

Who may read it was decided before (`nodes/log`). A link that leads out of the folder is not followed.
"""

import asyncio
import html
import os
import pathlib
import stat
import urllib.parse

from pinnace.kernel import paths
from pinnace.web import messages

FOLDER = pathlib.Path("/var/log")
_PIECE = 64 << 10
_TEXT = "text/plain; charset=utf-8"


class NotFound(Exception):
    """There is no such file or folder, or it is neither."""


async def serve(request: messages.Request, below: str, folder: pathlib.Path = FOLDER) -> messages.Response:
    """`below`: the path from the log folder on. Raises NotFound."""
    descriptor, mode = await asyncio.to_thread(_open, folder, below)
    if stat.S_ISREG(mode):
        first = await asyncio.to_thread(os.pread, descriptor, 512, 0)
        kind = "application/octet-stream" if b"\0" in first else _TEXT
        return messages.Response(200, [("content-type", kind)], _Content(descriptor))
    try:
        if not request.path.endswith("/"):
            name = urllib.parse.quote(request.path.rpartition("/")[2])
            return messages.Response(301, [("location", f"{name}/")], b"")
        page = await asyncio.to_thread(_listing, descriptor)
    finally:
        os.close(descriptor)
    return messages.Response(200, [("content-type", "text/html; charset=utf-8")], page)


def _open(folder: pathlib.Path, below: str) -> tuple[int, int]:
    """Without waiting for whoever may be at the other end of a fifo."""
    try:
        with paths.Tree(folder) as tree:
            descriptor = tree.open_beneath(below.strip("/"), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise NotFound(below) from error
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        os.close(descriptor)
        raise NotFound(below)
    return descriptor, mode


def _listing(descriptor: int) -> bytes:
    """As web servers of Go list a folder."""
    with os.scandir(descriptor) as entries:
        names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in entries)
    lines = (f'<a href="{urllib.parse.quote(name)}">{html.escape(name)}</a>\n' for name in names)
    return f"<pre>\n{''.join(lines)}</pre>\n".encode("utf-8", "replace")


class _Content:
    """What the file holds now; what is written to it from then on is not waited for.

    No generator: one that nobody began to read would never close the file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._left = os.fstat(descriptor).st_size

    def __aiter__(self) -> "_Content":
        return self

    async def __anext__(self) -> bytes:
        piece = b""
        if self._left > 0 and self._descriptor >= 0:
            piece = await asyncio.to_thread(os.read, self._descriptor, min(self._left, _PIECE))
        if not piece:
            await self.aclose()
            raise StopAsyncIteration
        self._left -= len(piece)
        return piece

    async def aclose(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
