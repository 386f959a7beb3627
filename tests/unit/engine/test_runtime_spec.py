"""From a container's specification to the runtime's: pure tables."""

import dataclasses
import pathlib
from typing import Any

import pytest

from pinnace.engine import interface, runtime_spec, seccomp, users

IMAGE = interface.Image(
    id="sha256:1", references=(), digests=(), size=0, created_at=0, entrypoint=("/entry",), command=("default",),
    environment=("PATH=/image", "A=1", "malformed"), working_directory="/work",
)  # fmt: skip
AROUND = runtime_spec.Surroundings(
    root=pathlib.Path("/run/x/rootfs"),
    cgroup="/pinnace/pods/p/c",
    identity=users.Identity(0, 0, (), "/root"),
    namespaces={"pid": None, "network": pathlib.Path("/run/net")},
    shm=pathlib.Path("/run/shm"),
    shm_bytes=1024,
    hostname=None,
    environment_hostname="web-0",
    bounding_capabilities=frozenset((*runtime_spec.DEFAULT_CAPABILITIES, "SYS_ADMIN", "NET_ADMIN")),
    can_raise_limits=False,
    present_oom_score_adj=0,
    architecture="amd64",
)


def spec(**changes: Any) -> interface.ContainerSpec:
    return interface.ContainerSpec(name="n", image="i", **changes)


def build(around: runtime_spec.Surroundings = AROUND, **changes: Any) -> dict[str, Any]:
    return runtime_spec.build(spec(**changes), IMAGE, around)


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (None, None, ("/entry", "default")),
        (None, ("x",), ("/entry", "x")),
        (("own",), None, ("own",)),
        (("own",), ("x", "y"), ("own", "x", "y")),
        (None, (), ("/entry",)),
    ],
)
def test_command_line(command, arguments, expected) -> None:
    """Kubernetes' table of command, args, ENTRYPOINT and CMD."""
    assert runtime_spec.command_line(spec(command=command, arguments=arguments), IMAGE) == expected


def test_environment_order() -> None:
    """Defaults, then the image's, then the caller's; of one name the last wins."""
    values = build(environment=(("A", "2"), ("B", "x=y"), ("HOSTNAME", "mine")))["process"]["env"]
    assert values == ["PATH=/image", "HOSTNAME=mine", "A=2", "B=x=y", "HOME=/root"]


@pytest.mark.parametrize(
    ("security", "present", "absent"),
    [
        ({}, {"CHOWN", "NET_RAW"}, {"SYS_ADMIN", "NET_ADMIN"}),
        ({"add_capabilities": ("NET_ADMIN",)}, {"CHOWN", "NET_ADMIN"}, {"SYS_ADMIN"}),
        ({"drop_capabilities": ("CHOWN",)}, {"NET_RAW"}, {"CHOWN"}),
        ({"drop_capabilities": ("ALL",)}, set(), {"CHOWN", "NET_RAW"}),
        ({"drop_capabilities": ("all",), "add_capabilities": ("cap_chown",)}, {"CHOWN"}, {"NET_RAW"}),
        ({"add_capabilities": ("ALL",), "drop_capabilities": ("SYS_ADMIN",)}, {"NET_ADMIN"}, {"SYS_ADMIN"}),
        ({"privileged": True, "drop_capabilities": ("ALL",)}, {"SYS_ADMIN", "CHOWN"}, set()),
        ({"add_capabilities": ("SYS_TIME",)}, {"CHOWN"}, {"SYS_TIME"}),
    ],
)
def test_capabilities(security: dict[str, Any], present: set[str], absent: set[str]) -> None:
    chosen = set(runtime_spec.capability_set(interface.Security(**security), AROUND.bounding_capabilities))
    assert present <= chosen
    assert not absent & chosen


def test_capabilities_of_others_than_root_are_not_in_effect() -> None:
    around = dataclasses.replace(AROUND, identity=users.Identity(1000, 1000, (7,), "/home"))
    process = build(around)["process"]
    assert process["capabilities"]["effective"] == []
    assert "CAP_CHOWN" in process["capabilities"]["bounding"]
    assert process["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [7], "umask": 0o022}


def test_privileged_lifts_every_restriction() -> None:
    linux = build(security=interface.Security(privileged=True))["linux"]
    assert "seccomp" not in linux
    assert "maskedPaths" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


def test_restrictions_by_default() -> None:
    linux = build()["linux"]
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "seccomp" not in build(security=interface.Security(seccomp_unconfined=True))["linux"]
    assert build(security=interface.Security(masked_paths=False))["linux"]["maskedPaths"] == []


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, {}),
        ({"cpu_shares": 1}, {"cpu": {"shares": 2}}),
        (
            {"cpu_quota_us": 5, "cpu_period_us": 10, "cpuset_cpus": "0-1"},
            {"cpu": {"quota": 5, "period": 10, "cpus": "0-1"}},
        ),
        ({"memory_bytes": 7, "pids": 3}, {"memory": {"limit": 7}, "pids": {"limit": 3}}),
    ],
)
def test_resources(resources: dict[str, Any], expected: dict[str, Any]) -> None:
    built = build(resources=interface.Resources(**resources))["linux"]["resources"]
    assert {key: value for key, value in built.items() if key != "devices"} == expected


def test_memory_limit_covers_swap_where_swap_is_counted() -> None:
    around = dataclasses.replace(AROUND, can_limit_swap=True)
    memory = build(around, resources=interface.Resources(memory_bytes=7))["linux"]["resources"]["memory"]
    assert memory == {"limit": 7, "swap": 7}


@pytest.mark.parametrize(
    ("wanted", "can_raise", "expected"), [(-997, True, -997), (-997, False, 0), (1000, False, 1000), (None, True, None)]
)
def test_oom_score_is_what_this_process_may_set(wanted: int | None, can_raise: bool, expected: int | None) -> None:
    around = dataclasses.replace(AROUND, can_raise_limits=can_raise)
    assert build(around, resources=interface.Resources(oom_score_adj=wanted))["process"].get("oomScoreAdj") == expected


def test_mounts_of_the_caller_come_after_and_replace_standard_ones() -> None:
    """Outer targets before inner ones, whatever order they came in."""
    source = pathlib.Path("/host")
    mounts = (
        interface.Mount(source, "/a/b/c"),
        interface.Mount(source, "/a", read_only=True, propagation="rslave"),
        interface.Mount(source, "/dev/shm"),
    )
    built = build(mounts=mounts)
    targets = [mount["destination"] for mount in built["mounts"]]
    assert targets.index("/proc") < targets.index("/a") < targets.index("/a/b/c")
    assert targets.count("/dev/shm") == 1
    outer = next(mount for mount in built["mounts"] if mount["destination"] == "/a")
    assert outer["options"] == ["rbind", "ro", "rslave"]
    assert built["linux"]["rootfsPropagation"] == "rslave"


def test_a_profile_of_apparmor_is_the_processs() -> None:
    built = build(security=interface.Security(apparmor_profile="tight"))
    assert built["process"]["apparmorProfile"] == "tight"
    assert "apparmorProfile" not in build()["process"]


def test_read_only_may_hold_for_what_is_mounted_below_too() -> None:
    source = pathlib.Path("/host")
    built = build(
        mounts=(
            interface.Mount(source, "/a", read_only=True, recursive_read_only=True),
            interface.Mount(source, "/b", recursive_read_only=True),
        )
    )
    options = {mount["destination"]: mount["options"] for mount in built["mounts"]}
    assert options["/a"] == ["rbind", "ro", "rprivate", "rro"]
    assert options["/b"] == ["rbind", "rw", "rprivate"]


@pytest.mark.parametrize(
    ("wanted", "of_image", "expected"),
    [("", "app:web", "app:web"), ("7", "app", "7"), (":9", "app:web", "app:9"), (":9", "", ":9"), ("", "", "")],
)
def test_a_group_alone_leaves_the_user_to_the_image(wanted: str, of_image: str, expected: str) -> None:
    assert users.chosen(wanted, of_image) == expected


def test_a_group_without_a_user_is_roots() -> None:
    identity = users.resolve(":9", (), "root:x:0:0:root:/root:/bin/sh\n", "")
    assert (identity.uid, identity.gid, identity.home) == (0, 9, "/root")


def test_namespaces_and_hostname() -> None:
    built = build()
    assert built["linux"]["namespaces"] == [{"type": "pid"}, {"type": "network", "path": "/run/net"}]
    assert "hostname" not in built
    assert build(dataclasses.replace(AROUND, hostname="h"))["hostname"] == "h"


# ---------------------------------------------------------------- the system-call filter


def names_allowed(profile: dict[str, Any]) -> set[str]:
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


def test_dangerous_calls_need_their_capability() -> None:
    plain = names_allowed(seccomp.profile((), "amd64"))
    dangerous = {
        "mount",
        "setns",
        "bpf",
        "reboot",
        "init_module",
        "kexec_load",
        "open_by_handle_at",
        "add_key",
        "userfaultfd",
        "unshare",
    }
    assert not plain & dangerous
    assert {"read", "openat", "futex", "execve", "clock_gettime", "epoll_pwait2"} <= plain
    assert {"mount", "setns", "unshare", "clone3"} <= names_allowed(seccomp.profile(("SYS_ADMIN",), "amd64"))
    assert "mount" not in names_allowed(seccomp.profile(("NET_ADMIN",), "amd64"))


def test_clone_may_not_make_namespaces() -> None:
    profile = seccomp.profile((), "amd64")
    clone = next(rule for rule in profile["syscalls"] if rule["names"] == ["clone"])
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    clone3 = next(rule for rule in profile["syscalls"] if rule["names"] == ["clone3"])
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)


# ---------------------------------------------------------------- users

PASSWD = "root:x:0:0::/root:/bin/sh\n# comment\nbroken\napp:x:1000:1001::/home/app:/bin/sh\nbad:x:abc:1::/:/\n"
GROUP = "root:x:0:\napp:x:1001:\nextra:x:2000:app,other\nmore:x:2001:app\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("app", (1000, 1001, (1001, 2000, 2001), "/home/app")),
        ("1000", (1000, 1001, (1001, 2000, 2001), "/home/app")),
        ("app:extra", (1000, 2000, (2000,), "/home/app")),
        ("app:77", (1000, 77, (77,), "/home/app")),
        ("5000", (5000, 0, (0,), "/")),
        ("5000:app", (5000, 1001, (1001,), "/")),
    ],
)
def test_users(user: str, expected: tuple[Any, ...]) -> None:
    identity = users.resolve(user, (), PASSWD, GROUP)
    assert (identity.uid, identity.gid, identity.groups, identity.home) == expected


def test_groups_of_the_image_are_added_or_left_out_as_asked() -> None:
    assert users.resolve("1000:77", (), PASSWD, GROUP, with_members=True).groups == (77, 2000, 2001)
    assert users.resolve("app", (9,), PASSWD, GROUP, with_members=False).groups == (1001, 9)


def test_supplemental_groups_are_added_once() -> None:
    assert users.resolve("app", (9, 2000, 1001), PASSWD, GROUP).groups == (1001, 2000, 2001, 9)


@pytest.mark.parametrize("user", ["nosuch", "app:nosuch", "-1", "99999999999", "bad"])
def test_unknown_users(user: str) -> None:
    with pytest.raises(users.UnknownUser, match="unable to find"):
        users.resolve(user, (), PASSWD, GROUP)
