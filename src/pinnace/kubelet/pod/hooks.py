"""postStart and preStop handlers."""

import asyncio

from pinnace.engine import interface
from pinnace.kit import clock, waiting
from pinnace.kubelet.pod import checks, podspec

POST_START_FAILED = "PostStartHook failed"
PRE_STOP_FAILED = "PreStopHook failed"
"""All that events and statuses say: command and output of a handler may hold secrets, which not everybody may read who reads those."""


class HookFailed(Exception):
    """The text says what the handler did: for the node's own log."""


class Hooks:
    def __init__(self, engine: interface.Engine, checker: checks.Checker, time: clock.Clock) -> None:
        self._engine = engine
        self._checker = checker
        self._clock = time

    async def run(self, handler: podspec.Object, target: checks.Target) -> None:
        """Returns when the handler has ended well; the caller limits its time by cancelling. Raises HookFailed."""
        if handler.get("sleep"):
            await self._clock.sleep(float(handler["sleep"].get("seconds") or 0))
        elif handler.get("exec"):
            await self._exec(handler["exec"].get("command") or [], target)
        elif handler.get("httpGet"):
            error = await self._checker.get_http(handler["httpGet"], target, HTTP_SECONDS)
            if error:
                raise HookFailed(error)
        else:
            raise HookFailed("invalid handler: one of exec, httpGet and sleep is needed")

    async def _exec(self, command: list[str], target: checks.Target) -> None:
        try:
            code, output = await checks.run(self._engine, target.container_id, command)
        except interface.EngineError as error:
            raise HookFailed(str(error)) from error
        if code:
            text = output.decode(errors="replace").strip()
            raise HookFailed(f"command '{' '.join(command)}' exited with {code}: {text}")


HTTP_SECONDS = 30.0


async def wait_limited(time: clock.Clock, work: asyncio.Task[None], seconds: float) -> bool:
    """Wait for `work` at most `seconds`, then cancel it. Returns whether it ended; its own error is raised."""
    try:
        await waiting.wait_ended(work, time, seconds)
    finally:
        if not work.done():
            work.cancel()
    if work.cancelled() or not work.done():
        return False
    work.result()
    return True
