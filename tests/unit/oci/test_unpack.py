"""A layer becomes a directory, and nothing in it leads outside.

Owners and devices need root; without it these tests are skipped.
"""

import io
import os
import pathlib
import stat
import tarfile

import pytest

from pinnace.oci import tar, unpack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")


def member(name: str, data: bytes = b"", **values: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mtime = 1_000_000_000
    for key, value in values.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, mode: int = 0o755, **values: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=mode, **values)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def run(folder: pathlib.Path, *members: tuple[tarfile.TarInfo, bytes]) -> pathlib.Path:
    """Unpack into a folder beside which a secret lies."""
    (folder / "secret").write_text("untouched")
    root = folder / "layer"
    root.mkdir()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    try:
        unpack.unpack(tar.Stream(lambda: buffer.read(1 << 16)), root)
    finally:
        assert (folder / "secret").read_text() == "untouched"
        assert sorted(path.name for path in folder.iterdir()) == ["layer", "secret"]
    return root


def test_keeps_modes_owners_times_and_links(tmp_path: pathlib.Path) -> None:
    root = run(
        tmp_path,
        directory("./", 0o751),
        directory("bin", 0o1777, uid=3, gid=4),
        member("bin/tool", b"data", mode=0o4755, uid=5, gid=6),
        hard("bin/other", "bin/tool"),
        link("bin/link", "/etc/passwd"),
        member("bin/fifo", type=tarfile.FIFOTYPE, mode=0o600),
        member("bin/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    )
    tool = (root / "bin/tool").stat()
    assert (stat.S_IMODE(tool.st_mode), tool.st_uid, tool.st_gid, tool.st_nlink) == (0o4755, 5, 6, 2)
    assert tool.st_mtime == 1_000_000_000
    assert stat.S_IMODE((root / "bin").stat().st_mode) == 0o1777
    assert (root / "bin").stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE(root.stat().st_mode) == 0o751
    assert os.readlink(root / "bin/link") == "/etc/passwd"
    assert (root / "bin/null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO((root / "bin/fifo").stat().st_mode)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "../../../../tmp/evil", ".."])
def test_refuses_paths_that_climb_out(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(unpack.UnpackError, match="outside"):
        run(tmp_path, member(name, b"x"))


def test_absolute_names_stay_inside(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, member("/etc/evil", b"x"))
    assert (root / "etc/evil").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["/", "..", "../..", "../secret/..", "/proc/self/root", "/proc/1/root", "//"])
def test_symlinked_folders_lead_nowhere_outside(tmp_path: pathlib.Path, target: str) -> None:
    """A file written through a symlink lands inside the layer, as in a chroot, or fails."""
    try:
        root = run(tmp_path, link("out", target), member("out/secret", b"evil"), member("out/new", b"evil"))
    except unpack.UnpackError:
        return
    assert any(path.name == "secret" for path in root.rglob("secret"))


def test_writing_to_a_symlink_replaces_it(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, link("file", "../secret"), member("file", b"evil"))
    assert not (root / "file").is_symlink()
    assert (root / "file").read_bytes() == b"evil"


def test_a_folder_over_a_symlink_replaces_it(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, link("d", ".."), directory("d", 0o777), member("d/secret", b"evil"))
    assert (root / "d/secret").read_bytes() == b"evil"


@pytest.mark.parametrize("target", ["../secret", "/secret", "link/secret", "../../secret"])
def test_hard_links_reach_only_inside(tmp_path: pathlib.Path, target: str) -> None:
    with pytest.raises(unpack.UnpackError):
        run(tmp_path, link("link", ".."), hard("stolen", target))


def test_hard_link_to_a_symlink_links_the_symlink(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, link("a", "../secret"), hard("b", "a"))
    assert os.readlink(root / "b") == "../secret"


def test_symlink_loops_end(tmp_path: pathlib.Path) -> None:
    with pytest.raises(unpack.UnpackError):
        run(tmp_path, link("a", "b"), link("b", "a"), member("a/x", b""))


def test_whiteouts_become_what_overlayfs_reads(tmp_path: pathlib.Path) -> None:
    root = run(
        tmp_path,
        member("etc/.wh.gone"),
        directory("var"),
        member("var/.wh..wh..opq"),
        member(".wh..wh.plnk"),
        member("var/new", b"1"),
    )
    gone = (root / "etc/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(root / "var", "trusted.overlay.opaque") == b"y"
    assert not (root / ".wh..wh.plnk").exists()
    assert (root / "var/new").exists()


def test_a_folder_after_its_whiteout_is_opaque(tmp_path: pathlib.Path) -> None:
    """Removed and made anew in one layer: nothing of the lower layers may show through."""
    root = run(tmp_path, member(".wh.data"), directory("data"), member("data/x", b""))
    assert os.getxattr(root / "data", "trusted.overlay.opaque") == b"y"


def test_a_whiteout_after_its_folder_keeps_the_folder(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, directory("data"), member("data/x", b"1"), member(".wh.data"))
    assert (root / "data/x").read_bytes() == b"1"
    assert os.getxattr(root / "data", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize("name", [".wh.", ".wh...", ".wh.."])
def test_malformed_whiteouts_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    with pytest.raises(unpack.UnpackError, match="whiteout"):
        run(tmp_path, member(name))


def test_only_harmless_attributes_are_kept(tmp_path: pathlib.Path) -> None:
    """`trusted.overlay.redirect` would let a layer move paths of overlayfs."""
    names = (
        "user.kept",
        "user.overlay.redirect",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "security.selinux",
    )
    headers = {f"SCHILY.xattr.{name}": "/etc" for name in names}
    root = run(tmp_path, member("f", b"", pax_headers=headers), directory("d", pax_headers=headers))
    assert os.listxattr(root / "f") == ["user.kept"]
    assert os.listxattr(root / "d") == ["user.kept"]


def test_a_zero_device_is_no_back_door_to_whiteouts(tmp_path: pathlib.Path) -> None:
    with pytest.raises(unpack.UnpackError, match="whiteout"):
        run(tmp_path, member("x", type=tarfile.CHRTYPE, devmajor=0, devminor=0))


def test_missing_folders_are_made(tmp_path: pathlib.Path) -> None:
    root = run(tmp_path, member("a/b/c/d", b"1"))
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o755


def test_later_members_win(tmp_path: pathlib.Path) -> None:
    root = run(
        tmp_path, member("x", b"1"), member("x", b"2"), directory("y"), member("y/z", b"1"), member("y", b"3"),
        link("w", "x"), directory("w"),
    )  # fmt: skip
    assert (root / "x").read_bytes() == b"2"
    assert (root / "y").read_bytes() == b"3"
    assert (root / "w").is_dir()
    assert not (root / "w").is_symlink()
