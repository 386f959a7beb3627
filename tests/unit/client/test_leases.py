"""At most one leader at any moment, under virtual time."""

import asyncio

import pytest

from pinnace.api import resources
from pinnace.client import client, leases, transport
from pinnace.testing import fake_api, loop_time
from pinnace.web import messages


def candidate(api: fake_api.FakeApi, clock: loop_time.LoopClock, name: str) -> leases.LeaderElection:
    cluster = client.Client(transport.DirectTransport(api.handle, name))
    return leases.LeaderElection(cluster, clock, namespace="kube-system", name="it", identity=name)


def test_a_second_candidate_takes_over_only_when_the_first_has_stopped() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        trace: list[tuple[str, str, float]] = []

        def note(name: str, what: str) -> None:
            trace.append((name, what, round(clock.monotonic(), 1)))

        async def lead(name: str) -> None:
            election = candidate(api, clock, name)
            await election.run(lambda: note(name, "starts"), lambda: note(name, "stops"))

        first = asyncio.create_task(lead("one"))
        await asyncio.sleep(1)
        second = asyncio.create_task(lead("two"))
        await asyncio.sleep(60)
        assert trace == [("one", "starts", 0.0)]

        def cut_off_one(request: messages.Request) -> None:
            if request.user == "one":
                raise messages.Disconnected

        api.fault = cut_off_one
        await asyncio.sleep(60)
        names = [(name, what) for name, what, _ in trace]
        assert names == [("one", "starts"), ("one", "stops"), ("two", "starts")]
        assert trace[1][2] < trace[2][2]
        lease = api.objects["/apis/coordination.k8s.io/v1/leases", "kube-system", "it"]
        assert lease["spec"]["holderIdentity"] == "two"
        assert lease["spec"]["leaseTransitions"] == 1
        await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    loop_time.run(main)


def test_a_released_lease_is_taken_at_once() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        one, two = candidate(api, clock, "one"), candidate(api, clock, "two")
        await one.wait_acquired()
        await one.release()
        await two.wait_acquired()
        assert clock.monotonic() < 0.1

    loop_time.run(main)


@pytest.mark.parametrize(
    ("holder", "age", "expected"),
    [("", 0, True), ("me", 0, True), ("other", 14.9, False), ("other", 15, True)],
)
def test_who_may_take_a_lease(holder: str, age: float, expected: bool) -> None:
    lease = {"kind": resources.LEASES.kind, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15}}
    assert leases.can_take(leases.Observed(lease, 100.0), "me", 100.0 + age) is expected


def test_the_age_of_a_lease_counts_from_its_last_change_by_our_own_clock() -> None:
    lease = {"spec": {"holderIdentity": "other", "renewTime": "1970-01-01T00:00:00.000000Z"}}
    first = leases.observe(None, lease, 50.0)
    assert leases.observe(first, dict(lease), 60.0).changed == 50.0
    renewed = {"spec": {**lease["spec"], "renewTime": "1970-01-01T00:00:02.000000Z"}}
    assert leases.observe(first, renewed, 60.0).changed == 60.0
