"""What `up` and `down` decide before anything runs, and what they leave behind when they refuse."""

import contextlib
import datetime
import ipaddress
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pinnace.assemble import kubeconfig, lifecycle, notify, pki, places, processes, settings

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 10.50.0.1
        /32 host LOCAL
        /32 host LOCAL
     |-- 10.50.0.255
        /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
"""


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def where(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> places.Places:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return places.of(tmp_path / "data")


def cluster_at(where: places.Places, **changes: object) -> settings.Cluster:
    cluster = settings.decide(where, name="one", port=7443, node=False, addresses_in_use=frozenset())
    where.data.mkdir(exist_ok=True)
    settings.save(where, cluster)
    return cluster


def test_an_address_with_several_routes_counts_once() -> None:
    assert lifecycle.parse_addresses(FIB_TRIE) == {
        ipaddress.IPv4Address("10.50.0.1"),
        ipaddress.IPv4Address("127.0.0.1"),
    }


def test_a_stopped_cluster_keeps_what_was_not_said(where: places.Places) -> None:
    cluster = cluster_at(where)
    assert lifecycle.change(cluster, lifecycle.Options(where.data)) == cluster
    changed = lifecycle.change(cluster, lifecycle.Options(where.data, name="two", port=1, node=True, log_level="debug"))
    assert (changed.name, changed.port, changed.node, changed.log_level) == ("two", 1, True, "debug")
    assert changed.id == cluster.id


def test_a_busy_port_is_named_and_leaves_no_folder(where: places.Places) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(lifecycle.LifecycleError, match=f"port {port} is in use.*--port"):
            lifecycle.up(lifecycle.Options(where.data, port=port, node=False), quiet)
    assert not where.data.exists()


def test_a_refused_start_deletes_nothing_of_others(where: places.Places) -> None:
    where.data.mkdir()
    (where.data / "precious").write_text("x")
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        with pytest.raises(lifecycle.LifecycleError):
            lifecycle.up(lifecycle.Options(where.data, port=other.getsockname()[1], node=False), quiet)
    assert (where.data / "precious").exists()


def test_down_of_nothing_is_quiet(where: places.Places) -> None:
    for purge in (False, True):
        stopped = lifecycle.down(where.data, purge=purge, tell=quiet)
        assert (stopped.name, stopped.was_running, stopped.purged) == ("", False, False)
    assert not where.data.exists()


def test_a_purge_deletes_what_is_ours_and_names_what_is_not(where: places.Places) -> None:
    cluster_at(where)
    (where.data / "pki").mkdir()
    (where.data / "notes.txt").write_text("mine")
    stopped = lifecycle.down(where.data, purge=True, tell=quiet)
    assert stopped.kept == (where.data / "notes.txt",)
    assert [path.name for path in where.data.iterdir()] == ["notes.txt"]


def test_a_broken_cluster_file_stops_down_but_not_a_purge(where: places.Places) -> None:
    where.data.mkdir()
    where.cluster_file.write_text("{")
    with pytest.raises(settings.SettingsError, match="--purge"):
        lifecycle.down(where.data, purge=False, tell=quiet)


def test_a_running_cluster_refuses_other_settings(where: places.Places) -> None:
    cluster_at(where)
    where.run.mkdir(parents=True)
    processes.write(where.pid_file("supervisor"), os.getpid())
    try:
        with pytest.raises(lifecycle.LifecycleError, match=r"runs with port 7443, no node.*`pinnace down` first"):
            lifecycle.up(lifecycle.Options(where.data, port=7444), quiet)
        with pytest.raises(lifecycle.LifecycleError, match=r"is named one; `pinnace down` first to name it two"):
            lifecycle.up(lifecycle.Options(where.data, name="two"), quiet)
        with pytest.raises(lifecycle.LifecycleError, match="runs already"):
            lifecycle.stay(lifecycle.Options(where.data), quiet, lambda _: None, quiet)
    finally:
        where.pid_file("supervisor").unlink()
        lifecycle.down(where.data, purge=True, tell=quiet)


def test_a_purge_takes_the_context_out_of_every_kubeconfig_of_the_user(
    where: places.Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made while another file was the first of $KUBECONFIG."""
    cluster = cluster_at(where)
    pki.ensure(where, cluster, datetime.datetime.now(datetime.UTC))
    first, second = where.data.parent / "first", where.data.parent / "second"
    kubeconfig.merge(second, where, cluster)
    first.write_text("damaged: [\n")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    lifecycle.down(where.data, purge=True, tell=quiet)
    assert "one" not in second.read_text()
    assert first.read_text() == "damaged: [\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
def test_a_cluster_of_another_user_is_not_called_stopped(where: places.Places) -> None:
    cluster_at(where)
    for folder in (where.data, *where.data.parents[:-1]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        for action in (
            lambda: settings.require(where.data),
            lambda: lifecycle.down(where.data, purge=False, tell=quiet),
        ):
            with pytest.raises(settings.SettingsError, match="belongs to root: run this with sudo"):
                action()
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def stand_in(component: str, where: places.Places) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with the arguments of a component; the program is another one."""
    program = "import time; print('up', flush=True); time.sleep(60)"
    arguments = ["python", "-c", program, "-m", processes.MODULES[component], str(where.data)]
    with subprocess.Popen(arguments, executable=sys.executable, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


def test_a_process_whose_file_is_lost_is_found_by_its_arguments(where: places.Places) -> None:
    where.run.mkdir(parents=True)
    try:
        with stand_in("server", where) as process:
            assert processes.running(where) == {"server": process.pid}
            assert processes.read(where.pid_file("server")) == process.pid
            assert processes.signal_and_wait(where.pid_file("server"), signal.SIGTERM, 10)
            process.wait()
            assert processes.running(where) == {}
    finally:
        where.pid_file("server").unlink(missing_ok=True)
        where.run.rmdir()


def test_who_looks_in_the_wrong_folder_is_told_where_clusters_run(where: places.Places) -> None:
    with stand_in("supervisor", where), pytest.raises(settings.SettingsError) as failed:
        settings.require(where.data.parent / "wrong")
    assert str(where.data) in str(failed.value).partition("(running: ")[2]


def test_readiness_is_told_to_the_service_manager(tmp_path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        notify.send("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert listener.recv(100) == b"READY=1"
        name = f"pinnace-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        notify.send("STOPPING=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert listener.recv(100) == b"STOPPING=1"
    notify.send("READY=1", {})


def test_settings_of_an_older_file_are_read(where: places.Places) -> None:
    cluster_at(where)
    older = json.loads(where.cluster_file.read_text())
    del older["log_level"]
    where.cluster_file.write_text(json.dumps(older))
    loaded = settings.load(where)
    assert loaded is not None
    assert loaded.log_level == "info"


def test_a_link_to_the_kubeconfig_stays_a_link(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "dotfiles"
    real.write_text("")
    (tmp_path / "config").symlink_to(real)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert kubeconfig.user_file() == real


def test_processes_of_a_cluster_keep_their_compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("KEPT", "yes")
    found = processes.environment()
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert found["KEPT"] == "yes"
