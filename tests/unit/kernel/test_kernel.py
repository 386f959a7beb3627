"""The parts of the kernel seam that need no privileges: parsing, layouts, child processes, trees."""

import asyncio
import os
import pathlib
import threading

import pytest

from pinnace.kernel import capabilities, cgroup_moves, cgroups, mounts, paths, process

LINE = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue"


def test_mountinfo() -> None:
    entry = mounts.parse_entry(LINE)
    assert (entry.id, entry.parent, entry.target, entry.filesystem, entry.source) == (
        36,
        35,
        "/mnt 2",
        "ext3",
        "/dev/root",
    )
    assert entry.is_shared
    assert mounts.read_mounts()


def entry(filesystem: str, target: str, options: str = "rw") -> mounts.MountEntry:
    return mounts.MountEntry(1, 1, "/", target, filesystem, filesystem, "rw", options, False)


def test_cgroup_layouts() -> None:
    """v1 as soon as one v1 controller is mounted, also beside v2; else v2."""
    hybrid = [
        entry("cgroup2", "/c/unified"),
        entry("cgroup", "/c/cpu,cpuacct", "rw,cpu,cpuacct"),
        entry("cgroup", "/c/systemd", "rw,name=systemd"),
    ]
    layout = cgroups.layout_of(hybrid)
    assert layout.version == 1
    assert layout.roots["cpu"] == layout.roots["cpuacct"] == pathlib.Path("/c/cpu,cpuacct")
    assert len(layout.unique_roots) == 2
    assert cgroups.layout_of([entry("cgroup2", "/c")]) == cgroups.Layout(2, {"": pathlib.Path("/c")})
    with pytest.raises(FileNotFoundError):
        cgroups.layout_of([entry("tmpfs", "/x")])


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (10**9, 10000)])
def test_cgroup_weights(shares: int, weight: int) -> None:
    assert cgroups.weight_of_shares(shares) == weight


@pytest.mark.parametrize("path", ["", "/", "/a/../b", ".."])
def test_cgroup_paths_are_ours(path: str) -> None:
    groups = cgroups.Cgroups(cgroups.Layout(2, {"": pathlib.Path("/nonexistent")}))
    with pytest.raises(ValueError, match="not a cgroup path"):
        groups.remove(path)


def test_cgroup_v2_files(tmp_path: pathlib.Path) -> None:
    """Settings and figures of v2, on plain files that look like it."""
    groups = cgroups.Cgroups(cgroups.Layout(2, {"": tmp_path}))
    group = tmp_path / "a/b"
    group.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a"):
        (folder / "cgroup.controllers").write_text("cpu memory pids")
        (folder / "cgroup.subtree_control").write_text("cpu memory pids")
    groups.create("/a/b", cgroups.Limits(1024, 5, 10, 7, 3, "0"))
    assert (group / "cpu.weight").read_text() == "39"
    assert (group / "cpu.max").read_text() == "5 10"
    assert (group / "memory.max").read_text() == "7"
    (group / "cpu.stat").write_text("usage_usec 12\nuser_usec 5\n")
    (group / "memory.current").write_text("100\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 30\n")
    (group / "memory.events").write_text("low 0\noom_kill 2\n")
    (group / "pids.current").write_text("4\n")
    assert groups.figures("/a/b") == cgroups.Figures(12_000, 100, 70, 4)
    (group / "pids.events").write_text("max 5\n")
    assert groups.oom_kills("/a/b") == 2
    assert groups.limits("/a/b") == cgroups.Limits(memory_bytes=7, pids=3)
    assert groups.limit_hits("/a/b") == 5
    groups.change("/a/b", cgroups.Limits(pids=3), cgroups.Limits(), limits_swap=False)
    assert (group / "pids.max").read_text() == "max"
    assert groups.limits("/a/b").pids == 0


def test_cgroup_v1_files(tmp_path: pathlib.Path) -> None:
    groups = cgroups.Cgroups(cgroups.Layout(1, {name: tmp_path / name for name in ("cpu", "memory", "pids")}))
    groups.create("/a/b", cgroups.Limits(memory_bytes=7, pids=3))
    assert groups.limits("/a/b") == cgroups.Limits(memory_bytes=7, pids=3)
    (tmp_path / "pids/a/b/pids.events").write_text("max 5\n")
    assert groups.limit_hits("/a/b") == 5
    groups.change("/a/b", cgroups.Limits(pids=3), cgroups.Limits(pids=9), limits_swap=False)
    assert (tmp_path / "pids/a/b/pids.max").read_text() == "9"


def test_capabilities() -> None:
    assert capabilities.parse("Name:\tx\nCapEff:\t0000000000000401\n", "CapEff") == {"CHOWN", "NET_BIND_SERVICE"}
    with pytest.raises(ValueError):
        capabilities.parse("", "CapEff")


# ---------------------------------------------------------------- processes


def run(*argv: str, **options: object) -> process.Completed:
    return asyncio.run(process.run(argv, **options))  # type: ignore[arg-type]


def test_run_feeds_and_collects() -> None:
    data = os.urandom(1 << 20)
    assert run("/bin/cat", data=data).stdout == data
    result = run("/bin/sh", "-c", "echo bad >&2; exit 3")
    assert (result.code, result.stderr, result.message) == (3, b"bad\n", "bad")
    assert run("/bin/sh", "-c", "kill -9 $$").code == 137


def test_run_has_only_the_environment_it_is_given() -> None:
    assert run("/usr/bin/env", environment={"A": "1"}).stdout == b"A=1\n"


def test_run_bounds_output_and_time() -> None:
    assert len(run("/usr/bin/head", "-c", "1000000", "/dev/zero", output_limit=1000).stdout) == 1000
    with pytest.raises(process.ProcessError, match="did not end"):
        run("/bin/sleep", "1000", timeout=0.1)
    with pytest.raises(process.ProcessError, match="cannot start"):
        run("/no/such/program")


# ---------------------------------------------------------------- trees


@pytest.fixture
def tree(tmp_path: pathlib.Path):
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("untouched")
    with paths.Tree(tmp_path / "root") as opened:
        yield opened
    assert (tmp_path / "outside" / "secret").read_text() == "untouched"


@pytest.mark.parametrize("target", ["../outside", "/../outside", "{outside}"])
def test_trees_are_closed(tree: paths.Tree, tmp_path: pathlib.Path, target: str) -> None:
    """Every operation through a symlink that points outside stays inside or fails."""
    tree.symlink(target.format(outside=tmp_path / "outside"), "link")
    with pytest.raises(OSError):
        tree.read("link/secret")
    with pytest.raises(OSError):
        tree.link("link/secret", "stolen")
    for change in (
        lambda: tree.set_mode("link/secret", 0o777),
        lambda: tree.set_times("link/secret", 0, 0),
        lambda: tree.set_attributes("link/secret", {"user.x": b"1"}),
    ):
        with pytest.raises(OSError):
            change()
    tree.remove("link/secret")
    os.close(tree.create_file("link/secret"))
    tree.make_directories("link/deep/er")
    tree.remove("link")
    assert not (tmp_path / "root" / "link").exists()


def test_reading_devices_and_fifos_does_not_block(tree: paths.Tree) -> None:
    tree.make_node("fifo", 0o10600, 0)
    with pytest.raises(OSError, match="not a regular file"):
        tree.read("fifo")


def test_reading_is_bounded(tree: paths.Tree) -> None:
    with os.fdopen(tree.create_file("big"), "wb") as file:
        file.write(b"x" * 100)
    with pytest.raises(ValueError, match="larger"):
        tree.read("big", 10)


def test_remove_is_deep(tree: paths.Tree, tmp_path: pathlib.Path) -> None:
    """A tree deeper than paths and stacks allow goes, and symlinks in it are not followed."""
    descriptor = os.dup(tree.root)
    for _ in range(1500):
        os.symlink("/", "link", dir_fd=descriptor)
        os.mkdir("d", dir_fd=descriptor)
        following = os.open("d", os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = following
    os.close(descriptor)
    tree.remove("d")
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["link"]
    paths.remove_tree(tmp_path / "root" / "nothing")


def test_a_racing_symlink_never_leads_outside(tmp_path: pathlib.Path) -> None:
    """While a folder of the tree is exchanged for a symlink and back all the time, no write lands outside."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "real").mkdir()
    os.symlink(str(outside), root / "evil")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                os.rename(root / "real", root / "d")
                os.rename(root / "d", root / "real")
                os.rename(root / "evil", root / "d")
                os.rename(root / "d", root / "evil")
            except OSError:
                continue

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(2000):
            with paths.Tree(root) as tree:
                try:
                    os.close(tree.create_file(f"d/file-{number % 10}"))
                except (OSError, ValueError):
                    continue
    finally:
        stop.set()
        thread.join()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("path", ["", "/", ".", "..", "a/..", "a\0b", "x" * 5000])
def test_paths_that_name_no_entry(path: str) -> None:
    with pytest.raises(ValueError, match="not the path"):
        paths.split(path)


def test_a_mount_is_told_from_a_folder_without_reading_all_mounts(tmp_path: pathlib.Path) -> None:
    assert mounts.is_mounted(pathlib.Path("/proc"))
    assert mounts.is_mounted(pathlib.Path("/"))
    assert not mounts.is_mounted(tmp_path)
    assert not mounts.is_mounted(tmp_path / "missing")
    (tmp_path / "link").symlink_to("/proc")
    assert not mounts.is_mounted(tmp_path / "link")
    (tmp_path / "root").symlink_to("/")
    assert mounts.is_mounted(tmp_path / "root" / "proc")
    assert not mounts.is_mounted(tmp_path / "root" / "usr" / "bin")


def test_the_mounts_below_a_folder_are_those_of_the_whole_table() -> None:
    every = [pathlib.Path(entry.target) for entry in mounts.read_mounts()]
    for folder in (pathlib.Path("/proc"), pathlib.Path("/sys"), pathlib.Path("/dev")):
        below = [each for each in every if each == folder or folder in each.parents]
        assert list(mounts.mounts_below(folder)) == below[::-1]


def test_the_own_groups_are_read_under_v1_and_v2() -> None:
    assert cgroup_moves.read_own_groups("4:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c\n") == {
        "cpu": "/a",
        "cpuacct": "/a",
        "systemd": "/b",
        "": "/c",
    }
    assert cgroup_moves.read_own_groups()


def test_preparing_moves_leaves_every_process_where_it_is() -> None:
    before = pathlib.Path("/proc/self/cgroup").read_text()
    cgroup_moves.prepare(cgroups.Cgroups.discover().layout)
    assert pathlib.Path("/proc/self/cgroup").read_text() == before
