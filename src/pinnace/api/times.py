"""Moments as the API prints them: metav1.Time in whole seconds, metav1.MicroTime in microseconds, always in UTC with four digits of year."""

import datetime

_ZERO = frozenset(("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"))


def text(moment: datetime.datetime) -> str:
    """`2026-01-02T03:04:05Z`."""
    # Not strftime: its %Y prints the year 1 as "1".
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")[:19] + "Z"


def micro_text(moment: datetime.datetime) -> str:
    """`2026-01-02T03:04:05.000006Z`."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds")[:26] + "Z"


def of_unix(seconds: int, nanoseconds: int = 0) -> datetime.datetime:
    """Raises OverflowError outside the years 1 to 9999."""
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return start + datetime.timedelta(seconds=seconds, microseconds=nanoseconds // 1000)


def shown(printed: str) -> str | None:
    """None for Go's zero time, which upstream prints as null."""
    return None if printed in _ZERO else printed


def to_unix(printed: str) -> tuple[int, int]:
    """(seconds, microseconds) since 1970 of a printed moment. Raises ValueError."""
    since = datetime.datetime.fromisoformat(printed) - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since.days * 86400 + since.seconds, since.microseconds
