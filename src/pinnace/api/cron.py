"""Schedules: five fields, or a descriptor such as `@hourly` or `@every 90s`; when they are due.

Syntax, words of errors and meaning are those of upstream's parser (robfig/cron v3, its standard form), which is not Debian's: `7` is no
day of the week, `?` is a star, days of the month and of the week restrict each other only where one is a bare star, and
a time that a change of clocks leaves out is left out that day.
"""

import dataclasses
import datetime
import re
from typing import Protocol

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DURATION = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(ns|us|µs|ms|s|m|h)", re.ASCII)
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_DURATION = 256
"""Characters: a longer text of digits would cost the square of its length."""
_LONGEST_SECONDS = 2**63 / 1e9  # 64 bits of nanoseconds
_YEARS_AHEAD = 5


class ScheduleError(ValueError):
    pass


class Schedule(Protocol):
    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first time later than `moment` (with a zone); None: there is none within five years."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Every:
    """`@every`: at a fixed distance from the time before."""

    delay: datetime.timedelta

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        return moment.replace(microsecond=0) + self.delay


@dataclasses.dataclass(frozen=True, slots=True)
class Fields:
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    is_any_day: bool
    """One of the two fields of days is a star: both must match, otherwise one is enough."""
    zone: datetime.tzinfo

    def next_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        found = moment.astimezone(datetime.UTC).replace(second=0, microsecond=0) + datetime.timedelta(minutes=1)
        limit = moment.year + _YEARS_AHEAD
        while True:
            # All steps are of real time: what the clocks show is only looked at.
            local = found.astimezone(self.zone)
            if local.year > limit:
                return None
            if local.month not in self.months:
                following = (local.replace(day=1) + datetime.timedelta(days=32)).replace(day=1)
                found = _midnight(following)
            elif not self._is_day(local):
                found = _midnight(local + datetime.timedelta(days=1))
            elif local.hour not in self.hours:
                found += datetime.timedelta(minutes=60 - local.minute)
            elif local.minute not in self.minutes:
                found += datetime.timedelta(minutes=1)
            else:
                return found

    def _is_day(self, local: datetime.datetime) -> bool:
        is_day, is_weekday = local.day in self.days, local.isoweekday() % 7 in self.weekdays
        return (is_day and is_weekday) if self.is_any_day else (is_day or is_weekday)


def _midnight(local: datetime.datetime) -> datetime.datetime:
    """The first moment of a day; where the clocks skip midnight, that is the moment at which they do."""
    return local.replace(hour=0, minute=0, fold=0).astimezone(datetime.UTC)


def parse(schedule: str, zone: datetime.tzinfo = datetime.UTC) -> Schedule:
    """Raises ScheduleError."""
    if schedule.startswith("@"):
        if schedule.startswith("@every "):
            return Every(_every(schedule))
        if schedule not in _DESCRIPTORS:
            raise ScheduleError(f"unrecognized descriptor: {schedule}")
        schedule = _DESCRIPTORS[schedule]
    texts = schedule.split()
    if len(texts) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(texts)}: [{' '.join(texts)}]")
    values: list[frozenset[int]] = []
    stars: list[bool] = []
    for text, (_, low, high, names) in zip(texts, _FIELDS, strict=True):
        found = [_range(part, low, high, names) for part in text.split(",")]
        values.append(frozenset(value for part, _ in found for value in part))
        stars.append(any(is_star for _, is_star in found))
    minutes, hours, days, months, weekdays = values
    return Fields(minutes, hours, days, months, weekdays, is_any_day=stars[2] or stars[4], zone=zone)


def latest(schedule: Schedule, first: datetime.datetime, until: datetime.datetime) -> datetime.datetime:
    """The last time of `schedule` that is not later than `until`; `first` is one of its times, not later than `until`."""
    if isinstance(schedule, Every):
        return first + (until - first) // schedule.delay * schedule.delay
    # From close before the end: a year of minutes would be half a million steps.
    found, back = first, datetime.timedelta(hours=1)
    while until - back > first:
        near = schedule.next_after(until - back)
        if near is not None and near <= until:
            found = near
            break
        back *= 2
    while (following := schedule.next_after(found)) is not None and following <= until:
        found = following
    return found


def _every(text: str) -> datetime.timedelta:
    duration = text.removeprefix("@every ")
    if not duration or len(duration) > _LONGEST_DURATION or _DURATION.sub("", duration):
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))
    if abs(seconds) > _LONGEST_SECONDS:
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
    return datetime.timedelta(seconds=max(1, int(seconds)))


def _range(text: str, low: int, high: int, names: tuple[str, ...]) -> tuple[range, bool]:
    """The values of one part of a field, and whether it is a bare star."""
    parts = text.split("/")
    if len(parts) > 2:
        raise ScheduleError(f"too many slashes: {text}")
    bounds = parts[0].split("-")
    if len(bounds) > 2:
        raise ScheduleError(f"too many hyphens: {text}")
    is_star = bounds[0] in ("*", "?")
    if is_star:
        start, end = low, high
    else:
        start = _number(bounds[0], low, names)
        end = _number(bounds[-1], low, names) if len(bounds) == 2 else (high if len(parts) == 2 else start)
    step = _integer(parts[1]) if len(parts) == 2 else 1
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    return range(start, end + 1, step), is_star and step == 1


def _number(text: str, low: int, names: tuple[str, ...]) -> int:
    lowered = text.lower()
    return names.index(lowered) + low if lowered in names else _integer(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    value = int(text)
    if value < 0:
        raise ScheduleError(f"negative number ({value}) not allowed: {text}")
    return value
