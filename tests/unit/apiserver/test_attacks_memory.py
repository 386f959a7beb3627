"""Requests that would make the server remember whatever strangers say."""

import sys

from pinnace.apiserver import users
from pinnace.apiserver.authz import attributes, rbac
from pinnace.testing import api_server


def test_decisions_about_endless_questions_are_not_remembered() -> None:
    async def scenario(api: api_server.Api) -> None:
        index = api.server.authorizer.index
        for number in range(200):
            asked = attributes.Attributes("get", "x", "v1", f"r{number}" + 60_000 * "a", "", "", "n")
            assert not api.server.authorizer.decide(users.anonymous(), asked).is_allowed
            assert (await api.call("GET", f"/apis/x/v1/{asked.resource}", who=None)).code == 403
        kept = index._remembered
        assert all(sum(map(len, key[2])) <= rbac.LONGEST_REMEMBERED for key in kept)  # type: ignore[arg-type]
        assert sys.getsizeof(kept) < 1_000_000

    api_server.run(scenario)
