"""A file is wholly there or not at all."""

import pathlib

import pytest

from pinnace.kit import files


@pytest.mark.parametrize("durable", [False, True])
def test_content_and_mode_replace_what_was_there(durable: bool, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and longer")
    files.write_atomic(path, b"new", 0o600, durable=durable)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "directory"
    target.mkdir()
    (target / "child").touch()
    with pytest.raises(OSError):
        files.write_atomic(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_what_an_interrupted_write_left_goes_and_nothing_else(tmp_path: pathlib.Path) -> None:
    for name in (".a.json.0123456789abcdef", "a.json", ".hidden", ".a.json.0123456789abcdeg", "0123456789abcdef"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.0123456789abcdef").mkdir()
    files.remove_temporaries(tmp_path)
    kept = {".folder.0123456789abcdef", ".a.json.0123456789abcdeg", ".hidden", "0123456789abcdef", "a.json"}
    assert {entry.name for entry in tmp_path.iterdir()} == kept


def test_a_folder_that_was_left_open_is_closed_and_a_narrower_one_stays(tmp_path: pathlib.Path) -> None:
    for before, wanted, after in ((0o755, 0o700, 0o700), (0o777, 0o750, 0o750), (0o500, 0o700, 0o500)):
        folder = tmp_path / oct(before)
        folder.mkdir()
        folder.chmod(before)
        files.close_folder(folder, wanted)
        assert folder.stat().st_mode & 0o777 == after
    files.close_folder(tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below").stat().st_mode & 0o777 == 0o700
