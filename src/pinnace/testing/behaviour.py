"""What the containers of a simulated node do: said by the test, by an annotation of the pod, or by their own command.

    metadata:
      annotations:
        testing.pinnace.dev/behaviour: '{"exit_code": 1, "after": 3, "logs": "no database\\n"}'
        testing.pinnace.dev/behaviour.sidecar: '{"ready_after": 10}'       # of this container alone

Without either, a command that the fake engine understands (`true`, `false`, `sleep`, `echo`, `cat`, `env`, and a `sh -c` made of these) does
what it says; everything else runs, is ready, and ends with 0 when it is told to stop.
"""

import asyncio
import dataclasses
import functools
import json
import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

from pinnace.engine import interface
from pinnace.kubelet.pod import checks, model, podspec
from pinnace.testing import fake_engine

Object = dict[str, Any]

ANNOTATION = "testing.pinnace.dev/behaviour"
_SHELL_WORDS = frozenset({"exit", "wait", "trap", "kill"})
_BEYOND_THE_SHELL = re.compile(r"[|`(){}<\n*?]|&&|\$\(|\b(while|for|if|until|case)\b")


@dataclasses.dataclass(frozen=True, slots=True)
class Behaviour:
    """Of one container, from its start on; all times in seconds."""

    exit_code: int | None = None
    """None: it runs until it is told to stop, and then ends with 0."""
    after: float = 0.0
    """When it ends by itself, where `exit_code` says how."""
    logs: str = ""
    """Written to stdout at its start."""
    ready: bool = True
    """What readiness and startup probes find …"""
    ready_after: float = 0.0
    """… once this much time has passed."""
    live_for: float | None = None
    """From then on liveness probes fail; None: never."""
    stop_seconds: float = 0.0
    """How long it takes to stop when it is told to."""


DEFAULT = Behaviour()

Choose = Callable[[Object, str], Behaviour | None]
"""(the pod, the container's name) -> what it does; None: what else is said of it. Asked at each start and at each probe."""


class BehaviourError(ValueError):
    """An annotation does not say what it should; the text names the pod and what is wrong."""


def annotated(pod: Object, container: str) -> Behaviour | None:
    """What the pod's annotations say of this container. Raises BehaviourError."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(f"{ANNOTATION}.{container}", annotations.get(ANNOTATION))
    if text is None:
        return None
    return _parse(text, f"pod {podspec.name(pod)}")


def _parse(text: str, whose: str) -> Behaviour:
    try:
        return Behaviour(**json.loads(text))
    except (ValueError, TypeError) as error:
        fields = ", ".join(field.name for field in dataclasses.fields(Behaviour))
        raise BehaviourError(f"{whose}: annotation {ANNOTATION}: {error}; it is a JSON object of {fields}") from error


def understands(argv: Sequence[str]) -> bool:
    """Whether the fake engine's own programs do what this command says."""
    if argv[0] != "sh":
        return argv[0] in fake_engine.PROGRAMS
    if argv[1:2] != ("-c",) or len(argv) < 3 or _BEYOND_THE_SHELL.search(argv[2]):
        return len(argv) == 1
    words = re.split(r"[;&]", argv[2])
    firsts = {word.split()[0] for word in words if word.split() and not word.strip().startswith("2")}
    return firsts <= {*fake_engine.PROGRAMS, *_SHELL_WORDS}


class Script:
    """The containers of one node. `find_pod`: (namespace, name) -> the pod as the node knows it."""

    def __init__(self, find_pod: Callable[[str, str], Object | None], choose: Callable[[], Choose | None]) -> None:
        self._find_pod = find_pod
        self._choose = choose

    def of(self, spec: interface.ContainerSpec) -> Behaviour | None:
        """What was said of it; None: nothing."""
        labels = spec.labels
        namespace, name = labels.get(model.POD_NAMESPACE_LABEL, ""), labels.get(model.POD_NAME_LABEL, "")
        container = labels.get(model.CONTAINER_NAME_LABEL, "")
        pod = self._find_pod(namespace, name) or {}
        choose = self._choose()
        return (choose(pod, container) if choose is not None else None) or annotated(pod, container)

    def program(self, spec: interface.ContainerSpec, argv: Sequence[str]) -> fake_engine.Program:
        said = self.of(spec)
        if said is None and understands(tuple(argv)):
            return fake_engine.PROGRAMS[argv[0]]
        return functools.partial(act, said or DEFAULT)


async def act(behaviour: Behaviour, process: fake_engine.FakeProcess) -> int:
    """The program."""
    if behaviour.logs:
        process.write(behaviour.logs.encode())
    if behaviour.exit_code is not None:
        process.handlers[signal.SIGTERM] = 143
        await process.clock.sleep(behaviour.after)
        return behaviour.exit_code
    stopped = asyncio.Event()
    process.on_signal = lambda number: stopped.set() if number in (signal.SIGTERM, signal.SIGINT) else None
    await stopped.wait()
    if behaviour.stop_seconds:
        await process.clock.sleep(behaviour.stop_seconds)
    return 0


class ScriptedChecker(checks.Checker):
    """Probes that find what was said of the container: nothing is connected to."""

    def __init__(self, engine: fake_engine.FakeEngine, script: Script) -> None:
        self._engine = engine
        self._host = engine.host
        self._script = script

    async def check(self, handler: Object, target: checks.Target, timeout: float) -> checks.Outcome:
        container = self._host.find(target.container_id)
        said = self._script.of(container.spec)
        command = tuple((handler.get("exec") or {}).get("command") or ())
        if said is None and command and understands(command):
            return await self._exec(command, target, timeout)
        said = said or DEFAULT
        age = (self._host.now_ns() - container.started_at) / 1e9
        if handler == target.container.get("livenessProbe"):
            is_well = said.live_for is None or age < said.live_for
        else:
            is_well = said.ready and age >= said.ready_after
        return checks.Outcome(True) if is_well else checks.Outcome(False, f"scripted by {ANNOTATION}")

    async def get_http(self, action: Object, target: checks.Target, timeout: float) -> str:
        return ""
