"""The tar reader reads what archivers write, and refuses in bounded memory what they do not."""

import contextlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.oci import tar


def stream(data: bytes, piece: int = 700) -> tar.Stream:
    source = io.BytesIO(data)
    return tar.Stream(lambda: source.read(piece))


def read(data: bytes) -> list[tuple[tar.Entry, bytes]]:
    reader = tar.Reader(stream(data))
    return [(entry, b"".join(reader.content())) for entry in reader]


def build(kind: int, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def info(name: str, **values: object) -> tarfile.TarInfo:
    result = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(result, key, value)
    return result


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_every_format(kind: int) -> None:
    data = build(
        kind,
        (info("d", type=tarfile.DIRTYPE, mode=0o1777), b""),
        (info("d/f", mode=0o4755, uid=1000, gid=2000, mtime=1234567890), b"x" * 1500),
        (info("d/l", type=tarfile.SYMTYPE, linkname="../f"), b""),
        (info("d/h", type=tarfile.LNKTYPE, linkname="d/f"), b""),
        (info("n", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
        (info("p", type=tarfile.FIFOTYPE), b""),
    )
    entries = read(data)
    assert [(e.name.rstrip("/"), e.kind.name) for e, _ in entries] == [
        ("d", "DIRECTORY"), ("d/f", "FILE"), ("d/l", "SYMLINK"), ("d/h", "HARD_LINK"), ("n", "CHARACTER"), ("p", "FIFO"),
    ]  # fmt: skip
    file, content = entries[1]
    assert (file.mode, file.uid, file.gid, file.mtime_ns, content) == (
        0o4755, 1000, 2000, 1234567890 * 10**9, b"x" * 1500,
    )  # fmt: skip
    assert entries[2][0].link == "../f"
    assert entries[4][0].device == (1, 3)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_long_names_and_large_numbers(kind: int) -> None:
    name, link = "a/" * 200 + "f", "b/" * 300 + "t"
    data = build(kind, (info(name, uid=3_000_000_000), b"1"), (info("l", type=tarfile.SYMTYPE, linkname=link), b""))
    (first, content), (second, _) = read(data)
    assert (first.name, first.uid, content) == (name, 3_000_000_000, b"1")
    assert second.link == link


def test_reads_attributes_and_fractions_of_seconds() -> None:
    member = info("f", pax_headers={"SCHILY.xattr.user.a": "1", "mtime": "12.345678901"})
    ((entry, _),) = read(build(tarfile.PAX_FORMAT, (member, b"")))
    assert entry.attributes == {"user.a": b"1"}
    assert entry.mtime_ns == 12_345_678_901


def test_content_may_be_left_unread() -> None:
    data = build(tarfile.PAX_FORMAT, (info("a"), b"x" * 10_000), (info("b"), b"y"))
    assert [entry.name for entry in tar.Reader(stream(data))] == ["a", "b"]


def test_names_that_are_not_utf8_survive() -> None:
    ((entry, _),) = read(build(tarfile.GNU_FORMAT, (info("caf\udce9"), b"")))
    assert entry.name == "caf\udce9"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d[:700], "unexpected end"),
        (lambda d: d[:300], "inside a header"),
        (lambda d: d[:10] + b"X" + d[11:], "checksum"),
        (lambda d: b"garbage" * 100, "checksum|malformed number"),
    ],
)
def test_refuses_damage(damage, message: str) -> None:
    with pytest.raises(tar.TarError, match=message):
        read(damage(build(tarfile.USTAR_FORMAT, (info("a"), b"x" * 1000))))


def header(type_flag: bytes, size: bytes = b"00000000000\0", name: bytes = b"n") -> bytes:
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = size
    block[156:157] = type_flag
    block[257:263] = b"ustar\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(b"S"), "sparse"),
        (header(b"V"), "unknown type"),
        (header(b"0", size=b"\xff" * 12), "negative|too large"),
        (header(b"0", size=b"\x80" + b"\xff" * 11), "too large"),
        (header(b"0", size=b"9999999999 \0"), "malformed number"),
        (header(b"L", size=b"77777777777\0"), "at most"),
        (header(b"x", size=b"77777777777\0"), "at most"),
        (header(b"x", size=b"00000000012\0") + b"99 path=xx".ljust(512, b"\0"), "malformed pax"),
        (header(b"x", size=b"00000000012\0") + b"abcdefghij".ljust(512, b"\0"), "malformed pax"),
        (header(b"0", size=b"00000001000\0"), "unexpected end"),
    ],
)
def test_refuses_what_lies(data: bytes, message: str) -> None:
    with pytest.raises(tar.TarError, match=message):
        read(data)


def test_a_huge_claimed_size_costs_nothing() -> None:
    """A member that says to hold 8 GiB and does not is refused without room being made for it."""
    with pytest.raises(tar.TarError, match="unexpected end"):
        read(header(b"0", size=b"77777777777\0") + b"x" * 512)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2048))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    with contextlib.suppress(tar.TarError):
        read(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1535), st.binary(min_size=1, max_size=30))
def test_arbitrary_damage_raises_nothing_else(position: int, patch: bytes) -> None:
    data = bytearray(build(tarfile.PAX_FORMAT, (info("é" * 60, uid=5_000_000), b"x" * 100)))
    data[position : position + len(patch)] = patch
    with contextlib.suppress(tar.TarError):
        read(bytes(data))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (bytes(tar.BLOCK), True),
        (b"", False),
        (b"# A readme\n", False),
        (b"# A readme that is long enough. " * 16, False),
        (tarfile.TarInfo("name").tobuf(), True),
    ],
)
def test_a_file_that_is_no_archive_is_told_by_its_first_block(block: bytes, expected: bool) -> None:
    assert tar.is_header(block[: tar.BLOCK]) is expected
