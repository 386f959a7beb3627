"""The verbs stop, kill and wait."""

import signal

from pinnace.engine import interface, machine
from pinnace.kernel import pidfd
from pinnace.kit import waiting


async def stop(here: machine.Machine, container_id: str, timeout: float) -> interface.Container:
    record = here.find(container_id)
    if not record.status.is_alive:
        return record.container()
    live = here.live(record.id)
    if timeout > 0:
        _send(live, signal_number(record.stop_signal))
        await waiting.wait_event(live.died, here.clock, timeout)
    if not live.died.is_set():
        _send(live, signal.SIGKILL)
    await live.died.wait()
    return here.containers.get(record.id, record).container()


async def kill(here: machine.Machine, container_id: str, name: str | int) -> None:
    record = here.find(container_id)
    number = signal_number(name)
    if not record.status.is_alive:
        raise interface.WrongStatus(f"container {record.spec.name} is not running", record.status)
    _send(here.live(record.id), number)


async def wait(here: machine.Machine, container_id: str) -> interface.Container:
    record = here.find(container_id)
    await here.live(record.id).died.wait()
    return here.containers.get(record.id, record).container()


def signal_number(name: str | int) -> int:
    """`SIGTERM`, `term`, `15`, `SIGRTMIN+3`. Raises EngineError."""
    text = str(name).upper().removeprefix("SIG")
    base, plus, offset = text.partition("+")
    try:
        if text.isdigit():
            number = int(text)
        elif plus:
            number = signal.Signals[f"SIG{base}"] + int(offset)
        else:
            number = signal.Signals[f"SIG{text}"]
    except (KeyError, ValueError):
        raise interface.EngineError(f"invalid signal: {name}") from None
    if not 0 < number <= signal.SIGRTMAX:
        raise interface.EngineError(f"invalid signal: {name}")
    return number


def _send(live: machine.Live, number: int) -> None:
    if live.process >= 0:
        pidfd.send_signal(live.process, number)
