"""What the command line takes, prints and ends with, before any cluster runs."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tomllib
from unittest import mock

import pytest

import pinnace
from pinnace.assemble import places, settings
from pinnace.cli import main, output
from pinnace.cli.commands import kubectl

ROOT = pathlib.Path(__file__).parents[3]


def own_environment(changes: dict[str, str]) -> dict[str, str]:
    """No setting of this machine's counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PINNACE_", "XDG_"))}
    return {**kept, "PINNACE_CONFIG": "/nonexistent/config.yaml", **changes}


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The whole command line in this process."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    with (
        mock.patch.dict(os.environ, own_environment(environment), clear=True),
        mock.patch.object(sys, "argv", ["pinnace", *arguments]),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.raises(SystemExit) as ended,
    ):
        main.main()
    for stream in (stdout, stderr):
        stream.seek(0)
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), stdout.read(), stderr.read())


def run_process(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: what becomes another program."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "pinnace.cli.main", *arguments],
        env=own_environment(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("upp",), "Did you mean 'up'?"),
        (("stauts",), "Did you mean 'status'?"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("up", "--prot", "1"), "--port"),
        (("up", "--port", "0"), "--port: '0' is not possible; give a whole number from 1 to 65535"),
        (("up", "--log-level", "loud"), "give one of debug, info, warning, error"),
        (("--name", "../x", "status"), "--name: '../x' is not possible"),
        (("status", "--output", "yaml"), "'table', 'json'"),
        (("image", "load"), "Missing argument"),
        (("completion", "tcsh"), "bash"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_would_be_right(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_a_wrong_variable_is_named_and_is_no_usage_error() -> None:
    done = run("status", PINNACE_PORT="x")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: PINNACE_PORT: 'x' is not possible")


OWN_COMMANDS = [name for name in main.COMMANDS if name != "kubectl"]


@pytest.mark.parametrize("command", [*OWN_COMMANDS, "image load", "image ls", "image rm", "config show"])
def test_every_command_explains_itself(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: pinnace ")
    assert "--data-dir" in done.stdout or command in ("completion", "help")


@pytest.mark.parametrize("arguments", [("--help",), ("get", "-h"), ("help",)])
def test_the_help_of_kubectl_is_kubectls_own_and_needs_no_cluster(
    tmp_path: pathlib.Path, arguments: tuple[str, ...]
) -> None:
    done = run_process("--data-dir", str(tmp_path / "none"), "kubectl", *arguments)
    assert done.returncode == 0
    assert "kubectl" in done.stdout
    assert "Usage: pinnace" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((), True), (("get", "--help"), True), (("exec", "p", "--", "ls", "-h"), False), (("get", "pods"), False)],
)
def test_help_is_told_from_a_containers_own_flag(arguments: tuple[str, ...], expected: bool) -> None:
    assert kubectl.asks_for_help(arguments) is expected


def test_without_a_cluster_every_command_says_so_and_how_to_start_one(tmp_path: pathlib.Path) -> None:
    for arguments in (("status",), ("kubectl", "get", "pods"), ("image", "ls")):
        done = run("--data-dir", str(tmp_path / "none"), *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"no cluster in {tmp_path / 'none'}: start one with `pinnace up`" in done.stderr
    assert not (tmp_path / "none").exists()


def test_the_status_of_no_cluster_is_still_json(tmp_path: pathlib.Path) -> None:
    done = run("status", "--data-dir", str(tmp_path), "--output", "json")
    assert (done.returncode, json.loads(done.stdout)) == (1, [])


def test_down_of_no_cluster_succeeds(tmp_path: pathlib.Path) -> None:
    done = run("down", "--data-dir", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to do" in done.stdout
    as_json = json.loads(run("down", "--data-dir", str(tmp_path / "none"), "-o", "json").stdout)
    assert as_json == {"name": "", "dataDir": str(tmp_path / "none"), "wasRunning": False, "purged": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data-dir", "/d", "--name", "n", "config", "show"),
        ("config", "--data-dir", "/d", "--name", "n", "show"),
        ("config", "show", "--data-dir", "/d", "--name", "n"),
    ],
)
def test_the_cluster_is_named_before_or_after_the_command(arguments: tuple[str, ...]) -> None:
    shown = json.loads(run(*arguments, "--origin", "--output", "json").stdout)
    assert shown["data-dir"] == {"value": "/d", "origin": "--data-dir"}
    assert shown["name"] == {"value": "n", "origin": "--name"}


def test_settings_come_from_the_file_that_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 7001\n")
    done = run("config", "show", "--origin", PINNACE_CONFIG=str(file), PINNACE_NODE="no")
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert rows["port"] == ["7001", f"{file}:1"]
    assert rows["node"] == ["false", "PINNACE_NODE"]
    file.write_text("prot: 7001\n")
    done = run("status", PINNACE_CONFIG=str(file))
    assert (done.returncode, "did you mean port?" in done.stderr) == (1, True)


def test_an_unknown_command_is_a_program_on_the_path(tmp_path: pathlib.Path) -> None:
    plugin = tmp_path / "pinnace-hello"
    plugin.write_text('#!/bin/sh\necho "$PINNACE_DATA_DIR|$PINNACE_NAME|$*"\nexit 7\n')
    plugin.chmod(0o755)
    done = run_process(
        "--data-dir", "/d", "hello", "--help", "-x", "--name", "y", PATH=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert (done.returncode, done.stdout) == (7, "/d|pinnace|--help -x --name y\n")


def test_a_plugin_learns_the_name_of_the_cluster_in_the_folder(tmp_path: pathlib.Path) -> None:
    plugin = tmp_path / "pinnace-hello"
    plugin.write_text('#!/bin/sh\necho "$PINNACE_NAME"\n')
    plugin.chmod(0o755)
    where = places.of(tmp_path / "data")
    where.data.mkdir()
    settings.save(where, settings.decide(where, name="one", port=1, node=False, addresses_in_use=frozenset()))
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert run_process("--data-dir", str(where.data), "hello", PATH=path).stdout == "one\n"
    assert run_process("--data-dir", str(where.data), "--name", "two", "hello", PATH=path).stdout == "two\n"


def test_a_folder_that_cannot_be_made_is_named_without_a_traceback() -> None:
    done = run("up", "--no-node", "--data-dir", "/proc/none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: /proc/none: no such file or directory; choose another folder")


def test_what_the_system_refuses_is_said_without_a_traceback(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cluster.json").mkdir()
    done = run("status", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {tmp_path / 'cluster.json'}: is a directory\n"


def test_help_may_come_first() -> None:
    for words in (("up",), ("image", "load"), ("kubectl",)):
        done = run("help", *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: pinnace {' '.join(words)} ")
    assert run("help").stdout == run("--help").stdout
    assert (run("help", "image", "sink").returncode, run("help", "up", "x").returncode) == (2, 2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("pinnace st", "status"), ("pinnace up --for", "--foreground"), ("pinnace image l", "load")],
)
def test_the_shell_completes_commands_and_options(words: str, expected: str) -> None:
    done = run(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1), _PINNACE_COMPLETE="bash_complete")
    assert f"plain,{expected}" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"), [("pinnace --data-dir /t", "dir,/t"), ("pinnace image load /t", "file,/t")]
)
def test_the_shell_itself_completes_paths(words: str, expected: str) -> None:
    done = run(COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1), _PINNACE_COMPLETE="bash_complete")
    assert done.stdout.splitlines() == [expected]


def test_completion_of_kubectl_is_kubectls_own() -> None:
    done = run(COMP_WORDS="pinnace kubectl descr", COMP_CWORD="2", _PINNACE_COMPLETE="bash_complete")
    assert done.stdout.splitlines() == ["plain,describe"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells_call_the_command(shell: str) -> None:
    assert f"_PINNACE_COMPLETE={shell}_complete" in run("completion", shell).stdout


def test_the_version_is_the_one_of_the_package() -> None:
    assert pinnace.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for arguments in (("version",), ("--version",)):
        assert run(*arguments).stdout.startswith(f"pinnace {pinnace.__version__} (Kubernetes-compatible: v")
    assert json.loads(run("version", "-o", "json").stdout)["version"] == pinnace.__version__


def test_doctor_speaks_json() -> None:
    checks = json.loads(run("doctor", "--output", "json").stdout)
    assert {"crun", "conmon", "libnftables", "cgroups"} <= {check["name"] for check in checks}
    assert all(check["fix"] for check in checks)


def test_light_commands_load_no_heavy_library() -> None:
    """`status` and `kubectl` are typed a hundred times a day."""
    program = (
        "import sys, pinnace.cli.main, pinnace.cli.commands.status, pinnace.cli.commands.kubectl;"
        "print([name for name in ('yaml', 'cryptography', 'numpy', 'grpc', 'apsw', 'orjson') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("ci", "quiet", "lines"), [("", False, 0), ("true", False, 1), ("true", True, 0)])
def test_progress_is_for_terminals_and_for_the_logs_of_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ci: str, quiet: bool, lines: int
) -> None:
    monkeypatch.setenv("CI", ci)
    progress = output.Progress(quiet=quiet)
    progress.tell("waiting")
    progress.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == lines


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (999, "999B"), (1500, "1.5kB"), (12_300_000, "12.3MB"), (2e12, "2TB")]
)
def test_sizes_are_decimal(size: float, text: str) -> None:
    assert output.human_size(size) == text


def kept_cluster(folder: pathlib.Path, **fields: object) -> None:
    values = {
        "name": "kept", "id": "abc", "port": 7443, "node": False, "node_name": "n", "node_ip": "10.0.0.1", "kubelet_port": 10250,
        "pod_cidr": "10.42.0.0/16", "service_cidr": "10.43.0.0/16",
    }  # fmt: skip
    (folder / "cluster.json").write_text(json.dumps(values | fields))


def test_config_shows_what_up_would_use_for_a_stopped_cluster(tmp_path: pathlib.Path) -> None:
    """What the cluster was started with counts where only the default speaks; what is said now counts more."""
    kept_cluster(tmp_path, log_level="debug")
    shown = json.loads(
        run("config", "show", "--origin", "-o", "json", "--data-dir", str(tmp_path), PINNACE_LOG_LEVEL="error").stdout
    )
    assert shown["port"] == {"value": 7443, "origin": str(tmp_path / "cluster.json")}
    assert shown["node"]["value"] is False
    assert shown["name"]["value"] == "kept"
    assert shown["log-level"] == {"value": "error", "origin": "PINNACE_LOG_LEVEL"}
    assert shown["discard-unpacked-layers"] == {"value": False, "origin": str(tmp_path / "cluster.json")}


def test_config_says_what_is_wrong_with_a_clusters_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    ended = run("config", "show", "--data-dir", str(tmp_path))
    assert ended.returncode == 1
    assert "cluster.json is not readable" in ended.stderr


@pytest.mark.parametrize(("called", "shown"), [("./pinnace", "`./pinnace up`"), ("", "`pinnace up`")])
def test_hints_name_the_program_as_it_was_called(tmp_path: pathlib.Path, called: str, shown: str) -> None:
    ended = run("image", "ls", "--data-dir", str(tmp_path), PINNACE_CALLED=called, PATH="/nonexistent")
    assert shown in ended.stderr


@pytest.mark.parametrize(
    ("what", "message"),
    [("", "is a directory"), ("nosuch", "no such file"), ("pipe", "is no regular file")],
)
def test_what_cannot_be_loaded_is_named(tmp_path: pathlib.Path, what: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = run("image", "load", str(tmp_path / what), "--data-dir", str(tmp_path))
    assert ended.returncode == 1
    assert message in ended.stderr


def test_a_folder_that_is_none_is_no_matter_of_rights() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, whom sudo would not help")
    ended = run("up", "--data-dir", "/proc/self/status/x")
    assert ended.returncode == 1
    assert "sudo" not in ended.stderr


def test_prune_asks_first(tmp_path: pathlib.Path) -> None:
    with mock.patch.object(sys, "stdin", io.StringIO("n\n")):
        ended = run("image", "prune", "--data-dir", str(tmp_path))
    assert ended.returncode == main.EXIT_INTERRUPTED
    assert "dangling images" in ended.stderr


def test_completion_of_image_names_is_silent_without_a_cluster(tmp_path: pathlib.Path) -> None:
    ended = run_process(
        _PINNACE_COMPLETE="bash_complete", COMP_WORDS=f"pinnace image rm --data-dir {tmp_path} ", COMP_CWORD="5"
    )
    assert (ended.stdout.strip(), ended.stderr) == ("", "")
