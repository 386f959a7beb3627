"""Records come back from the disk as they went."""

import pathlib

import pytest

from pinnace.engine import interface, monitor, records, stop


def test_container_record_round_trip() -> None:
    spec = interface.ContainerSpec(
        name="n", image="i", sandbox="s", command=("a", "b"), environment=(("A", "1"),),
        mounts=(interface.Mount(pathlib.Path("/src"), "/dst", read_only=True, propagation="rslave"),),
        devices=(("/dev/null", "/dev/x", "rw"),), resources=interface.Resources(memory_bytes=5, oom_score_adj=-1),
        security=interface.Security(user="1", supplemental_groups=(1, 2)), log_path=pathlib.Path("/log"), labels={"a": "b"},
    )  # fmt: skip
    record = records.ContainerRecord(
        "id",
        spec,
        "sha256:1",
        ("sha256:2",),
        "/cg",
        pathlib.Path("/log"),
        5,
        interface.ContainerStatus.EXITED,
        exit_code=3,
    )
    assert records.decode(records.ContainerRecord, records.encode(record)) == record


def test_sandbox_record_round_trip() -> None:
    spec = interface.SandboxSpec("id", "host", {"a": "b"}, sysctls={"x": "y"}, resources=interface.Resources(pids=3))
    record = records.SandboxRecord("id", spec, 7, "/cg", 42)
    assert records.decode(records.SandboxRecord, records.encode(record)) == record


def test_fields_of_a_newer_version_are_ignored() -> None:
    data = records.encode(records.SandboxRecord("id", interface.SandboxSpec("id", "h"), 7, "/cg"))
    assert records.decode(records.SandboxRecord, data.replace(b'{"id"', b'{"new": 1, "id"', 1)).created_at == 7


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), (10, 10), ("SIGRTMIN+3", 37), ("rtmax", 64)]
)
def test_signal_names(name: str | int, number: int) -> None:
    assert stop.signal_number(name) == number


@pytest.mark.parametrize("name", ["SIGNOSUCH", "", "0", "65", "-9", "SIGRTMIN+x"])
def test_wrong_signal_names(name: str) -> None:
    with pytest.raises(interface.EngineError, match="invalid signal"):
        stop.signal_number(name)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("executable file `x` not found in $PATH: No such file or directory", 127),
        ("open executable: Permission denied", 126),
        ("exec: Exec format error", 126),
        ("cannot set memory limit", 128),
    ],
)
def test_start_errors_have_the_usual_codes(message: str, code: int) -> None:
    assert monitor.start_error(message).exit_code == code
