"""What every implementation of `engine.interface` must do: one coroutine per behaviour, run against the fake and the real one.

A test module makes a `Harness` around its engine and runs each of `CHECKS` on a fresh one. The containers run a handful of commands
that busybox has and the fake understands.
"""

import asyncio
import dataclasses
import json
import pathlib
from collections.abc import Awaitable, Callable, Sequence

from pinnace.engine import interface, logs

Status = interface.ContainerStatus
PATIENCE = 30.0


@dataclasses.dataclass(slots=True)
class Harness:
    engine: interface.Engine
    image: str
    """A reference to an image with the commands; its own command is `sleep 1000000`."""
    archive: pathlib.Path
    """An archive that `Images.load` takes, holding the image `archived:1`."""
    folder: pathlib.Path
    """Where logs may be written."""
    reopen: Callable[[], Awaitable[interface.Engine]]
    """Close the engine, open another one on the same machine."""
    unmount: Callable[[pathlib.Path], object] = pathlib.Path.rmdir
    """Undo the mount of an image."""

    async def run(self, name: str, script: str, **changes: object) -> interface.Container:
        """Create and start a container that runs `sh -c script`."""
        container = await self.engine.create(self.spec(name, script, **changes))
        return await self.engine.start(container.id)

    def spec(self, name: str, script: str, **changes: object) -> interface.ContainerSpec:
        values: dict[str, object] = {
            "command": ("sh", "-c", script),
            "log_path": self.folder / f"{name}.log",
            **changes,
        }
        return interface.ContainerSpec(name=name, image=self.image, **values)  # type: ignore[arg-type]

    async def output(self, name: str) -> list[tuple[str, bytes]]:
        return [piece async for piece in logs.read(self.folder / f"{name}.log", logs.Options())]


async def _expect(error: type[BaseException], work: Awaitable[object]) -> BaseException:
    try:
        await work
    except error as raised:
        return raised
    raise AssertionError(f"expected {error.__name__}, nothing was raised")


async def _all_output(streams: interface.Streams) -> dict[str, bytes]:
    result = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(PATIENCE):
        while (piece := await streams.read()) is not None:
            result[piece[0]] += piece[1]
    return result


async def _next_event(events: object, kind: str) -> interface.ContainerEvent:
    async with asyncio.timeout(PATIENCE):
        while True:
            event: interface.ContainerEvent = await anext(events)  # type: ignore[call-overload]
            if event.type == kind:
                return event


# ---------------------------------------------------------------- lifecycle


async def runs_and_keeps_exit_code_and_log(harness: Harness) -> None:
    """A container runs its command; exit code, times and log are there afterwards."""
    started = await harness.run("once", "echo out; echo err >&2; exit 3")
    assert started.started_at >= started.created_at > 0
    ended = await harness.engine.wait(started.id)
    assert (ended.status, ended.exit_code, ended.pid) == (Status.EXITED, 3, 0)
    assert ended.finished_at >= ended.started_at - 1_000_000_000
    assert not ended.oom_killed
    assert sorted(await harness.output("once")) == [("stderr", b"err\n"), ("stdout", b"out\n")]


async def an_engine_that_works_says_so(harness: Harness) -> None:
    """check raises nothing, before and after containers ran."""
    await harness.engine.check()
    await harness.engine.wait((await harness.run("once", "exit 0")).id)
    await harness.engine.check()


async def created_container_does_not_run(harness: Harness) -> None:
    """create starts no process; the container is listed and found by id, prefix and name."""
    container = await harness.engine.create(harness.spec("idle", "exit 0"))
    assert (container.status, container.pid, container.started_at) == (Status.CREATED, 0, 0)
    assert len(container.id) == 64
    for key in (container.id, container.id[:12], "idle"):
        assert (await harness.engine.inspect(key)).id == container.id
    assert [c.id for c in await harness.engine.list()] == [container.id]


async def image_gives_the_default_command(harness: Harness) -> None:
    """Without command and arguments the image's own run; arguments alone replace the image's command."""
    container = await harness.engine.create(interface.ContainerSpec(name="default", image=harness.image))
    running = await harness.engine.start(container.id)
    assert running.status is Status.RUNNING
    await harness.engine.stop(running.id, 0)


async def environment_reaches_the_process(harness: Harness) -> None:
    """The spec's variables are set; a later one of the same name wins."""
    container = await harness.run("env", "echo $COLOUR", environment=(("COLOUR", "red"), ("COLOUR", "blue")))
    await harness.engine.wait(container.id)
    assert await harness.output("env") == [("stdout", b"blue\n")]


async def names_are_unique(harness: Harness) -> None:
    """A second container of a name is refused; after removal the name is free again."""
    first = await harness.engine.create(harness.spec("name", "exit 0"))
    await _expect(interface.NameInUse, harness.engine.create(harness.spec("name", "exit 0")))
    await harness.engine.remove(first.id)
    await harness.engine.create(harness.spec("name", "exit 0"))


async def missing_things_are_named(harness: Harness) -> None:
    """NoSuchObject for images, sandboxes and containers that are not there; removing them is quiet."""
    engine = harness.engine
    await _expect(interface.NoSuchObject, engine.create(interface.ContainerSpec(name="x", image="no/such:image")))
    await _expect(interface.NoSuchObject, engine.create(harness.spec("x", "exit 0", sandbox="nosuch")))
    for work in (engine.inspect("nosuch"), engine.start("nosuch"), engine.wait("nosuch"), engine.stop("nosuch", 1)):
        await _expect(interface.NoSuchObject, work)
    await engine.remove("nosuch")
    await engine.remove_sandbox("nosuch")


async def start_happens_once(harness: Harness) -> None:
    """A running or exited container cannot be started; the error carries the status."""
    container = await harness.run("twice", "sleep 1000")
    error = await _expect(interface.WrongStatus, harness.engine.start(container.id))
    assert isinstance(error, interface.WrongStatus)
    assert error.status is Status.RUNNING
    await harness.engine.stop(container.id, 0)
    error = await _expect(interface.WrongStatus, harness.engine.start(container.id))
    assert isinstance(error, interface.WrongStatus)
    assert error.status is Status.EXITED


async def unknown_command_fails_with_127(harness: Harness) -> None:
    """StartError for a command that is not there; the container is exited with the same code."""
    container = await harness.engine.create(
        interface.ContainerSpec(name="nosuch", image=harness.image, command=("/no/such/command",))
    )
    error = await _expect(interface.StartError, harness.engine.start(container.id))
    assert isinstance(error, interface.StartError)
    assert error.exit_code == 127
    ended = await harness.engine.inspect(container.id)
    assert (ended.status, ended.exit_code) == (Status.EXITED, 127)
    assert ended.error
    assert (await harness.engine.wait(container.id)).exit_code == 127


async def root_is_refused_where_asked(harness: Harness) -> None:
    """run_as_non_root refuses user 0 at create, and leaves nothing behind."""
    security = interface.Security(run_as_non_root=True)
    await _expect(interface.StartError, harness.engine.create(harness.spec("root", "exit 0", security=security)))
    assert await harness.engine.list() == ()
    await harness.engine.create(harness.spec("root", "exit 0", security=dataclasses.replace(security, user="1000")))


async def stop_sends_the_signal_first(harness: Harness) -> None:
    """A container that handles its stop signal ends by itself, well before the timeout."""
    script = "trap 'exit 5' TERM; echo ready; sleep 1000 & wait"
    container = await harness.run("polite", script)
    await _wait_output(harness, "polite", b"ready\n")
    ended = await asyncio.wait_for(harness.engine.stop(container.id, 1000), PATIENCE)
    assert ended.exit_code == 5


async def stop_kills_after_the_timeout(harness: Harness) -> None:
    """A container that ignores its stop signal is killed; stopping it again is quiet."""
    container = await harness.run("deaf", "trap '' TERM; echo ready; sleep 1000")
    await _wait_output(harness, "deaf", b"ready\n")
    ended = await asyncio.wait_for(harness.engine.stop(container.id, 0.2), PATIENCE)
    assert (ended.status, ended.exit_code) == (Status.EXITED, 137)
    assert (await harness.engine.stop(container.id, 10)).exit_code == 137


async def kill_sends_any_signal(harness: Harness) -> None:
    """kill takes names and numbers; a container that does not run refuses it."""
    container = await harness.run("kill", "trap 'exit 6' USR1; echo ready; sleep 1000 & wait")
    await _wait_output(harness, "kill", b"ready\n")
    await harness.engine.kill(container.id, "SIGUSR1")
    assert (await asyncio.wait_for(harness.engine.wait(container.id), PATIENCE)).exit_code == 6
    await _expect(interface.WrongStatus, harness.engine.kill(container.id, 9))


async def remove_wants_force_while_running(harness: Harness) -> None:
    """A running container is removed by force alone; its log, at a path of the caller's, stays."""
    container = await harness.run("busy", "echo here; sleep 1000")
    await _wait_output(harness, "busy", b"here\n")
    await _expect(interface.WrongStatus, harness.engine.remove(container.id))
    await harness.engine.remove(container.id, force=True)
    assert await harness.engine.list() == ()
    assert (harness.folder / "busy.log").exists()


async def events_tell_the_life(harness: Harness) -> None:
    """create, start, die with the exit code, remove: in this order, to every listener."""
    listeners = [harness.engine.events(), harness.engine.events()]
    container = await harness.run("events", "exit 4")
    await harness.engine.wait(container.id)
    await harness.engine.remove(container.id)
    for events in listeners:
        async with asyncio.timeout(PATIENCE):
            told = [await anext(events) for _ in range(4)]
        assert [event.type for event in told] == ["create", "start", "die", "remove"]
        assert {event.container_id for event in told} == {container.id}
        assert told[2].exit_code == 4


# ---------------------------------------------------------------- sandboxes


async def sandbox_holds_containers(harness: Harness) -> None:
    """A sandbox is listed with its spec and network namespace; removing it removes its containers."""
    spec = interface.SandboxSpec(id="pod-1", hostname="web-0", labels={"a": "b"})
    sandbox = await harness.engine.create_sandbox(spec)
    assert sandbox.is_ready
    assert sandbox.network_namespace is not None
    assert [s.spec for s in await harness.engine.list_sandboxes()] == [spec]
    container = await harness.run("inside", "sleep 1000", sandbox="pod-1")
    outside = await harness.run("outside", "sleep 1000")
    assert container.spec.sandbox == "pod-1"
    await harness.engine.remove_sandbox("pod-1")
    assert [c.id for c in await harness.engine.list()] == [outside.id]
    assert await harness.engine.list_sandboxes() == ()
    await harness.engine.stop(outside.id, 0)


async def host_network_has_no_namespace(harness: Harness) -> None:
    """With the host's network there is no namespace to configure."""
    sandbox = await harness.engine.create_sandbox(interface.SandboxSpec(id="host", hostname="h", host_network=True))
    assert sandbox.network_namespace is None
    assert sandbox.is_ready
    await harness.engine.remove_sandbox("host")


# ---------------------------------------------------------------- exec, attach


async def exec_runs_beside(harness: Harness) -> None:
    """exec gives both streams apart and the exit code; the container goes on."""
    container = await harness.run("host", "sleep 1000", environment=(("COLOUR", "red"),))
    streams = await harness.engine.exec(
        container.id, ("sh", "-c", "echo $COLOUR $SHAPE; echo bad >&2; exit 9"), environment=(("SHAPE", "round"),)
    )
    assert await _all_output(streams) == {"stdout": b"red round\n", "stderr": b"bad\n"}
    assert await streams.wait() == 9
    await streams.close()
    assert (await harness.engine.inspect(container.id)).status is Status.RUNNING
    await harness.engine.stop(container.id, 0)


async def exec_takes_stdin_to_its_end(harness: Harness) -> None:
    """What is written arrives; closing stdin ends a reader; writing afterwards is quiet."""
    container = await harness.run("host", "sleep 1000")
    streams = await harness.engine.exec(container.id, ("cat",), stdin=True)
    await streams.write(b"one\n")
    await streams.write(b"two\n")
    await streams.close_stdin()
    await streams.write(b"three\n")
    assert (await _all_output(streams))["stdout"] == b"one\ntwo\n"
    assert await streams.wait() == 0
    await streams.close()
    await harness.engine.stop(container.id, 0)


async def exec_of_a_missing_command_ends_with_127(harness: Harness) -> None:
    """The reason comes on stderr."""
    container = await harness.run("host", "sleep 1000")
    streams = await harness.engine.exec(container.id, ("nosuchcommand",))
    output = await _all_output(streams)
    assert b"nosuchcommand" in output["stderr"]
    assert await streams.wait() == 127
    await streams.close()
    await harness.engine.stop(container.id, 0)


async def exec_is_killed_by_close(harness: Harness) -> None:
    """Closing an exec that still runs kills its process."""
    container = await harness.run("host", "sleep 1000")
    streams = await harness.engine.exec(container.id, ("sleep", "1000"))
    await asyncio.wait_for(streams.close(), PATIENCE)
    assert await asyncio.wait_for(streams.wait(), PATIENCE) == 137
    await harness.engine.stop(container.id, 0)


async def exec_needs_a_running_container(harness: Harness) -> None:
    """WrongStatus for exec and attach where nothing runs; of its figures only the disk's are left."""
    container = await harness.engine.create(harness.spec("idle", "exit 0"))
    await _expect(interface.WrongStatus, harness.engine.exec(container.id, ("true",)))
    await _expect(interface.WrongStatus, harness.engine.attach(container.id))
    figures = await harness.engine.stats(container.id)
    assert (figures.pids, figures.memory_usage_bytes, figures.cpu_nanoseconds) == (0, 0, 0)


async def what_no_path_can_be_is_refused(harness: Harness) -> None:
    """EngineError and nothing left, whatever a user wrote where a path belongs."""
    for number, directory in enumerate(("..", "relative/path", "/nul\0inside", "/" + "x/" * 3000)):
        error = await _expect(
            interface.EngineError,
            harness.engine.create(harness.spec(f"bad{number}", "pwd", working_directory=directory)),
        )
        assert str(error)
    assert await harness.engine.list() == ()


async def a_working_directory_is_made_where_it_is_missing(harness: Harness) -> None:
    """Also one that is written with `..`."""
    container = await harness.run("cwd", "exit 0", working_directory="/a/../b/../../c")
    await asyncio.wait_for(harness.engine.wait(container.id), PATIENCE)
    assert (await harness.engine.inspect(container.id)).exit_code == 0


async def attach_reaches_the_container_itself(harness: Harness) -> None:
    """attach reads and writes the container's own stdio; its end is the container's."""
    container = await harness.run("cat", "cat", stdin=True, stdin_once=True)
    streams = await harness.engine.attach(container.id, stdin=True)
    await streams.write(b"hello\n")
    async with asyncio.timeout(PATIENCE):
        assert await streams.read() == ("stdout", b"hello\n")
    await streams.close_stdin()
    assert await asyncio.wait_for(streams.wait(), PATIENCE) == 0
    assert await _all_output(streams) == {"stdout": b"", "stderr": b""}
    await streams.close()


async def stats_of_a_running_container(harness: Harness) -> None:
    """Figures are there while it runs."""
    container = await harness.run("figures", "sleep 1000")
    figures = await harness.engine.stats(container.id)
    assert figures.pids >= 1
    assert figures.cpu_nanoseconds >= 0
    await harness.engine.stop(container.id, 0)


async def limits_change_while_it_runs(harness: Harness) -> None:
    """update keeps the new limits in the spec, refuses a memory limit below the use, and needs a running container."""
    await harness.engine.create_sandbox(interface.SandboxSpec(id="pod", hostname="pod"))
    limits = interface.Resources(cpu_shares=102, cpu_quota_us=20_000, memory_bytes=64 << 20, oom_score_adj=500)
    container = await harness.run("resized", "sleep 1000", sandbox="pod", resources=limits)
    pod = interface.Resources(cpu_shares=512, cpu_quota_us=50_000, memory_bytes=256 << 20)
    assert (await harness.engine.update_sandbox("pod", pod)).spec.resources == pod
    more = interface.Resources(cpu_shares=204, cpu_quota_us=40_000, memory_bytes=128 << 20)
    changed = await harness.engine.update(container.id, more)
    assert changed.spec.resources == dataclasses.replace(more, oom_score_adj=500)
    await _expect(interface.EngineError, harness.engine.update(container.id, interface.Resources(memory_bytes=4096)))
    assert await harness.engine.inspect(container.id) == changed
    await harness.engine.update(container.id, limits)
    await harness.engine.update(container.id, interface.Resources())
    await harness.engine.stop(container.id, 0)
    await _expect(interface.WrongStatus, harness.engine.update(container.id, more))
    await _expect(interface.NoSuchObject, harness.engine.update_sandbox("none", more))
    await harness.engine.remove_sandbox("pod")


async def processes_of_another_container_are_joined(harness: Harness) -> None:
    """pid_of names a container that runs; one that has ended is refused."""
    target = await harness.run("target", "sleep 1000")
    beside = await harness.run("beside", "sleep 1000", pid_of=target.id)
    assert beside.status is Status.RUNNING
    for each in (beside, target):
        await harness.engine.stop(each.id, 0)
    await _expect(interface.WrongStatus, harness.engine.create(harness.spec("late", "sleep 1000", pid_of=target.id)))


# ---------------------------------------------------------------- images


async def mounted_images_stay(harness: Harness) -> None:
    """mount shows an image at a place, as often as it is called; until the place is given up the image is removed by force alone."""
    images = harness.engine.images
    target = harness.folder / "shown"
    await _drain(harness, harness.archive)
    await _expect(interface.NoSuchObject, images.mount("no/such:1", target))
    await images.mount("archived:1", target)
    await images.mount("archived:1", target)
    assert target.is_dir()
    await _expect(interface.EngineError, images.remove("archived:1"))
    harness.unmount(target)
    assert await images.remove("archived:1")


async def images_load_tag_and_go(harness: Harness) -> None:
    """load names the image last; it is found by name, short name and id; with its last name it goes."""
    images = harness.engine.images
    steps = [step async for step in images.load(harness.archive)]
    assert (steps[-1].status, steps[-1].item) == ("Loaded image", "docker.io/library/archived:1")
    error = await _expect(interface.ImageError, images.get("NOT//a-name"))
    assert isinstance(error, interface.ImageError)
    assert error.is_permanent
    image = await images.get("archived:1")
    for reference in ("docker.io/library/archived:1", image.id, image.id.removeprefix("sha256:")[:12]):
        assert (await images.get(reference)).id == image.id
    await images.tag("archived:1", "other/name:2")
    assert set((await images.get(image.id)).references) == {"docker.io/library/archived:1", "docker.io/other/name:2"}
    await images.remove("archived:1")
    await _expect(interface.NoSuchObject, images.get("archived:1"))
    assert (await images.get("other/name:2")).id == image.id
    await images.remove("other/name:2")
    await _expect(interface.NoSuchObject, images.get(image.id))
    await _expect(interface.NoSuchObject, images.remove("other/name:2"))


async def bad_archives_are_permanent_errors(harness: Harness) -> None:
    """Neither a missing file nor one that is no archive is worth another try."""
    path = harness.folder / "bad.tar"
    error = await _expect(interface.ImageError, _drain(harness, path))
    assert isinstance(error, interface.ImageError)
    assert error.is_permanent
    path.write_bytes(b"this is no archive" * 100)
    await _expect(interface.ImageError, _drain(harness, path))


async def images_are_saved_as_they_are_loaded(harness: Harness) -> None:
    """What save writes load reads, to the same image; what is not there is not saved, nor told about."""
    images = harness.engine.images
    async for _ in images.load(harness.archive):
        pass
    identity = (await images.get("archived:1")).id
    saved = harness.archive.with_name("saved.tar")
    saved.write_bytes(b"".join([piece async for piece in images.save(["archived:1"])]))
    await images.remove("archived:1")
    async for _ in images.load(saved):
        pass
    assert (await images.get("archived:1")).id == identity
    assert json.loads(await images.configuration("archived:1"))["config"]
    await _expect(interface.NoSuchObject, images.configuration("no/such:1"))
    await _expect(interface.NoSuchObject, anext(aiter(images.save(["no/such:1"]))))
    await images.remove("archived:1")


async def prune_takes_what_nothing_uses(harness: Harness) -> None:
    """Named images stay unless everything is asked for; those of containers stay in any case."""
    images = harness.engine.images
    async for _ in images.load(harness.archive):
        pass
    await harness.engine.create(interface.ContainerSpec(name="user", image=harness.image))
    await images.prune()
    await images.get("archived:1")
    pruned = await images.prune(everything=True)
    assert "docker.io/library/archived:1" in pruned.deleted
    await _expect(interface.NoSuchObject, images.get("archived:1"))
    await images.get(harness.image)


async def used_images_stay(harness: Harness) -> None:
    """An image that a container uses is removed by force alone."""
    await harness.engine.create(harness.spec("user", "exit 0"))
    await _expect(interface.EngineError, harness.engine.images.remove(harness.image))
    assert await harness.engine.images.get(harness.image)


# ---------------------------------------------------------------- the engine goes and comes


async def running_containers_survive(harness: Harness) -> None:
    """Closed and opened again, the engine finds containers running, with the same pid, and can do everything with them."""
    await harness.engine.create_sandbox(interface.SandboxSpec(id="pod", hostname="pod"))
    before = await harness.run("stays", "trap 'exit 5' TERM; echo ready; sleep 1000 & wait", sandbox="pod")
    await _wait_output(harness, "stays", b"ready\n")
    engine = harness.engine = await harness.reopen()
    after = await engine.inspect("stays")
    assert (after.id, after.pid, after.status, after.started_at) == (
        before.id, before.pid, Status.RUNNING, before.started_at,
    )  # fmt: skip
    assert [s.id for s in await engine.list_sandboxes()] == ["pod"]
    streams = await engine.exec(after.id, ("echo", "hi"))
    assert (await _all_output(streams))["stdout"] == b"hi\n"
    await streams.close()
    assert (await asyncio.wait_for(engine.stop(after.id, 1000), PATIENCE)).exit_code == 5
    await engine.remove_sandbox("pod")
    assert await engine.list() == ()


async def deaths_without_an_engine_are_told_once(harness: Harness) -> None:
    """A container that dies while no engine is open has its exit code, and its death is told at the next open alone."""
    container = await harness.run("dies", "cat; exit 7", stdin=True, stdin_once=True)
    streams = await harness.engine.attach(container.id, stdin=True)
    await harness.engine.close()
    await streams.close_stdin()
    await _end_of(streams)
    engine = harness.engine = await harness.reopen()
    assert (await asyncio.wait_for(engine.wait(container.id), PATIENCE)).exit_code == 7
    engine = harness.engine = await harness.reopen()
    events = engine.events()
    assert (await engine.inspect(container.id)).exit_code == 7
    await engine.remove(container.id)
    assert (await _next_event(events, "remove")).container_id == container.id


async def _end_of(streams: interface.Streams) -> None:
    async with asyncio.timeout(PATIENCE):
        while await streams.read() is not None:
            pass
    await streams.close()


async def _drain(harness: Harness, path: pathlib.Path) -> None:
    async for _ in harness.engine.images.load(path):
        pass


async def _wait_output(harness: Harness, name: str, text: bytes) -> None:
    seen = b""
    container = await harness.engine.inspect(name)
    async with asyncio.timeout(PATIENCE):
        async for _, data in logs.read(
            container.log_path, logs.Options(follow=True), lambda: harness.engine.wait(container.id)
        ):
            seen += data
            if text in seen:
                return
    raise AssertionError(f"{name} ended without writing {text!r}: {seen!r}")


CHECKS: Sequence[Callable[[Harness], Awaitable[None]]] = (
    runs_and_keeps_exit_code_and_log,
    an_engine_that_works_says_so,
    created_container_does_not_run,
    image_gives_the_default_command,
    environment_reaches_the_process,
    names_are_unique,
    missing_things_are_named,
    start_happens_once,
    unknown_command_fails_with_127,
    root_is_refused_where_asked,
    stop_sends_the_signal_first,
    stop_kills_after_the_timeout,
    kill_sends_any_signal,
    remove_wants_force_while_running,
    events_tell_the_life,
    sandbox_holds_containers,
    host_network_has_no_namespace,
    exec_runs_beside,
    exec_takes_stdin_to_its_end,
    exec_of_a_missing_command_ends_with_127,
    exec_is_killed_by_close,
    exec_needs_a_running_container,
    attach_reaches_the_container_itself,
    what_no_path_can_be_is_refused,
    a_working_directory_is_made_where_it_is_missing,
    stats_of_a_running_container,
    limits_change_while_it_runs,
    processes_of_another_container_are_joined,
    images_load_tag_and_go,
    images_are_saved_as_they_are_loaded,
    prune_takes_what_nothing_uses,
    bad_archives_are_permanent_errors,
    used_images_stay,
    mounted_images_stay,
    running_containers_survive,
    deaths_without_an_engine_are_told_once,
)
