"""When schedules are due: upstream's rules, where they differ from Debian's and where clocks change."""

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.api import cron

UTC = datetime.UTC


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def after(schedule: str, start: str, zone: str = "UTC") -> str:
    found = cron.parse(schedule, zoneinfo.ZoneInfo(zone)).next_after(moment(start))
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if found else "never"


@pytest.mark.parametrize(
    ("schedule", "start", "due"),
    [
        ("* * * * *", "2026-01-01 00:00:00", "2026-01-01 00:01:00"),
        ("* * * * *", "2026-01-01 00:00:59.5", "2026-01-01 00:01:00"),
        ("*/15 * * * *", "2026-01-01 00:46:00", "2026-01-01 01:00:00"),
        ("5/20 * * * *", "2026-01-01 00:00:00", "2026-01-01 00:05:00"),
        ("0 9-17/4 * * mon-FRI", "2026-01-02 17:00:00", "2026-01-05 09:00:00"),
        ("@hourly", "2026-01-01 00:00:00", "2026-01-01 01:00:00"),
        ("@yearly", "2026-01-01 00:00:00", "2027-01-01 00:00:00"),
        ("@every 90s", "2026-01-01 00:00:00.7", "2026-01-01 00:01:30"),
        ("@every 1h30m", "2026-01-01 00:00:00", "2026-01-01 01:30:00"),
        ("0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
        ("0 0 31 2 *", "2026-01-01 00:00:00", "never"),
        # Both fields of days are given: either is enough.
        ("0 0 13 * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"),
        # One is a star: the other decides. A star with a step restricts, so it is none.
        ("0 0 13 * *", "2026-01-01 00:00:00", "2026-01-13 00:00:00"),
        ("0 0 ? * 5", "2026-01-01 00:00:00", "2026-01-02 00:00:00"),
        ("0 0 */10 * 1", "2026-01-01 00:00:00", "2026-01-05 00:00:00"),
    ],
)
def test_the_next_time(schedule: str, start: str, due: str) -> None:
    assert after(schedule, start) == due


@pytest.mark.parametrize(
    ("schedule", "start", "zone", "due"),
    [
        ("0 12 * * *", "2026-07-01 00:00:00", "Europe/Berlin", "2026-07-01 10:00:00"),
        # 02:30 does not exist on 2026-03-29 in Berlin: that day has none.
        ("30 2 * * *", "2026-03-28 12:00:00", "Europe/Berlin", "2026-03-30 00:30:00"),
        # 02:30 comes twice on 2026-10-25: both count.
        ("30 2 * * *", "2026-10-25 00:00:00", "Europe/Berlin", "2026-10-25 00:30:00"),
        ("30 2 * * *", "2026-10-25 00:30:00", "Europe/Berlin", "2026-10-25 01:30:00"),
        # In Cairo the clocks skip midnight: the day begins at one.
        ("0 * 24 4 *", "2026-04-23 21:30:00", "Africa/Cairo", "2026-04-23 22:00:00"),
    ],
)
def test_clocks_that_change(schedule: str, start: str, zone: str, due: str) -> None:
    assert after(schedule, start, zone) == due


@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */5 * * *", "30 4 1,15 * 5", "@every 7m", "@weekly", "0 0 29 2 *"]),
    st.integers(0, 2 * 366 * 86400),
    st.integers(0, 3 * 86400),
    st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
)
def test_the_latest_time_is_the_last_of_all(text: str, start: int, length: int, zone: str) -> None:
    schedule = cron.parse(text, zoneinfo.ZoneInfo(zone))
    first = schedule.next_after(moment("2024-01-01") + datetime.timedelta(seconds=start))
    assert first is not None
    until = first + datetime.timedelta(seconds=length)
    expected = first
    while (following := schedule.next_after(expected)) is not None and following <= until:
        expected = following
    assert cron.latest(schedule, first, until) == expected
