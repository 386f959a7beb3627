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

            async def act() -> None:
                note(name, "starts")
                try:
                    await asyncio.Event().wait()
                finally:
                    note(name, "stops")

            await election.lead(act)

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
        with pytest.raises(leases.LeaseLost):
            await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    loop_time.run(main)


def test_an_answer_that_hangs_does_not_make_a_leader_stay() -> None:
    """The first is paused in the middle of a renewal: it has stopped acting before the second begins."""

    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        acting: set[str] = set()
        trace: list[tuple[str, float]] = []

        async def lead(name: str, handle: messages.Handler) -> None:
            cluster = client.Client(transport.DirectTransport(handle, name))
            election = leases.LeaderElection(cluster, clock, namespace="kube-system", name="it", identity=name)

            async def act() -> None:
                assert not acting
                acting.add(name)
                trace.append((name, clock.monotonic()))
                try:
                    await asyncio.Event().wait()
                finally:
                    acting.discard(name)

            await election.lead(act)

        paused = asyncio.Event()

        async def pausable(request: messages.Request) -> messages.Answer:
            if paused.is_set():
                await asyncio.Event().wait()
            return await api.handle(request)

        first = asyncio.create_task(lead("one", pausable))
        await asyncio.sleep(1)
        second = asyncio.create_task(lead("two", api.handle))
        await asyncio.sleep(20)
        paused.set()
        await asyncio.sleep(60)
        assert [name for name, _ in trace] == ["one", "two"]
        with pytest.raises(leases.LeaseLost):
            await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert api.objects["/apis/coordination.k8s.io/v1/leases", "kube-system", "it"]["spec"]["holderIdentity"] == ""

    loop_time.run(main)


def test_what_acted_and_failed_gives_the_lease_up_and_is_told() -> None:
    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()

        async def act() -> None:
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            await candidate(api, clock, "one").lead(act)
        await candidate(api, clock, "two").wait_acquired()
        assert clock.monotonic() < 0.1

    loop_time.run(main)


def test_a_candidate_of_the_same_name_takes_its_lease_back_at_once() -> None:
    """After a crash that released nothing."""

    async def main(clock: loop_time.LoopClock) -> None:
        api = fake_api.FakeApi()
        await candidate(api, clock, "one").wait_acquired()
        await candidate(api, clock, "one").wait_acquired()
        assert clock.monotonic() < 0.1

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
