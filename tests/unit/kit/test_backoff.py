"""Delays grow to a limit and are spread by chance."""

import random

from pinnace.kit import backoff


def test_delays_double_up_to_the_limit() -> None:
    policy = backoff.Backoff(first=1, limit=10)
    assert [policy.delay(failures) for failures in range(6)] == [1, 2, 4, 8, 10, 10]


def test_many_failures_do_not_overflow() -> None:
    assert backoff.Backoff(first=0.005, limit=60).delay(10**9) == 60


def test_jitter_spreads_around_the_delay() -> None:
    policy = backoff.Backoff(first=10, limit=10, jitter=0.2)
    delays = [policy.delay(0, random.Random(seed)) for seed in range(200)]
    assert 8 <= min(delays) < 9
    assert 11 < max(delays) <= 12
    assert policy.delay(0) == 10
