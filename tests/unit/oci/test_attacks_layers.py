"""Layers made to hurt whoever unpacks them: what they make us hold is bounded, whatever they say and however often."""

import gzip
import io
import os
import pathlib
import tarfile
import tracemalloc
from collections.abc import Iterator

import pytest

from pinnace.oci import archive, tar, unpack

PEAK = 16 << 20


def header(name: str, kind: bytes, size: int = 0, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % tar.BLOCK)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def pax_header(key: bytes, value: bytes) -> bytes:
    data = pax_record(key, value)
    return header("pax", b"x", len(data)) + padded(data)


def stream(pieces: Iterator[bytes]) -> tar.Stream:
    return tar.Stream(lambda: next(pieces, b""))


def held_while_reading(pieces: Iterator[bytes]) -> tuple[list[tar.Entry], int]:
    tracemalloc.start()
    try:
        entries = list(tar.Reader(stream(pieces)))
        return entries, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("prefix", [b"comment.", b"SCHILY.xattr.user."])
def test_of_many_pax_headers_the_last_one_counts(prefix: bytes) -> None:
    """Each a MiB, each with a key of its own: 200 MB of them hold no more than one does."""

    def pieces() -> Iterator[bytes]:
        for number in range(200):
            yield pax_header(prefix + b"%d" % number, bytes(1_000_000))
        yield pax_header(b"path", b"last")
        yield header("f", b"0")

    entries, peak = held_while_reading(pieces())
    assert [(entry.name, entry.attributes) for entry in entries] == [("last", {})]
    assert peak < PEAK


def test_pax_records_without_meaning_are_not_kept() -> None:
    records = b"".join(pax_record(b"k%d" % number, b"") for number in range(80_000))
    assert tar.parse_pax(records) == {}


@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_names_longer_than_any_path_are_refused(kind: bytes) -> None:
    def pieces() -> Iterator[bytes]:
        name = b"d/" * 10_000
        yield header("long", kind, len(name)) + padded(name)
        yield header("f", b"5" if kind == b"L" else b"2", link="x")

    with pytest.raises(tar.TarError, match="20000 bytes, at most 4095"):
        held_while_reading(pieces())


def test_a_long_name_larger_than_its_bound_is_not_read() -> None:
    def pieces() -> Iterator[bytes]:
        yield header("long", b"L", 1 << 30)
        while True:
            yield bytes(1 << 16)

    with pytest.raises(tar.TarError, match="at most 65536"):
        held_while_reading(pieces())


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")
def test_directories_may_not_have_endless_names_together(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MAXIMUM_PATH_BYTES", 1000)

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            yield header(f"directory-{number}", b"5")

    with pytest.raises(unpack.UnpackError, match="more than 1000 bytes together"):
        unpack.unpack(stream(pieces()), tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")
@pytest.mark.parametrize("content", [b"", bytes(1 << 14)])
def test_a_full_disk_is_seen_before_it_is_full(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """One large file and many empty ones alike."""
    monkeypatch.setattr(unpack, "CHECK_SPACE_EVERY", 1 << 12)
    monkeypatch.setattr(unpack, "SPARE_BYTES", 1 << 62)

    def pieces() -> Iterator[bytes]:
        for number in range(10):
            yield header(f"f{number}", b"0", len(content)) + content

    with pytest.raises(unpack.UnpackError, match="no space left"):
        unpack.unpack(stream(pieces()), tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")
def test_whiteouts_may_come_twice_and_hide_nothing_of_their_own_layer(tmp_path: pathlib.Path) -> None:
    def pieces() -> Iterator[bytes]:
        for name in ("a/.wh.gone", "a/.wh.gone", "a/.wh..wh..opq", "a/.wh..wh..opq", ".wh.a", ".wh.a"):
            yield header(name, b"0")

    assert unpack.unpack(stream(pieces()), tmp_path).entries == 6
    assert (tmp_path / "a/gone").is_char_device()


def test_a_compressed_archive_does_not_fill_the_disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "CHECK_SPACE_EVERY", 1 << 12)
    monkeypatch.setattr(archive, "SPARE_BYTES", 1 << 62)
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(bytes(32 << 20)))
    with pytest.raises(archive.ArchiveError, match="no space left"):
        archive.decompress_to(tmp_path / "bomb.tar.gz", tmp_path / "out")


def test_an_archive_may_not_have_endless_names(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAXIMUM_NAME_BYTES", 1000)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for number in range(100):
            file.addfile(tarfile.TarInfo(f"{number:020d}"))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    with pytest.raises(archive.ArchiveError, match="more than 1000 bytes together"):
        archive.read_archive(tmp_path / "a.tar")
