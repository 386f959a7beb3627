"""Bodies that never come hold nobody up but their senders."""

import asyncio
from typing import Any

from pinnace.apiserver import users
from pinnace.testing import api_server
from pinnace.web import bodies, messages

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
EVE, BOB = api_server.user("eve"), api_server.user("bob")
NODE = users.UserInfo("system:node:n1", groups=(users.NODES, users.AUTHENTICATED))
ASKED = {"spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}}}


def slow(who: users.UserInfo) -> tuple[messages.Request, bodies.IncomingBody]:
    """A request of a hundred thousand bytes of which two have come."""
    body = bodies.IncomingBody(100_000)
    body.feed(b"{ ")
    return messages.Request("POST", REVIEWS, headers={"content-type": "application/json"}, body=body, user=who), body


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def code(api: api_server.Api, request: messages.Request) -> int:
    answer = await api.server.handle(request)
    assert isinstance(answer, messages.Response)
    return answer.status


def test_half_sent_bodies_take_no_place_and_only_so_many_of_one_user_are_waited_for() -> None:
    async def scenario(api: api_server.Api) -> None:
        sent = [slow(EVE) for _ in range(20)]
        tasks = [asyncio.ensure_future(code(api, request)) for request, _ in sent]
        await settle()
        assert [task.result() for task in tasks if task.done()] == [429] * 15
        for who in (BOB, EVE, api_server.ADMIN):
            assert (await api.call("POST", REVIEWS, ASKED, who=who)).code == 201
        lease = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
        assert (await api.call("POST", LEASES, lease, who=NODE)).code == 201
        assert await code(api, slow_and_finished(BOB)) == 400
        for _, body in sent:
            body.fail(messages.Disconnected("gone"))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (api.server._flow.in_flight, api.server._arrivals._counts) == (0, {})

    api_server.run(scenario, api_server.options(max_in_flight=2, max_arriving_per_user=5))


def slow_and_finished(who: users.UserInfo) -> messages.Request:
    request, body = slow(who)
    body.finish()
    return request


def test_a_body_that_does_not_arrive_in_time_is_given_up() -> None:
    async def scenario(api: api_server.Api) -> None:
        request, _ = slow(EVE)
        assert await code(api, request) == 504
        assert api.server._arrivals._counts == {}

    api_server.run(scenario, api_server.options(request_timeout=0.01))


def test_nodes_and_the_question_whether_it_lives_need_no_place_of_others() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.server._flow.enter(EVE)
        lease: dict[str, Any] = {"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
        assert (await api.call("POST", LEASES, lease, who=NODE)).code == 201
        for path in ("/livez", "/readyz", "/healthz"):
            assert (await api.call("GET", path, who=None)).code == 200
        waits = asyncio.ensure_future(api.call("POST", REVIEWS, ASKED, who=BOB))
        await settle()
        assert not waits.done()
        api.server._flow.leave()
        assert (await waits).code == 201

    api_server.run(scenario, api_server.options(max_in_flight=1))
