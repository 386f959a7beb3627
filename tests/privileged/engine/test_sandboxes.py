"""What the containers of one sandbox share."""

import os
import pathlib

import pytest

from pinnace.engine import interface
from pinnace.kernel import namespaces

pytestmark = pytest.mark.privileged


def test_containers_share_network_hostname_and_memory(in_world) -> None:
    """And nothing else: processes and files are each container's own."""

    async def test(world) -> None:
        sandbox = await world.engine.create_sandbox(
            interface.SandboxSpec(id="pod", hostname="web-0", shm_bytes=1 << 20)
        )
        one = await world.run("one", "echo from-one > /dev/shm/x; echo ready; sleep 1000", sandbox="pod")
        await world.wait_log("one", "ready")
        output = await world.output_of(
            "two", "hostname; cat /dev/shm/x; df -k /dev/shm | grep -c 1024; ls /proc/1/exe", sandbox="pod"
        )
        assert output.splitlines()[:3] == ["web-0", "from-one", "1"]
        own = os.stat(sandbox.network_namespace)
        inside = os.stat(f"/proc/{one.pid}/ns/net")
        assert (own.st_dev, own.st_ino) == (inside.st_dev, inside.st_ino)
        assert namespaces.run_in_network(
            sandbox.network_namespace, lambda: [n for _, n in __import__("socket").if_nameindex()]
        ) == ["lo"]

    in_world(test)


def test_shared_pid_namespace(in_world) -> None:
    """Containers see each other's processes; the namespace outlives each of them; stopping one leaves the others."""

    async def test(world) -> None:
        await world.engine.create_sandbox(interface.SandboxSpec(id="pod", hostname="pod", share_pid=True))
        await world.run("one", "echo ready; sleep 4321", sandbox="pod")
        await world.wait_log("one", "ready")
        await world.run("two", "echo ready; sleep 1000", sandbox="pod")
        code, output = await world.exec("two", "ps")
        assert code == 0
        assert "sleep 4321" in output
        await world.engine.stop("one", 0)
        code, output = await world.exec("two", "ps")
        assert "sleep 4321" not in output

    in_world(test)


def test_sysctls_are_the_sandboxs_own(in_world) -> None:
    async def test(world) -> None:
        before = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
        spec = interface.SandboxSpec(id="pod", hostname="pod", sysctls={"net.ipv4.ip_unprivileged_port_start": "77"})
        await world.engine.create_sandbox(spec)
        output = await world.output_of("s", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", sandbox="pod")
        assert output == "77\n"
        assert pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before

    in_world(test)


def test_host_namespaces(in_world) -> None:
    async def test(world) -> None:
        spec = interface.SandboxSpec(id="pod", hostname="pod", host_network=True, host_pid=True, host_ipc=True)
        await world.engine.create_sandbox(spec)
        container = await world.run("host", "echo ready; sleep 1000", sandbox="pod")
        for kind in ("net", "pid", "ipc", "uts"):
            assert os.readlink(f"/proc/{container.pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
        await world.engine.stop("host", 0)

    in_world(test)


def test_a_failed_sandbox_leaves_nothing(in_world) -> None:
    async def test(world) -> None:
        spec = interface.SandboxSpec(id="bad", hostname="bad", sysctls={"net.ipv4.no_such_thing": "1"})
        with pytest.raises(interface.EngineError, match="no_such_thing"):
            await world.engine.create_sandbox(spec)
        assert await world.engine.list_sandboxes() == ()

    in_world(test)
