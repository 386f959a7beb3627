"""The syntax of schedules: five fields, or a descriptor such as `@hourly`. What is wrong is told in the words of upstream's parser."""

import re

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)", re.ASCII)


class ScheduleError(ValueError):
    pass


def check(schedule: str) -> None:
    """Raises ScheduleError."""
    if schedule.startswith("@"):
        _descriptor(schedule)
        return
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        raise ScheduleError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    for text, (_, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            _range(part, low, high, names)


def _descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        if duration and _DURATION.sub("", duration) == "":
            return
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
    raise ScheduleError(f"unrecognized descriptor: {text}")


def _range(text: str, low: int, high: int, names: tuple[str, ...]) -> None:
    parts = text.split("/")
    if len(parts) > 2:
        raise ScheduleError(f"too many slashes: {text}")
    bounds = parts[0].split("-")
    if len(bounds) > 2:
        raise ScheduleError(f"too many hyphens: {text}")
    if bounds[0] in ("*", "?"):
        start, end = low, high
    else:
        start = _number(bounds[0], low, names)
        end = _number(bounds[-1], low, names) if len(bounds) == 2 else (high if len(parts) == 2 else start)
    if len(parts) == 2 and _integer(parts[1]) == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")


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
