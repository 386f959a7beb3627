"""Which place wins, what is refused, and that the refusal names place, line, value and what would be right."""

import pathlib
from typing import Any

import pytest

from pinnace.assemble import configuration

Line = configuration.Line


@pytest.mark.parametrize(
    ("flag", "variable", "files", "expected"),
    [
        (None, None, [], (6443, "default")),
        (None, None, [{"port": Line(3, "b:1")}], (3, "b:1")),
        (None, None, [{"port": Line(2, "a:1")}, {"port": Line(3, "b:1")}], (2, "a:1")),
        (None, "4", [{"port": Line(2, "a:1")}], (4, "PINNACE_PORT")),
        ("5", "4", [{"port": Line(2, "a:1")}], (5, "--port")),
        (None, "", [], (6443, "default")),
    ],
)
def test_the_strongest_place_wins_and_is_named(
    flag: str | None, variable: str | None, files: list[dict[str, Line]], expected: tuple[int, str]
) -> None:
    environment = {} if variable is None else {"PINNACE_PORT": variable}
    found = configuration.resolve({"port": flag}, environment, files)["port"]
    assert (found.value, found.origin) == expected
    assert found.is_said == (expected[1] != "default")


def test_every_setting_has_a_value_with_nothing_said() -> None:
    found = configuration.resolve({}, {}, [])
    assert tuple(found) == configuration.KEYS
    assert {value.origin for value in found.values()} == {"default"}


def test_the_folder_follows_the_name_unless_it_is_said() -> None:
    assert configuration.resolve({"name": "two"}, {}, [])["data-dir"].value.name == "pinnace-two"
    said = configuration.resolve({"name": "two", "data-dir": "/srv/x"}, {}, [])["data-dir"]
    assert said.value == pathlib.Path("/srv/x")


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("port", "6443", 6443),
        ("port", 1, 1),
        ("node", "no", False),
        ("node", True, True),
        ("node", "ON", True),
        ("merge-kubeconfig", "0", False),
        ("log-level", "DEBUG", "debug"),
        ("name", "a", "a"),
        ("name", "a-1", "a-1"),
        ("data-dir", "/x", pathlib.Path("/x")),
    ],
)
def test_values_are_read(key: str, raw: Any, value: Any) -> None:
    assert configuration.parse(key, raw, "here") == value


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("port", "0"),
        ("port", 65536),
        ("port", "abc"),
        ("port", True),
        ("port", -1),
        ("node", "perhaps"),
        ("log-level", "loud"),
        ("name", "../x"),
        ("name", "A"),
        ("name", ""),
        ("name", "-a"),
        ("name", "a" * 41),
        ("data-dir", ""),
        ("data-dir", 3),
    ],
)
def test_a_wrong_value_is_refused_with_place_value_and_remedy(key: str, raw: Any) -> None:
    with pytest.raises(configuration.ConfigurationError, match=r"^here: .* is not possible; give ") as caught:
        configuration.parse(key, raw, "here")
    assert repr(raw) in str(caught.value)


def test_files_are_read_with_their_lines_the_main_one_first_then_the_folder_backwards(tmp_path: pathlib.Path) -> None:
    main = tmp_path / "config.yaml"
    folder = tmp_path / "config.yaml.d"
    folder.mkdir()
    main.write_text("# ports\n\nport: 7000\n")
    (folder / "10.yaml").write_text("port: 1\nnode: false\n")
    (folder / "20.yaml").write_text("node: true\n")
    (folder / "30.yaml").write_text("")
    found = configuration.resolve({}, {}, configuration.read_files(main))
    assert (found["port"].value, found["port"].origin) == (7000, f"{main}:3")
    assert (found["node"].value, found["node"].origin) == (True, f"{folder / '20.yaml'}:1")


def test_no_file_says_nothing(tmp_path: pathlib.Path) -> None:
    assert configuration.read_files(tmp_path / "config.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port: 1\nprot: 2\n", r"config\.yaml:2: prot: no such setting; did you mean port\?"),
        ("log_level: info\n", r"config\.yaml:1: log_level: no such setting; did you mean log-level\?"),
        ("zzz: 1\n", r"known are data-dir, name, port"),
        ("- port\n", r"config\.yaml: not a mapping"),
        ("a: [\n", r"config\.yaml: not YAML"),
    ],
)
def test_a_wrong_file_names_file_line_and_remedy(tmp_path: pathlib.Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(configuration.ConfigurationError, match=message):
        configuration.read_files(path)


def test_a_wrong_value_in_a_file_names_its_line(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("node: true\nport: x\n")
    with pytest.raises(configuration.ConfigurationError, match=r"config\.yaml:2: port: 'x' is not possible"):
        configuration.resolve({}, {}, configuration.read_files(path))
