"""Calls of the OCI runtime, `crun`, after the monitor created a container."""

import pathlib

from pinnace.engine import interface, monitor
from pinnace.kernel import process

TIMEOUT = 60.0


def argv(root: pathlib.Path, *arguments: str) -> tuple[str, ...]:
    return (monitor.RUNTIME, f"--root={root}", "--cgroup-manager=cgroupfs", *arguments)


async def start(root: pathlib.Path, container_id: str) -> None:
    """Raises StartError."""
    result = await _run(root, "start", container_id)
    if result.code:
        raise monitor.start_error(result.message)


async def delete(root: pathlib.Path, container_id: str) -> None:
    """Forget the container, killing what is left of it; quiet when the runtime does not know it. Raises EngineError."""
    if not (root / container_id).exists():
        return
    result = await _run(root, "delete", "--force", container_id)
    if result.code and (root / container_id).exists():
        raise interface.EngineError(f"the runtime could not delete container {container_id[:12]}: {result.message}")


async def _run(root: pathlib.Path, *arguments: str) -> process.Completed:
    try:
        return await process.run(argv(root, *arguments), timeout=TIMEOUT, output_limit=1 << 16)
    except process.ProcessError as error:
        raise interface.StartError(str(error)) from error
