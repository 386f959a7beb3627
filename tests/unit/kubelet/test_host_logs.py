"""The machine's log folder over the node's endpoint."""

import asyncio
import os
import pathlib

import pytest

from pinnace.kubelet.endpoint import host_logs
from pinnace.web import messages


def get(folder: pathlib.Path, path: str) -> tuple[int, dict[str, str], bytes]:
    async def main() -> tuple[int, dict[str, str], bytes]:
        answer = await host_logs.serve(messages.Request("GET", f"/logs{path}"), path, folder)
        body = answer.body
        if not isinstance(body, bytes):
            body = b"".join([chunk async for chunk in body])  # type: ignore[union-attr, misc]
        return answer.status, dict(answer.headers), body

    return asyncio.run(main())


def test_folders_are_listed_and_files_are_shown(tmp_path: pathlib.Path) -> None:
    (tmp_path / "apt").mkdir()
    (tmp_path / "apt/a<b.log").write_text("x" * 100_000)
    (tmp_path / "wtmp").write_bytes(b"\0\1")
    status, headers, page = get(tmp_path, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page == b'<pre>\n<a href="apt/">apt/</a>\n<a href="wtmp">wtmp</a>\n</pre>\n'
    assert b'<a href="a%3Cb.log">a&lt;b.log</a>' in get(tmp_path, "/apt/")[2]
    assert get(tmp_path, "/apt/a<b.log") == (200, {"content-type": "text/plain; charset=utf-8"}, b"x" * 100_000)
    assert get(tmp_path, "/wtmp")[1] == {"content-type": "application/octet-stream"}
    assert get(tmp_path, "/apt")[:2] == (301, {"location": "apt/"})


@pytest.mark.parametrize("path", ["/none", "/link", "/../secret", "/fifo", "/nul\0"])
def test_nothing_outside_and_nothing_that_could_block_is_opened(tmp_path: pathlib.Path, path: str) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "fifo")
    with pytest.raises(host_logs.NotFound):
        get(folder, path)
