"""Reading CRI logs: what is shown of a file, from where on, how it is followed."""

import asyncio
import gzip
import os
import pathlib

import pytest

from pinnace.engine import logs


def stamp(number: int) -> str:
    return f"2026-01-01T00:00:{number:02d}.000000000+00:00"


def line(number: int, text: str, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"{stamp(number)} {stream} {tag} {text}\n".encode()


def read(path: pathlib.Path, **options: object) -> bytes:
    async def main() -> bytes:
        return b"".join([data async for _, data in logs.read(path, logs.Options(**options))])  # type: ignore[arg-type]

    return asyncio.run(main())


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """Two lines, one of them long and in three parts with another stream's line in between, and a last one."""
    result = tmp_path / "0.log"
    result.write_bytes(
        line(1, "first")
        + line(2, "a" * 10, tag="P")
        + line(3, "warning", stream="stderr")
        + line(4, "b" * 10, tag="P")
        + line(5, "c")
        + line(6, "last")
    )
    return result


LONG = b"a" * 10
SECOND = b"b" * 10 + b"c\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"first\n" + LONG + b"warning\n" + SECOND + b"last\n"),
        ({"tail": 0}, b""),
        ({"tail": 1}, b"last\n"),
        ({"tail": 2}, b"warning\n" + SECOND + b"last\n"),
        ({"tail": 3}, LONG + b"warning\n" + SECOND + b"last\n"),
        ({"tail": 100}, b"first\n" + LONG + b"warning\n" + SECOND + b"last\n"),
        ({"limit_bytes": 8}, b"first\naa"),
        ({"limit_bytes": 0}, b""),
        ({"stream": "stderr"}, b"warning\n"),
        ({"stream": "stdout"}, b"first\n" + LONG + SECOND + b"last\n"),
        ({"since_ns": logs.time_ns(stamp(6))}, b"last\n"),
        ({"since_ns": logs.time_ns(stamp(7))}, b""),
        ({"tail": 1, "timestamps": True}, b"2026-01-01T00:00:06.000000000Z last\n"),
        (
            {"stream": "stdout", "timestamps": True, "since_ns": logs.time_ns(stamp(2))},
            b"2026-01-01T00:00:02.000000000Z " + LONG + SECOND + b"2026-01-01T00:00:06.000000000Z last\n",
        ),
    ],
)
def test_options(path: pathlib.Path, options: dict[str, object], expected: bytes) -> None:
    assert read(path, **options) == expected


def test_tail_over_many_blocks(tmp_path: pathlib.Path) -> None:
    """Lines that lie across the blocks in which the end is searched."""
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(line(1, f"{number} " + "x" * (number * 37 % 4000)) for number in range(500)))
    for count in (1, 7, 100, 499, 500, 501):
        shown = read(path, tail=count).splitlines()
        assert [int(text.split()[0]) for text in shown] == list(range(500))[-count:]


def test_damaged_lines_are_left_out(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"\0\0\0\n\nnot a line\n" + line(1, "good") + b"2026-01-01T00:00:00Z stdout F cut off")
    assert read(path) == b"good\n"


@pytest.mark.parametrize("raw", [b"", b"x", b"t stdout", b"t other F x", b"t stdout X x"])
def test_parse_refuses(raw: bytes) -> None:
    with pytest.raises(ValueError):
        logs.parse(raw)


def test_parse_takes_empty_lines_and_further_tags() -> None:
    assert logs.parse(b"t stdout F \n").text == b""
    assert logs.parse(b"t stdout F").text == b""
    assert logs.parse(b"t stderr P:x text").is_partial


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00.000000001+01:00", 1),
        ("1970-01-01T00:00:00.123456789+00:00", 123_456_789),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert logs.time_ns(text) == expected


def test_rotated_files_come_first(path: pathlib.Path) -> None:
    (path.parent / "0.log.20260101-000000.gz").write_bytes(gzip.compress(line(0, "oldest")))
    (path.parent / "0.log.20260101-000001").write_bytes(line(0, "older"))
    (path.parent / "0.log.20260101-000000.tmp").write_bytes(line(0, "half compressed"))
    assert read(path, include_rotated=True, limit_bytes=19) == b"oldest\nolder\nfirst\n"


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (0, b""),
        (1, b"last\n"),
        (4, b"first\n" + LONG + b"warning\n" + SECOND + b"last\n"),
        (5, b"older 2\nfirst\n" + LONG + b"warning\n" + SECOND + b"last\n"),
        (7, b"oldest 2\nolder\nolder 2\nfirst\n" + LONG + b"warning\n" + SECOND + b"last\n"),
        (100, b"oldest\noldest 2\nolder\nolder 2\nfirst\n" + LONG + b"warning\n" + SECOND + b"last\n"),
    ],
)
def test_a_tail_reaches_back_over_rotated_files(path: pathlib.Path, tail: int, expected: bytes) -> None:
    (path.parent / "0.log.20260101-000000.gz").write_bytes(gzip.compress(line(0, "oldest") + line(0, "oldest 2")))
    (path.parent / "0.log.20260101-000001").write_bytes(line(0, "older") + line(0, "older 2"))
    assert read(path, include_rotated=True, tail=tail) == expected


def test_a_silent_container_has_a_tail_after_its_log_was_rotated(path: pathlib.Path) -> None:
    path.rename(path.with_name("0.log.20260101-000000"))
    assert read(path, include_rotated=True, tail=1) == b"last\n", "before the monitor made a new file"
    path.touch()
    assert read(path, include_rotated=True, tail=1) == b"last\n"
    assert read(path, include_rotated=True, since_ns=logs.time_ns(stamp(6))) == b"last\n"


def test_a_compressed_file_that_is_cut_short_shows_what_can_be_read(path: pathlib.Path) -> None:
    whole = gzip.compress(b"".join(line(0, os.urandom(20).hex()) for _ in range(1000)))
    (path.parent / "0.log.20260101-000000.gz").write_bytes(whole[: len(whole) // 2])
    assert read(path, include_rotated=True, tail=1) == b"last\n"
    assert read(path, include_rotated=True).endswith(b"last\n")


def test_a_slow_reader_misses_no_file_of_several_rotations(path: pathlib.Path) -> None:
    async def main() -> None:
        ended = asyncio.Event()
        (path.parent / "0.log.20260101-000000").write_bytes(line(0, "known before"))
        source = logs.read(path, logs.Options(follow=True, tail=1), ended.wait)
        assert await anext(source) == ("stdout", b"last\n")
        for number in (1, 2, 3):
            path.rename(path.with_name(f"0.log.20260101-00000{number}"))
            path.write_bytes(line(7, f"after rotation {number}"))
        ended.set()
        rest = b"".join([data async for _, data in source])
        assert rest == b"after rotation 1\nafter rotation 2\nafter rotation 3\n"

    asyncio.run(main())


def test_missing_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


def test_follow_until_the_end(path: pathlib.Path) -> None:
    """What is appended comes at once; what was written before the container's death comes before the end."""

    async def main() -> None:
        ended = asyncio.Event()
        source = logs.read(path, logs.Options(follow=True, tail=0), ended.wait)
        for number in range(3):
            following = asyncio.ensure_future(anext(source))
            await asyncio.sleep(0)
            with path.open("ab") as file:
                file.write(line(7, f"more {number}"))
            assert await asyncio.wait_for(following, 10) == ("stdout", b"more %d\n" % number)
        with path.open("ab") as file:
            file.write(line(8, "final"))
        ended.set()
        rest = [data async for _, data in source]
        assert rest == [b"final\n"]

    asyncio.run(main())


def test_follow_waits_for_the_rest_of_a_line(path: pathlib.Path) -> None:
    async def main() -> None:
        source = logs.read(path, logs.Options(follow=True, tail=0))
        following = asyncio.ensure_future(anext(source))
        whole = line(7, "one line")
        for part in (whole[:20], whole[20:]):
            await asyncio.sleep(0)
            with path.open("ab") as file:
                file.write(part)
        assert await asyncio.wait_for(following, 10) == ("stdout", b"one line\n")
        await source.aclose()

    asyncio.run(main())


def test_follow_over_rotation(path: pathlib.Path) -> None:
    """Lines written to the old file after its renaming come before those of the new one."""

    async def main() -> None:
        ended = asyncio.Event()
        source = logs.read(path, logs.Options(follow=True, tail=0), ended.wait)
        following = asyncio.ensure_future(anext(source))
        await asyncio.sleep(0)
        with path.open("ab") as old:
            path.rename(path.with_name("0.log.1"))
            old.write(line(7, "old"))
        path.write_bytes(line(8, "new"))
        ended.set()
        shown = [await asyncio.wait_for(following, 10), *[piece async for piece in source]]
        assert [data for _, data in shown] == [b"old\n", b"new\n"]

    asyncio.run(main())


@pytest.mark.parametrize("rotated", [False, True])
def test_links_and_pipes_in_the_place_of_a_log_are_not_followed(tmp_path: pathlib.Path, rotated: bool) -> None:
    """A pod that mounts the folder of logs sees no other file of the host through `kubectl logs`, and holds up nobody."""
    secret, log = tmp_path / "secret", tmp_path / "0.log"
    secret.write_bytes(line(1, "of the host"))
    victim = tmp_path / "0.log.20260101-000000" if rotated else log
    if rotated:
        log.write_bytes(line(2, "own"))
    victim.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic"):
        read(log, include_rotated=True)
    victim.unlink()
    os.mkfifo(victim)
    with pytest.raises(OSError, match="regular"):
        read(log, include_rotated=True)
