"""exec and attach: terminals, sizes, large and binary data, children left behind."""

import asyncio
import hashlib
import os

import pytest

from pinnace.engine import interface

pytestmark = pytest.mark.privileged


def test_exec_with_a_terminal(in_world) -> None:
    """The process has a terminal of the size asked for; what is typed arrives; its output is one stream."""

    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        streams = await world.engine.exec(
            "host", ("sh", "-c", "read a; stty size; tty; echo $a >&2; exit 4"), tty=True, stdin=True
        )
        await streams.resize(100, 40)
        await streams.write(b"typed\n")
        output = b""
        async with asyncio.timeout(30):
            while (piece := await streams.read()) is not None:
                assert piece[0] == "stdout"
                output += piece[1]
        assert b"40 100" in output
        assert b"/dev/pts/" in output
        assert output.count(b"typed") == 2, "echoed by the terminal, then by the script"
        assert await streams.wait() == 4
        await streams.close()

    in_world(test)


def test_exec_with_a_terminal_of_a_missing_command(in_world) -> None:
    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        code, output = await world.exec("host", "nosuch", tty=True)
        assert code == 127
        assert "nosuch" in output

    in_world(test)


def test_exec_of_what_cannot_be_executed(in_world) -> None:
    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        code, output = await world.exec("host", "/etc/passwd")
        assert code == 126
        assert "ermission denied" in output

    in_world(test)


def test_exec_carries_much_data_both_ways(in_world) -> None:
    """20 MB through cat, with back-pressure both ways, unchanged."""

    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        data = os.urandom(1 << 20) * 20
        streams = await world.engine.exec("host", ("cat",), stdin=True)

        async def feed() -> None:
            for position in range(0, len(data), 100_000):
                await streams.write(data[position : position + 100_000])
            await streams.close_stdin()

        feeding = asyncio.create_task(feed())
        checksum = hashlib.sha256()
        async with asyncio.timeout(60):
            while (piece := await streams.read()) is not None:
                checksum.update(piece[1])
        await feeding
        assert checksum.digest() == hashlib.sha256(data).digest()
        await streams.close()

    in_world(test)


def test_exec_ends_although_a_child_stays(in_world) -> None:
    """A background child that keeps stdout open does not hold up the end of an exec."""

    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        code, output = await world.exec("host", "sh", "-c", "sleep 500 & echo started")
        assert (code, output) == (0, "started\n")

    in_world(test)


def test_closing_an_exec_kills_its_process(in_world) -> None:
    async def test(world) -> None:
        await world.run("host", "sleep 1000")
        for tty in (False, True):
            streams = await world.engine.exec("host", ("sh", "-c", "echo started; sleep 777"), tty=tty)
            assert await asyncio.wait_for(streams.read(), 30) is not None
            await asyncio.wait_for(streams.close(), 30)
            assert (await world.exec("host", "sh", "-c", "ps | grep -c '[s]h -c echo'"))[1] == "0\n"

    in_world(test)


def test_exec_as_another_user_with_more_environment(in_world) -> None:
    async def test(world) -> None:
        await world.run("host", "sleep 1000", environment=(("A", "1"), ("B", "1")))
        code, output = await world.exec(
            "host",
            "sh",
            "-c",
            "id -u; pwd; echo $A $B $HOME",
            user="app",
            working_directory="/tmp",
            environment=(("B", "2"),),
        )
        assert (code, output) == (0, "1000\n/tmp\n1 2 /home/app\n")

    in_world(test)


def test_attach_with_a_terminal(in_world) -> None:
    """attach types into the container's own terminal and sets its size."""

    async def test(world) -> None:
        container = await world.run("tty", "while read line; do stty size; echo got $line; done", tty=True, stdin=True)
        streams = await world.engine.attach(container.id, stdin=True)
        await streams.resize(90, 30)
        output = b""
        async with asyncio.timeout(30):
            # The size travels through another channel than the input: ask until it is there.
            while b"30 90" not in output or b"got hello" not in output:
                await streams.write(b"hello\n")
                piece = await streams.read()
                assert piece is not None
                output += piece[1]
        await streams.close()
        assert (await world.engine.inspect(container.id)).status is interface.ContainerStatus.RUNNING

    in_world(test)


def test_detaching_leaves_stdin_open_unless_once(in_world) -> None:
    """With stdin_once the first detach ends stdin; without, others may attach and go on."""

    async def test(world) -> None:
        await world.run("stays", "cat", stdin=True)
        for text in (b"one\n", b"two\n"):
            streams = await world.engine.attach("stays", stdin=True)
            await streams.write(text)
            assert await asyncio.wait_for(streams.read(), 30) == ("stdout", text)
            await streams.close()
        await world.engine.stop("stays", 0)
        await world.run("once", "cat; exit 3", stdin=True, stdin_once=True)
        streams = await world.engine.attach("once", stdin=True)
        await streams.close()
        assert (await asyncio.wait_for(world.engine.wait("once"), 30)).exit_code == 3

    in_world(test)
