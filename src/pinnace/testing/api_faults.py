"""What can go wrong between clients and the API server, as steps of a test: slow answers, refusals, lost answers, cut watches.

    with cluster.faults.errors(503, method="PATCH", path="/status", client="kubelet"):
        await cluster.advance(minutes=2)

`faulty.handle` stands before the API server's handler for everybody: components in this process and clients at the socket alike. Whose
request it is shows the User-Agent (`kubelet`, `kube-scheduler`, `deployment-controller`, `kubectl` …).
"""

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

from pinnace.api import errors
from pinnace.apiserver.http import respond
from pinnace.web import messages

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Which:
    """Which requests are meant; an empty field means all."""

    method: str = ""
    path: str = ""
    """A part of the URL's path."""
    client: str = ""
    """A part of the User-Agent."""
    watches: bool | None = None
    chance: float = 1.0
    """Of each such request; drawn from the cluster's own seeded source."""

    def meets(self, request: messages.Request, rng: random.Random) -> bool:
        return (
            self.method in ("", request.method)
            and self.path in request.path
            and self.client in request.headers.get("user-agent", "")
            and self.watches in (None, is_watch(request))
            and (self.chance >= 1.0 or rng.random() < self.chance)
        )


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    which: Which
    delay: float = 0.0
    status: int = 0
    is_done_first: bool = False


class Faults:
    """Stands before `handler`. Each method is a context manager: the fault holds inside."""

    def __init__(self, handler: messages.Handler, rng: random.Random) -> None:
        self._handler = handler
        self._rng = rng
        self._rules: list[_Rule] = []
        self._watches: set[asyncio.Event] = set()
        self.requests = 0

    def latency(self, seconds: float, **which: Any) -> contextlib.AbstractContextManager[None]:
        """Requests wait for `seconds` before anything happens. `which`: fields of `Which`."""
        return self._holding(_Rule(Which(**which), delay=seconds))

    def errors(self, status: int = 503, **which: Any) -> contextlib.AbstractContextManager[None]:
        """Requests are answered with `status`, and nothing was done."""
        return self._holding(_Rule(Which(**which), status=status))

    def lost_answers(self, status: int = 504, **which: Any) -> contextlib.AbstractContextManager[None]:
        """Requests are done, and answered as if they had not been."""
        return self._holding(_Rule(Which(**which), status=status, is_done_first=True))

    def disconnect_watches(self) -> None:
        """Every watch that is open ends now, as when a server goes: whoever watches begins anew."""
        for cut in self._watches:
            cut.set()

    @contextlib.contextmanager
    def _holding(self, rule: _Rule) -> Iterator[None]:
        self._rules.append(rule)
        try:
            yield
        finally:
            self._rules.remove(rule)

    async def handle(self, request: messages.Request) -> messages.Answer:
        """`messages.Handler`."""
        self.requests += 1
        lost = 0
        for rule in [each for each in self._rules if each.which.meets(request, self._rng)]:
            if rule.delay:
                await asyncio.sleep(rule.delay)
            if rule.status and not rule.is_done_first:
                return _refusal(rule.status)
            lost = lost or rule.status
        answer = await self._handler(request)
        if lost:
            return _refusal(lost)
        if is_watch(request) and isinstance(answer, messages.Response):
            return self._cuttable(answer)
        return answer

    def _cuttable(self, answer: messages.Response) -> messages.Response:
        cut = asyncio.Event()
        if answer.objects is not None:
            return dataclasses.replace(answer, objects=self._until(cut, answer.objects))
        if isinstance(answer.body, AsyncIterator):
            return dataclasses.replace(answer, body=self._until(cut, answer.body))
        return answer

    async def _until(self, cut: asyncio.Event, stream: Any) -> Any:
        self._watches.add(cut)
        ends = asyncio.ensure_future(cut.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(stream))
                try:
                    await asyncio.wait({following, ends}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        return
                    yield following.result()
                except StopAsyncIteration:
                    return
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
        finally:
            ends.cancel()
            self._watches.discard(cut)
            await stream.aclose()


def is_watch(request: messages.Request) -> bool:
    return "watch=" in request.query and "watch=false" not in request.query and "watch=0" not in request.query


def _refusal(status: int) -> messages.Response:
    reason = _REASONS.get(status, "InternalError")
    return respond.status(errors.StatusError(status, reason, f"a fault of the test: {status} {reason}"))
