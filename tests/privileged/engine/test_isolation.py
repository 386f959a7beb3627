"""What a container sees of the machine, what it may do, and what its limits are."""

import pathlib

import pytest

from pinnace.engine import interface

pytestmark = pytest.mark.privileged


def test_users_and_groups_come_from_the_image(in_world) -> None:
    """Names are looked up in the image's files; numbers need no entry; supplemental groups are added."""

    async def test(world) -> None:
        async def identity(name: str, user: str, **more: object) -> str:
            return await world.output_of(name, "id", security=interface.Security(user=user, **more))

        assert await identity("root", "") == "uid=0(root) gid=0(root) groups=0(root)\n"
        assert await identity("name", "app") == "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n"
        assert await identity("number", "1000") == "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n"
        assert await identity("both", "1000:2000") == "uid=1000(app) gid=2000(extra) groups=2000(extra)\n"
        assert await identity("unknown", "4321:99") == "uid=4321 gid=99 groups=99\n"
        assert await identity("more", "4321", supplemental_groups=(7, 8)) == "uid=4321 gid=0(root) groups=0(root),7,8\n"
        with pytest.raises(interface.StartError, match="unable to find user nosuch"):
            await identity("nosuch", "nosuch")

    in_world(test)


def test_capabilities(in_world) -> None:
    """The default set for root, none in effect for others, ALL can be dropped, privileged gets everything there is."""

    async def test(world) -> None:
        async def effective(name: str, **security: object) -> int:
            text = await world.output_of(name, "grep CapEff /proc/self/status", security=interface.Security(**security))
            return int(text.split()[1], 16)

        default = await effective("default")
        assert default >> 21 & 1 == 0, "SYS_ADMIN is not in the default set"
        assert default >> 10 & 1 == 1, "NET_BIND_SERVICE is"
        assert await effective("user", user="1000") == 0
        assert await effective("none", drop_capabilities=("ALL",)) == 0
        assert await effective("one", drop_capabilities=("ALL",), add_capabilities=("CAP_NET_ADMIN",)) == 1 << 12
        assert await effective("all", privileged=True) & default == default
        assert (await effective("more", privileged=True)) >> 21 & 1 == 1

    in_world(test)


def test_the_machine_is_out_of_reach(in_world) -> None:
    """Masked and read-only paths, the system-call filter, devices, other processes."""

    async def test(world) -> None:
        script = """
            echo kcore $(head -c 1 /proc/kcore 2>/dev/null | wc -c)
            ls /proc/1/root/bin/busybox
            echo 1 2>/dev/null > /proc/sys/kernel/panic; echo sysctl $?
            mount -t tmpfs x /tmp 2>/dev/null; echo mount $?
            mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda >/dev/null 2>&1; echo device $?
            ls /proc | grep -c '^[0-9]'
        """
        lines = (await world.output_of("jail", script)).splitlines()
        assert lines[0] == "kcore 0", "masked: nothing to read"
        assert lines[2] == "sysctl 1"
        assert lines[3] != "mount 0"
        assert lines[4] == "device 1"
        assert int(lines[5]) <= 4

    in_world(test)


def test_privileged_can_mount(in_world) -> None:
    async def test(world) -> None:
        security = interface.Security(privileged=True)
        assert await world.output_of("p", "mount -t tmpfs x /tmp && echo ok", security=security) == "ok\n"

    in_world(test)


def test_read_only_root(in_world) -> None:
    async def test(world) -> None:
        security = interface.Security(read_only_root=True)
        assert "Read-only" in await world.output_of("ro", "touch /x 2>&1", security=security)

    in_world(test)


def test_images_are_never_written(in_world) -> None:
    """What one container writes the next one of the same image does not see."""

    async def test(world) -> None:
        await world.output_of("one", "rm /bin/vi; echo x > /etc/new")
        assert await world.output_of("two", "ls /bin/vi; ls /etc/new 2>/dev/null") == "/bin/vi\n"

    in_world(test)


def test_mounts(in_world, tmp_path: pathlib.Path) -> None:
    """Files and folders of the host, writable or not; also onto paths that the image lacks, one inside the other."""

    async def test(world) -> None:
        source = tmp_path / "source"
        (source / "inner").mkdir(parents=True)
        (source / "file").write_text("content\n")
        mounts = (
            interface.Mount(source / "inner", "/data/new/deep/inner"),
            interface.Mount(source, "/data/new/deep", read_only=True),
            interface.Mount(source / "file", "/etc/single"),
        )
        script = "cat /etc/single /data/new/deep/file; touch /data/new/deep/x 2>/dev/null || echo no; touch /data/new/deep/inner/y"
        assert await world.output_of("mounts", script, mounts=mounts) == "content\ncontent\nno\n"
        assert (source / "inner/y").exists()
        assert not (source / "x").exists()

    in_world(test)


def test_mounts_reach_other_containers_where_both_ask_for_it(in_world, tmp_path: pathlib.Path) -> None:
    """What a container mounts below a shared volume shows in those that follow it, nowhere else, and nothing of theirs comes back."""

    async def test(world) -> None:
        source = tmp_path / "source"
        source.mkdir()
        security = interface.Security(privileged=True)
        for name, propagation in (("master", "rshared"), ("slave", "rslave"), ("loner", "private")):
            mounts = (interface.Mount(source, "/v", propagation=propagation),)
            await world.run(name, "sleep 1000", mounts=mounts, security=security)
        for name in ("master", "slave", "loner"):
            script = f"mkdir -p /v/{name} && mount -t tmpfs x /v/{name} && touch /v/{name}/file"
            assert await world.exec(name, "sh", "-c", script) == (0, "")
        for name, seen in (("master", "master"), ("slave", "master slave"), ("loner", "loner")):
            _, found = await world.exec(name, "sh", "-c", "cd /v; echo $(ls -d */file)")
            assert found.split() == [f"{each}/file" for each in seen.split()]
        assert (source / "master/file").exists(), "the agent sees what is mounted, as a kubelet does"
        assert not (source / "slave/file").exists()

    in_world(test)


def test_a_symlink_in_the_image_does_not_redirect_mounts(in_world, tmp_path: pathlib.Path) -> None:
    """A mount onto a path that the container made a symlink to `/..` stays in the container."""

    async def test(world) -> None:
        (tmp_path / "victim").mkdir()
        (tmp_path / "source").mkdir()
        mount = interface.Mount(tmp_path / "source", "/link/target")
        spec = world.spec("evil", "touch /link/target/here", mounts=(mount,))
        container = await world.engine.create(spec)
        upper = world.folder.parent / "root/containers" / container.id / "upper"
        (upper / "link").symlink_to("../../../../.." + str(tmp_path / "victim"))
        try:
            await world.engine.start(container.id)
            await world.engine.wait(container.id)
        except interface.StartError:
            pass
        assert list((tmp_path / "victim").iterdir()) == []

    in_world(test)


def test_working_directory_is_made(in_world) -> None:
    async def test(world) -> None:
        security = interface.Security(user="1000")
        script = "pwd; touch here && echo mine"
        output = await world.output_of("wd", script, working_directory="/srv/app", security=security)
        assert output == "/srv/app\nmine\n"

    in_world(test)


def test_memory_limit_kills_and_is_told(in_world) -> None:
    async def test(world) -> None:
        events = world.engine.events()
        limits = interface.Resources(memory_bytes=16 << 20)
        container = await world.run("oom", "head -c 100m /dev/zero | tail", resources=limits)
        ended = await world.engine.wait(container.id)
        assert ended.oom_killed
        assert ended.exit_code != 0
        assert [(await anext(events)).type for _ in range(4)] == ["create", "start", "oom", "die"]

    in_world(test)


def test_limits_reach_the_kernel(in_world) -> None:
    """CPU, memory and process limits are those of the container's own group, under the sandbox's."""

    async def test(world) -> None:
        limits = interface.Resources(
            cpu_shares=512, cpu_quota_us=50_000, cpu_period_us=100_000, memory_bytes=32 << 20, pids=5
        )
        await world.engine.create_sandbox(
            interface.SandboxSpec(id="pod", hostname="pod", resources=interface.Resources(memory_bytes=64 << 20))
        )
        container = await world.run("limits", "echo ready; sleep 1000", resources=limits, sandbox="pod")
        await world.wait_log("limits", "ready")
        groups = pathlib.Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
        path = next(line.split(":", 2)[2] for line in groups if "memory" in line or line.startswith("0::"))
        root = pathlib.Path("/sys/fs/cgroup")
        if (root / "memory").is_dir():
            assert (root / "memory" / path[1:] / "memory.limit_in_bytes").read_text().strip() == str(32 << 20)
            assert (root / "memory" / path[1:]).parent.joinpath("memory.limit_in_bytes").read_text().strip() == str(
                64 << 20
            )
            assert (root / "cpu" / path[1:] / "cpu.cfs_quota_us").read_text().strip() == "50000"
            assert (root / "cpu" / path[1:] / "cpu.shares").read_text().strip() == "512"
        else:
            assert (root / path[1:] / "memory.max").read_text().strip() == str(32 << 20)
            assert (root / path[1:] / "cpu.max").read_text().strip() == "50000 100000"
        _, output = await world.exec("limits", "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo end")
        assert "fork" in output, "more processes than allowed cannot be made"

    in_world(test)
