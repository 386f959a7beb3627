"""Forms of moments, and the virtual clock that tests run under."""

import asyncio
import datetime

import pytest

from pinnace.kit import clock
from pinnace.testing import clock as virtual

MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)


def test_moments_are_written_as_upstream_writes_them() -> None:
    assert clock.rfc3339(MOMENT) == "2026-01-02T03:04:05Z"
    assert clock.rfc3339_micro(MOMENT) == "2026-01-02T03:04:05.000006Z"
    east = MOMENT.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    assert clock.rfc3339(east) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05.000006Z", "2026-01-02T08:04:05.000006+05:00"])
def test_moments_are_read_with_their_zone(text: str) -> None:
    assert clock.parse_rfc3339(text) == MOMENT


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "yesterday", ""])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        clock.parse_rfc3339(text)


def test_the_system_clock_goes_forward() -> None:
    time = clock.SystemClock()
    before = time.monotonic()
    asyncio.run(time.sleep(0.001))
    assert time.monotonic() > before
    assert time.now().tzinfo is datetime.UTC


def test_virtual_sleepers_wake_in_the_order_in_which_they_are_due() -> None:
    async def main() -> None:
        time = virtual.VirtualClock()
        woken: list[tuple[str, float]] = []

        async def sleeper(name: str, *naps: float) -> None:
            for nap in naps:
                await time.sleep(nap)
                woken.append((name, time.monotonic()))

        tasks = [asyncio.create_task(sleeper("late", 3, 1)), asyncio.create_task(sleeper("early", 1, 2.5))]
        await time.advance(3.2)
        assert woken == [("early", 1), ("late", 3)]
        assert time.now() == virtual.EPOCH + datetime.timedelta(seconds=3.2)
        await time.advance(10)
        assert woken[2:] == [("early", 3.5), ("late", 4)]
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_virtual_time_passes_as_far_as_work_needs() -> None:
    async def main() -> None:
        time = virtual.VirtualClock()

        async def work() -> str:
            await time.sleep(3600)
            return "done"

        assert await time.run(work()) == "done"
        assert time.monotonic() == 3600
        with pytest.raises(RuntimeError, match="deadlock"):
            await time.run(asyncio.Event().wait())

    asyncio.run(main())


def test_a_stepped_wall_clock_leaves_durations_alone() -> None:
    time = virtual.VirtualClock()
    time.step(-7200)
    assert time.now() == virtual.EPOCH - datetime.timedelta(hours=2)
    assert time.monotonic() == 0
