"""An engine without a kernel: containers are coroutines, under whatever clock the test gives.

`FakeHost` is the machine (it outlives engines as real containers do), `FakeEngine` the implementation of `engine.interface` on it.
A container runs a `Program`: looked up by the first word of its command in `FakeHost.programs`, where the contract suite's
few commands are (`true`, `false`, `sleep`, `echo`, `cat`, `env`, and a `sh -c` that understands these, `exit`, `trap` and `;`).
A test adds its own with `host.programs["server"] = coroutine_function`, ends a container with `host.finish(...)`, and makes a verb
fail with `host.failures["start"] = StartError(...)`.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import json
import pathlib
import re
import shlex
import signal as signals
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from pinnace.engine import interface, users
from pinnace.kit import clock

Output = Callable[[Literal["stdout", "stderr"], bytes], None]
Program = Callable[["FakeProcess"], Awaitable[int]]


class ProgramEnd(Exception):
    """A script's own `exit`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FakeProcess:
    """What a program sees: arguments, environment, stdin, output, signals. Like any first process of a PID namespace it
    ignores the signals it has no handler for, but SIGKILL; `is_init=False` (exec) dies of them."""

    def __init__(
        self, time: clock.Clock, argv: Sequence[str], environment: Mapping[str, str], output: Output, *, is_init: bool
    ) -> None:
        self.clock = time
        self.argv = tuple(argv)
        self.environment = dict(environment)
        self.output = output
        self.is_init = is_init
        self.handlers: dict[int, int | None] = {}
        """Signal -> the exit code it ends the process with; None: ignored."""
        self.on_signal: Callable[[int], None] | None = None
        """Told of every signal but SIGKILL instead of `handlers`."""
        self.stdin: asyncio.Queue[bytes] = asyncio.Queue()
        """Pieces of input; b"" is its end."""
        self.size: tuple[int, int] = (0, 0)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def write(self, data: bytes, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        self.output(stream, data)

    def end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    def signal(self, number: int) -> None:
        if number == signals.SIGKILL:
            self.end(128 + number)
        elif self.on_signal is not None:
            self.on_signal(number)
        elif number in self.handlers:
            code = self.handlers[number]
            if code is not None:
                self.end(code)
        elif not self.is_init:
            self.end(128 + number)

    async def run(self, program: Program) -> int:
        work = asyncio.ensure_future(program(self))
        try:
            await asyncio.wait({work, self.ended}, return_when=asyncio.FIRST_COMPLETED)
            if self.ended.done():
                return self.ended.result()
            try:
                self.end(work.result())
            except ProgramEnd as end:
                self.end(end.code)
            return self.ended.result()
        finally:
            work.cancel()


# ---------------------------------------------------------------- programs


async def _true(process: FakeProcess) -> int:
    return 0


async def _false(process: FakeProcess) -> int:
    return 1


async def _sleep(process: FakeProcess) -> int:
    await process.clock.sleep(float(process.argv[1]))
    return 0


async def _echo(process: FakeProcess) -> int:
    process.write(" ".join(process.argv[1:]).encode() + b"\n")
    return 0


async def _cat(process: FakeProcess) -> int:
    while data := await process.stdin.get():
        process.write(data)
    return 0


async def _env(process: FakeProcess) -> int:
    for name, value in process.environment.items():
        process.write(f"{name}={value}\n".encode())
    return 0


async def _sh(process: FakeProcess) -> int:
    """`sh -c SCRIPT`, where SCRIPT is made of commands between `;` or `&`, `>&2`, `$NAME`, `exit N`, `trap 'exit N' SIGNAL`,
    `trap '' SIGNAL`, `wait`, `kill -N $$`."""
    if process.argv[1:2] != ("-c",):
        return await _cat(process)
    status = 0
    for words in _statements(process.argv[2]):
        status = await _statement(process, words)
    return status


def _statements(script: str) -> Iterable[list[str]]:
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&>")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in lexer:
        if token in (";", "&"):
            yield words
            words = []
        else:
            words.append(token)
    if words:
        yield words


async def _statement(process: FakeProcess, words: list[str]) -> int:
    if words[-2:] == [">&", "2"]:
        output = process.output
        inner = _child(process, words[:-2], lambda _, data: output("stderr", data))
    else:
        inner = _child(process, words, process.output)
    match inner.argv:
        case ("exit", code):
            raise ProgramEnd(int(code))
        case ("wait", *_):
            return 0
        case ("trap", action, *names):
            for name in names:
                process.handlers[_signal_number(name)] = int(action.split()[1]) if action else None
            return 0
        case ("kill", number, _):
            process.end(128 + _signal_number(number.lstrip("-")))
            await asyncio.Event().wait()
    program = PROGRAMS.get(inner.argv[0])
    if program is None:
        process.write(f"sh: {inner.argv[0]}: not found\n".encode(), "stderr")
        return 127
    return await program(inner)


def _child(process: FakeProcess, words: Sequence[str], output: Output) -> FakeProcess:
    argv = [re.sub(r"\$(\w+)", lambda m: process.environment.get(m[1], ""), word) for word in words]
    child = FakeProcess(process.clock, argv, process.environment, output, is_init=False)
    child.stdin = process.stdin
    return child


PROGRAMS: Mapping[str, Program] = {
    "true": _true,
    "false": _false,
    "sleep": _sleep,
    "echo": _echo,
    "cat": _cat,
    "env": _env,
    "sh": _sh,
}


# ---------------------------------------------------------------- the machine


@dataclasses.dataclass(slots=True)
class _Running:
    process: FakeProcess
    task: asyncio.Task[None]
    watchers: list[Output]


class FakeHost:
    """The machine: what outlives an engine."""

    def __init__(self, time: clock.Clock) -> None:
        self.clock = time
        self.programs: dict[str, Program] = dict(PROGRAMS)
        self.failures: dict[str, interface.EngineError] = {}
        """Verb -> raised by its next call, once."""
        self.problem = ""
        """What `check` finds."""
        self.calls: list[tuple[str, str]] = []
        """(verb, container or sandbox name) in order, to be looked at by tests."""
        self.containers: dict[str, interface.Container] = {}
        self.sandboxes: dict[str, interface.Sandbox] = {}
        self.groups: dict[str, interface.Resources] = {}
        self.images: dict[str, interface.Image] = {}
        self.remote_images: dict[str, interface.Image] = {}
        """What a pull finds."""
        self.image_mounts: dict[pathlib.Path, str] = {}
        self.every_image: Callable[[str], bool] = lambda name: False
        """Whether a pull finds an image of this full name that nobody has added: then one with the command `/entrypoint`."""
        self.find_program: Callable[[interface.ContainerSpec, Sequence[str]], Program | None] = self._named_program
        """What a container with this command does; None: there is no such program. By its first word unless replaced."""
        self.engine: FakeEngine | None = None
        self.untold: list[interface.ContainerEvent] = []
        self._running: dict[str, _Running] = {}
        self._died: dict[str, asyncio.Event] = {}
        self._serial = itertools.count(1)

    def add_image(self, reference: str, *, remote: bool = False, **fields: object) -> interface.Image:
        """An image that is there (or, `remote`, can be pulled). Its default command is `sleep 1000000`."""
        name = full_reference(reference)
        values: dict[str, object] = {"command": ("sleep", "1000000"), "size": 1 << 20, "created_at": 0, **fields}
        digest = "sha256:" + hashlib.sha256(name.encode()).hexdigest()
        image = interface.Image(id=digest, references=(name,), digests=(), **values)  # type: ignore[arg-type]
        (self.remote_images if remote else self.images)[name] = image
        return image

    def _named_program(self, spec: interface.ContainerSpec, argv: Sequence[str]) -> Program | None:
        return self.programs.get(argv[0])

    def remote_image(self, name: str) -> interface.Image | None:
        if name not in self.remote_images and self.every_image(name):
            self.add_image(name, remote=True, command=("/entrypoint",))
        return self.remote_images.get(name)

    def process(self, name_or_id: str) -> FakeProcess:
        """The running process of a container, for `.output`, `.handlers`, `.end`."""
        return self._running[self.find(name_or_id).id].process

    async def finish(self, name_or_id: str, exit_code: int, *, oom_killed: bool = False) -> None:
        """Let a container's process end; returns once its death is recorded."""
        container = self.find(name_or_id)
        if oom_killed:
            self.containers[container.id] = dataclasses.replace(container, oom_killed=True)
            self.tell("oom", container.id)
        self._running[container.id].process.end(exit_code)
        await self._died[container.id].wait()

    async def lose_power(self) -> None:
        """Everything that runs is gone at once, and so is what only memory knew; images and dead containers are on the disk."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for identity in list(self._running):
            self.record_death(identity, 137)
        self.untold.clear()
        self.sandboxes = {
            name: dataclasses.replace(sandbox, is_ready=False) for name, sandbox in self.sandboxes.items()
        }

    def find(self, name_or_id: str) -> interface.Container:
        for container in self.containers.values():
            if name_or_id in (container.spec.name, container.id):
                return container
        matches = [c for c in self.containers.values() if name_or_id and c.id.startswith(name_or_id)]
        if len(matches) != 1:
            raise interface.NoSuchObject(f"no container {name_or_id!r}")
        return matches[0]

    def now_ns(self) -> int:
        return int(self.clock.now().timestamp() * 1_000_000) * 1000

    def tell(
        self, kind: Literal["create", "start", "die", "oom", "remove"], container_id: str, exit_code: int = 0
    ) -> None:
        sandbox = self.containers[container_id].spec.sandbox
        event = interface.ContainerEvent(kind, container_id, sandbox, exit_code, self.now_ns())
        if self.engine is not None:
            self.engine.publish(event)
        elif kind in ("die", "oom"):
            self.untold.append(event)

    def fail_if_told(self, verb: str, name: str) -> None:
        self.calls.append((verb, name))
        if failure := self.failures.pop(verb, None):
            raise failure

    def new_container(self, spec: interface.ContainerSpec, image: interface.Image) -> interface.Container:
        serial = next(self._serial)
        identity = hashlib.sha256(f"{serial}/{spec.name}".encode()).hexdigest()
        container = interface.Container(
            id=identity, spec=spec, image_id=image.id, status=interface.ContainerStatus.CREATED, pid=0,
            created_at=self.now_ns(), started_at=0, finished_at=0, exit_code=0, oom_killed=False,
            log_path=spec.log_path or pathlib.Path(f"/nonexistent/{identity}.log"),
        )  # fmt: skip
        self.containers[identity] = container
        self._died[identity] = asyncio.Event()
        return container

    def launch(
        self, container: interface.Container, program: Program, argv: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        watchers: list[Output] = [_LogWriter(container, self).write] if container.spec.log_path else []
        if container.log_path.parent.is_dir():
            container.log_path.touch()

        def output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            for watcher in tuple(watchers):
                watcher(stream, data)

        process = FakeProcess(self.clock, argv, environment, output, is_init=True)
        if not container.spec.stdin:
            process.stdin.put_nowait(b"")
        task = asyncio.create_task(
            self._live(container.id, process, program), name=f"fake container {container.spec.name}"
        )
        self._running[container.id] = _Running(process, task, watchers)
        started = dataclasses.replace(
            container, status=interface.ContainerStatus.RUNNING, pid=1000 + len(self.calls), started_at=self.now_ns()
        )
        self.containers[container.id] = started

    def record_death(self, container_id: str, exit_code: int, error: str = "") -> None:
        self._running.pop(container_id, None)
        container = self.containers.get(container_id)
        if container is None:
            return
        self.containers[container_id] = dataclasses.replace(
            container, status=interface.ContainerStatus.EXITED, pid=0, exit_code=exit_code,
            finished_at=self.now_ns(), started_at=container.started_at, error=error,
        )  # fmt: skip
        self.tell("die", container_id, exit_code)
        self._died[container_id].set()

    async def wait_died(self, container_id: str) -> None:
        await self._died[container_id].wait()

    def watch_output(self, container_id: str, watcher: Output) -> Callable[[], None]:
        watchers = self._running[container_id].watchers
        watchers.append(watcher)
        return lambda: watchers.remove(watcher) if watcher in watchers else None

    async def _live(self, container_id: str, process: FakeProcess, program: Program) -> None:
        code = await process.run(program)
        self.record_death(container_id, code)


class _LogWriter:
    """Writes the CRI log format, where the file's folder exists."""

    def __init__(self, container: interface.Container, host: FakeHost) -> None:
        self._path = container.log_path
        self._host = host

    def write(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if not self._path.parent.is_dir():
            return
        stamp = self._host.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f000+00:00")
        with self._path.open("ab") as file:
            for line in data.splitlines(keepends=True):
                tag = "F" if line.endswith(b"\n") else "P"
                file.write(f"{stamp} {stream} {tag} ".encode() + line.rstrip(b"\n") + b"\n")


def _signal_number(signal: str | int) -> int:
    if isinstance(signal, int) or signal.isdigit():
        return int(signal)
    name = signal.upper()
    return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])


def full_reference(reference: str) -> str:
    """`nginx` -> `docker.io/library/nginx:latest`; good enough for a fake."""
    first, _, rest = reference.partition("/")
    if not rest:
        reference = f"docker.io/library/{reference}"
    elif "." not in first and ":" not in first and first != "localhost":
        reference = f"docker.io/{reference}"
    if ":" not in reference.rpartition("/")[2] and "@" not in reference:
        reference += ":latest"
    return reference


# ---------------------------------------------------------------- streams


class FakeStreams:
    def __init__(self, process: FakeProcess, exit_code: Awaitable[int], detach: Callable[[], None]) -> None:
        self._process = process
        self._exit = asyncio.ensure_future(exit_code)
        self._exit.add_done_callback(lambda _: self.output.put_nowait(None))
        self._detach = detach
        self.output: asyncio.Queue[tuple[Literal["stdout", "stderr"], bytes] | None] = asyncio.Queue()
        self._stdin_closed = False

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        piece = await self.output.get()
        if piece is None:
            self.output.put_nowait(None)
        return piece

    async def write(self, data: bytes) -> None:
        if data and not self._stdin_closed:
            self._process.stdin.put_nowait(data)

    async def close_stdin(self) -> None:
        if not self._stdin_closed:
            self._stdin_closed = True
            self._process.stdin.put_nowait(b"")

    async def resize(self, width: int, height: int) -> None:
        self._process.size = (width, height)

    async def wait(self) -> int:
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        self._detach()


class FakeEvents:
    """Registered from its construction on, so that no event between `events()` and the first `anext` is missed."""

    def __init__(self, subscribers: dict["FakeEvents", None]) -> None:
        self.queue: asyncio.Queue[interface.ContainerEvent] = asyncio.Queue()
        self._subscribers = subscribers
        subscribers[self] = None

    def __aiter__(self) -> "FakeEvents":
        return self

    async def __anext__(self) -> interface.ContainerEvent:
        return await self.queue.get()

    async def aclose(self) -> None:
        self._subscribers.pop(self, None)


# ---------------------------------------------------------------- the engine


class FakeImages:
    def __init__(self, host: FakeHost) -> None:
        self._host = host

    async def list(self) -> Sequence[interface.Image]:
        unique: dict[str, interface.Image] = {image.id: image for image in self._host.images.values()}
        return tuple(unique.values())

    async def get(self, reference: str) -> interface.Image:
        self._host.fail_if_told("get_image", reference)
        if "//" in reference or reference.lower() != reference:
            raise interface.ImageError(f'invalid reference format: "{reference}"', is_permanent=True)
        return self._find(reference)

    def _find(self, reference: str) -> interface.Image:
        if image := self._host.images.get(full_reference(reference)):
            return image
        wanted = reference.removeprefix("sha256:")
        for image in self._host.images.values():
            if reference in image.digests:
                return image
            if len(wanted) >= 4 and image.id.removeprefix("sha256:").startswith(wanted):
                return image
        raise interface.NoSuchObject(f"no such image: {reference}")

    async def pull(
        self, reference: str, credentials: interface.Credentials | None = None, *, by_owner: bool = False
    ) -> AsyncIterator[interface.Progress]:
        self._host.fail_if_told("pull", reference)
        name = full_reference(reference)
        yield interface.Progress(name, "Pulling")
        image = self._host.remote_image(name)
        if image is None:
            raise interface.ImageError(f"manifest for {name} not found: manifest unknown", is_permanent=True)
        self._host.images[name] = image
        yield interface.Progress(name, "Pull complete", image.size, image.size)

    async def push(
        self, reference: str, credentials: interface.Credentials | None = None
    ) -> AsyncIterator[interface.Progress]:
        self._host.fail_if_told("push", reference)
        image = self._find(reference)
        name = full_reference(reference)
        self._host.remote_images[name] = image
        yield interface.Progress(f"{name}@{image.id}", "Pushed")

    async def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """As `load` reads it."""
        found = [name for reference in names for name in self._find(reference).references]
        yield json.dumps(found).encode()

    async def configuration(self, reference: str) -> bytes:
        image = self._find(reference)
        settings = {"Cmd": list(image.command), "Entrypoint": list(image.entrypoint), "Env": list(image.environment)}
        return json.dumps({"os": "linux", "config": settings, "rootfs": {"type": "layers", "diff_ids": []}}).encode()

    async def load(self, archive: pathlib.Path) -> AsyncIterator[interface.Progress]:
        """The archive of a fake is a JSON list of names."""
        try:
            names = json.loads(archive.read_bytes())  # noqa: ASYNC240 - a fake's own small file
        except (OSError, ValueError) as error:
            raise interface.ImageError(f"{archive}: {error}", is_permanent=True) from error
        for name in names:
            image = self._host.add_image(name)
            yield interface.Progress(image.references[0], "Loaded image", image.size, image.size)

    async def tag(self, reference: str, new_reference: str) -> None:
        image = self._find(reference)
        name = full_reference(new_reference)
        tagged = dataclasses.replace(image, references=(*image.references, name))
        for reference_ in tagged.references:
            self._host.images[reference_] = tagged

    async def remove(self, reference: str, *, force: bool = False) -> Sequence[str]:
        image = self._find(reference)
        name = full_reference(reference)
        names = [name] if name in image.references else list(image.references)
        left = tuple(n for n in image.references if n not in names)
        used = [c.spec.name for c in self._host.containers.values() if c.image_id == image.id]
        used += [
            str(target) for target, shown in self._host.image_mounts.items() if shown == image.id and target.exists()
        ]
        if used and not left and not force:
            raise interface.EngineError(f"image {reference} is used by {used[0]}")
        for removed in names:
            self._host.images.pop(removed, None)
        for other in left:
            self._host.images[other] = dataclasses.replace(image, references=left)
        return names if left else [*names, image.id]

    async def prune(self, *, everything: bool = False) -> interface.Pruned:
        used = {container.image_id for container in self._host.containers.values()}
        used |= {shown for target, shown in self._host.image_mounts.items() if target.exists()}
        gone = {image.id: image for image in self._host.images.values() if everything and image.id not in used}
        deleted = []
        for image in gone.values():
            for name in image.references:
                self._host.images.pop(name, None)
            deleted += [*image.references, image.id]
        return interface.Pruned(tuple(deleted), sum(image.size for image in gone.values()))

    async def mount(self, reference: str, target: pathlib.Path) -> None:
        """A folder; it counts as mounted as long as it is there."""
        image = self._find(reference)
        self._host.fail_if_told("mount_image", reference)
        target.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a fake's own small folder
        self._host.image_mounts[target] = image.id


class FakeEngine:
    """Implements `engine.interface.Engine` on a `FakeHost`. Several engines may follow each other on one host."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.images: interface.Images = FakeImages(host)
        self._subscribers: dict[FakeEvents, None] = {}

    async def open(self) -> None:
        self.host.engine = self
        untold, self.host.untold = self.host.untold, []
        for event in untold:
            self.publish(event)

    async def close(self) -> None:
        if self.host.engine is self:
            self.host.engine = None

    async def check(self) -> None:
        if self.host.problem:
            raise interface.EngineError(self.host.problem)

    def publish(self, event: interface.ContainerEvent) -> None:
        for subscriber in self._subscribers:
            subscriber.queue.put_nowait(event)

    def events(self) -> AsyncIterator[interface.ContainerEvent]:
        return FakeEvents(self._subscribers)

    async def create_sandbox(self, spec: interface.SandboxSpec) -> interface.Sandbox:
        self.host.fail_if_told("create_sandbox", spec.id)
        if spec.id in self.host.sandboxes:
            raise interface.NameInUse(f"sandbox {spec.id} exists")
        namespace = None if spec.host_network else pathlib.Path("/nonexistent/netns") / spec.id
        sandbox = interface.Sandbox(spec.id, spec, namespace, self.host.now_ns(), is_ready=True)
        self.host.sandboxes[spec.id] = sandbox
        return sandbox

    async def remove_sandbox(self, sandbox_id: str) -> None:
        self.host.fail_if_told("remove_sandbox", sandbox_id)
        for container in [c for c in self.host.containers.values() if c.spec.sandbox == sandbox_id]:
            await self.remove(container.id, force=True)
        self.host.sandboxes.pop(sandbox_id, None)

    async def list_sandboxes(self) -> Sequence[interface.Sandbox]:
        return tuple(self.host.sandboxes.values())

    async def update_sandbox(self, sandbox_id: str, resources: interface.Resources) -> interface.Sandbox:
        self.host.fail_if_told("update_sandbox", sandbox_id)
        if sandbox_id not in self.host.sandboxes:
            raise interface.NoSuchObject(f"no sandbox {sandbox_id!r}")
        sandbox = self.host.sandboxes[sandbox_id]
        changed = dataclasses.replace(sandbox, spec=dataclasses.replace(sandbox.spec, resources=resources))
        self.host.sandboxes[sandbox_id] = changed
        return changed

    async def limit_group(self, group: str, resources: interface.Resources) -> None:
        self.host.fail_if_told("limit_group", group)
        self.host.groups[group] = resources

    async def create(self, spec: interface.ContainerSpec) -> interface.Container:
        self.host.fail_if_told("create", spec.name)
        if any(c.spec.name == spec.name for c in self.host.containers.values()):
            raise interface.NameInUse(f"container name {spec.name} is in use")
        if spec.sandbox is not None and spec.sandbox not in self.host.sandboxes:
            raise interface.NoSuchObject(f"no sandbox {spec.sandbox!r}")
        image = await self.images.get(spec.image)
        user = users.chosen(spec.security.user, image.user)
        if spec.security.run_as_non_root and user.partition(":")[0] in ("", "0", "root"):
            raise interface.StartError("container has runAsNonRoot and image will run as root")
        if spec.pid_of and not self.host.find(spec.pid_of).status.is_alive:
            raise interface.WrongStatus(f"container {spec.pid_of} is not running", self.host.find(spec.pid_of).status)
        if not self._argv(spec, image):
            raise interface.StartError("no command specified")
        if spec.working_directory and not spec.working_directory.startswith("/"):
            raise interface.StartError(f"the working directory {spec.working_directory!r} is invalid")
        if (
            len(spec.working_directory) > 4096
            or "\0" in spec.working_directory
            or any("\0" in mount.target for mount in spec.mounts)
        ):
            raise interface.EngineError(f"cannot create container {spec.name}: embedded null byte")
        container = self.host.new_container(spec, image)
        self.host.tell("create", container.id)
        return container

    @staticmethod
    def _argv(spec: interface.ContainerSpec, image: interface.Image) -> tuple[str, ...]:
        if spec.command is not None:
            return spec.command + (spec.arguments or ())
        return image.entrypoint + (image.command if spec.arguments is None else spec.arguments)

    async def start(self, container_id: str) -> interface.Container:
        container = self.host.find(container_id)
        if not container.status.can_start:
            raise interface.WrongStatus(
                f"container {container.spec.name} is {container.status.value}", container.status
            )
        try:
            self.host.fail_if_told("start", container.spec.name)
            image = await self.images.get(container.image_id)
            argv = self._argv(container.spec, image)
            program = self.host.find_program(container.spec, argv)
            if program is None:
                raise interface.StartError(
                    f'exec: "{argv[0]}": executable file not found in $PATH: No such file or directory', 127
                )
        except interface.StartError as error:
            self.host.record_death(container.id, error.exit_code, str(error))
            raise
        environment = {name: value for name, _, value in (pair.partition("=") for pair in image.environment)}
        self.host.launch(container, program, argv, {**environment, **dict(container.spec.environment)})
        self.host.tell("start", container.id)
        return self.host.containers[container.id]

    async def stop(self, container_id: str, timeout: float) -> interface.Container:
        container = self.host.find(container_id)
        self.host.fail_if_told("stop", container.spec.name)
        if not container.status.is_alive:
            return container
        died = asyncio.ensure_future(self.host.wait_died(container.id))
        process = self.host.process(container.id)
        if timeout > 0:
            process.signal(_signal_number(container.spec.stop_signal or "TERM"))
            patience = asyncio.ensure_future(self.host.clock.sleep(timeout))
            await asyncio.wait({died, patience}, return_when=asyncio.FIRST_COMPLETED)
            patience.cancel()
        process.signal(signals.SIGKILL)
        await died
        return self.host.containers[container.id]

    async def kill(self, container_id: str, signal: str | int) -> None:
        container = self.host.find(container_id)
        self.host.fail_if_told("kill", container.spec.name)
        if not container.status.is_alive:
            raise interface.WrongStatus(f"container {container.spec.name} is not running", container.status)
        self.host.process(container.id).signal(_signal_number(signal))

    async def update(self, container_id: str, resources: interface.Resources) -> interface.Container:
        container = self._running(container_id)
        self.host.fail_if_told("update", container.spec.name)
        used = (await self.stats(container.id)).memory_usage_bytes
        if 0 < resources.memory_bytes < used:
            raise interface.EngineError(
                f"attempting to set memory limit ({resources.memory_bytes}) below current usage ({used})"
            )
        kept = dataclasses.replace(resources, oom_score_adj=container.spec.resources.oom_score_adj)
        changed = dataclasses.replace(container, spec=dataclasses.replace(container.spec, resources=kept))
        self.host.containers[container.id] = changed
        return changed

    async def remove(self, container_id: str, *, force: bool = False) -> None:
        try:
            container = self.host.find(container_id)
        except interface.NoSuchObject:
            return
        self.host.fail_if_told("remove", container.spec.name)
        if container.status.is_alive:
            if not force:
                raise interface.WrongStatus(f"container {container.spec.name} is running", container.status)
            await self.stop(container.id, 0)
        self.host.tell("remove", container.id)
        self.host.containers.pop(container.id, None)

    async def inspect(self, container_id: str) -> interface.Container:
        return self.host.find(container_id)

    async def list(self) -> Sequence[interface.Container]:
        return tuple(self.host.containers.values())

    async def wait(self, container_id: str) -> interface.Container:
        container = self.host.find(container_id)
        await self.host.wait_died(container.id)
        return self.host.containers.get(container.id, container)

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        tty: bool = False,
        stdin: bool = False,
        environment: Sequence[tuple[str, str]] = (),
        user: str = "",
        working_directory: str = "",
        privileged: bool = False,
    ) -> interface.Streams:
        container = self._running(container_id)
        self.host.fail_if_told("exec", container.spec.name)
        merged = {**self.host.process(container.id).environment, **dict(environment)}
        streams: FakeStreams

        def output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            streams.output.put_nowait(("stdout" if tty else stream, data))

        process = FakeProcess(self.host.clock, command, merged, output, is_init=False)
        if not stdin:
            process.stdin.put_nowait(b"")
        program = self.host.programs.get(command[0], _not_found)
        streams = FakeStreams(process, process.run(program), lambda: process.signal(signals.SIGKILL))
        return streams

    async def attach(self, container_id: str, *, stdin: bool = False) -> interface.Streams:
        container = self._running(container_id)
        streams: FakeStreams

        def output(stream: Literal["stdout", "stderr"], data: bytes) -> None:
            streams.output.put_nowait(("stdout" if container.spec.tty else stream, data))

        async def exit_code() -> int:
            return (await self.wait(container.id)).exit_code

        detach = self.host.watch_output(container.id, output)
        streams = FakeStreams(self.host.process(container.id), exit_code(), detach)
        return streams

    def _running(self, container_id: str) -> interface.Container:
        container = self.host.find(container_id)
        if container.status is not interface.ContainerStatus.RUNNING:
            raise interface.WrongStatus(f"container {container.spec.name} is not running", container.status)
        return container

    async def stats(self, container_id: str) -> interface.Stats:
        container = self.host.find(container_id)
        if not container.status.is_alive:
            return interface.Stats(filesystem_bytes=1 << 12)
        age = self.host.now_ns() - container.started_at
        return interface.Stats(age // 100, 1 << 20, 1 << 20, 1, 1 << 12)

    async def reopen_log(self, container_id: str) -> None:
        with contextlib.suppress(interface.NoSuchObject):
            self.host.fail_if_told("reopen_log", self.host.find(container_id).spec.name)


async def _not_found(process: FakeProcess) -> int:
    process.write(
        f"executable file `{process.argv[0]}` not found in $PATH: No such file or directory\n".encode(), "stderr"
    )
    return 127
