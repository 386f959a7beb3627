"""Flow control: one client does not starve the rest."""

import asyncio

import pytest

from pinnace.api import errors
from pinnace.apiserver import flow, users
from pinnace.testing import api_server

GREEDY, MODEST = api_server.user("greedy"), api_server.user("modest")
MASTER = users.UserInfo("admin", groups=(users.MASTERS,))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_places_go_round_the_users_however_much_one_of_them_asks() -> None:
    async def scenario() -> None:
        control = flow.FlowControl(1, 100)
        order: list[str] = []

        async def work(who: users.UserInfo) -> None:
            await control.enter(who)
            order.append(who.name)
            await asyncio.sleep(0)
            control.leave()

        await control.enter(MODEST)
        tasks = [asyncio.ensure_future(work(GREEDY)) for _ in range(10)]
        await settle()
        tasks += [asyncio.ensure_future(work(MODEST)) for _ in range(2)]
        await settle()
        control.leave()
        await asyncio.gather(*tasks)
        assert order[:4].count("modest") == 2
        assert (control.in_flight, control.queued) == (0, 0)

    asyncio.run(scenario())


def test_who_waits_too_often_is_told_to_come_back_later() -> None:
    async def scenario() -> None:
        control = flow.FlowControl(1, 2)
        await control.enter(GREEDY)
        waiting = [asyncio.ensure_future(control.enter(GREEDY)) for _ in range(2)]
        await settle()
        with pytest.raises(errors.StatusError) as raised:
            await control.enter(GREEDY)
        assert (raised.value.code, raised.value.retry_after_seconds) == (429, 1)
        await control.enter(MASTER)
        other = asyncio.ensure_future(control.enter(MODEST))
        await settle()
        assert not other.done()
        for _ in range(5):
            control.leave()
            await settle()
        assert all(task.done() for task in (*waiting, other))
        assert control.in_flight == 0

    asyncio.run(scenario())


def test_a_waiter_that_gives_up_leaves_no_trace() -> None:
    async def scenario() -> None:
        control = flow.FlowControl(1, 10)
        await control.enter(GREEDY)
        waiter = asyncio.ensure_future(control.enter(MODEST))
        await settle()
        waiter.cancel()
        await settle()
        assert control.queued == 0
        late = asyncio.ensure_future(control.enter(MODEST))
        await settle()
        control.leave()
        late.cancel()
        await settle()
        assert control.in_flight == 0
        await control.enter(GREEDY)
        assert control.in_flight == 1

    asyncio.run(scenario())


def test_a_full_server_answers_429_with_a_time_to_retry() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/api/v1/namespaces/default/configmaps"
        binding = {
            "metadata": {"name": "edit"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "greedy"}],
            "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "edit"},
        }
        await api.create("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding)
        answers = await asyncio.gather(
            *(api.call("POST", path, {"metadata": {"name": f"c{number}"}}, who=GREEDY) for number in range(10))
        )
        codes = sorted(answer.code for answer in answers)
        assert codes == [201] * 3 + [429] * 7
        refused = next(answer for answer in answers if answer.code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.reason == "TooManyRequests"

    api_server.run(scenario, api_server.options(max_in_flight=1, max_queued_per_user=2))
