"""How long ago, for people: `5m`, `3h12m`, `2d4h` (apimachinery's duration.HumanDuration)."""

import datetime

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY

UNKNOWN = "<unknown>"


def human(seconds: float) -> str:
    """Two units at most, the second one only where it still matters; slightly negative durations are a clock's noise."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * MINUTE:
        return f"{whole}s"
    if whole < 10 * MINUTE:
        return _two(whole // MINUTE, "m", whole % MINUTE, "s")
    if whole < 3 * HOUR:
        return f"{whole // MINUTE}m"
    if whole < 8 * HOUR:
        return _two(whole // HOUR, "h", whole % HOUR // MINUTE, "m")
    if whole < 2 * DAY:
        return f"{whole // HOUR}h"
    if whole < 8 * DAY:
        return _two(whole // DAY, "d", whole % DAY // HOUR, "h")
    if whole < 2 * YEAR:
        return f"{whole // DAY}d"
    if whole < 8 * YEAR:
        return _two(whole // YEAR, "y", whole % YEAR // DAY, "d")
    return f"{whole // YEAR}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def parse(moment: str | None) -> datetime.datetime | None:
    """The moment that RFC 3339 text names; None where there is none."""
    if not moment:
        return None
    try:
        return datetime.datetime.fromisoformat(moment)
    except ValueError:
        return None


def since(moment: str | None, now: datetime.datetime) -> str:
    then = parse(moment)
    return UNKNOWN if then is None else human((now - then).total_seconds())


def between(start: str | None, end: str | None) -> str:
    first, last = parse(start), parse(end)
    return UNKNOWN if first is None or last is None else human((last - first).total_seconds())
