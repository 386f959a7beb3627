"""Time as an argument.

Every loop that waits or looks at the time takes a `Clock`, so that a whole cluster can run under virtual time
(`pinnace.testing.clock`). This module is the only one that reads the machine's clocks.
"""

import asyncio
import datetime
import time
from typing import Protocol


class Clock(Protocol):
    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. All durations are differences of this."""
        ...

    def now(self) -> datetime.datetime:
        """The wall clock, in UTC. Only to be printed or written into objects, never subtracted."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def rfc3339(moment: datetime.datetime) -> str:
    """`2026-01-02T03:04:05Z`: the form of metav1.Time, whole seconds."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")[:19] + "Z"


def rfc3339_micro(moment: datetime.datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`: the form of metav1.MicroTime."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_rfc3339(text: str) -> datetime.datetime:
    """The moment that metav1.Time or MicroTime names. Raises ValueError."""
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}: expected a form like 2026-01-02T03:04:05Z")
    return moment.astimezone(datetime.UTC)
