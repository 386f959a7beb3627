"""Texts of a million characters are looked at once, not once for each of their characters.

Each of these took minutes to hours, during which nobody was answered; the limit of time for a test is what tells."""

import pytest

from pinnace.api import cron, errors
from pinnace.apiserver.http import patch_errors
from pinnace.apiserver.subresources import rewriting
from pinnace.oci import registry_login
from pinnace.testing import api_server

LONG = "1" * 1_000_000


def test_amounts_and_schedules() -> None:
    with pytest.raises(cron.ScheduleError):
        cron.parse(f"@every {LONG}")

    async def scenario(api: api_server.Api) -> None:
        limits = {"limits": {"memory": LONG + "x"}}
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": limits}]}}
        assert (await api.call("POST", "/api/v1/namespaces/default/pods", pod)).code in (400, 422)
        claims = "/api/v1/namespaces/default/resourcequotas"
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": LONG + "x"}}}
        assert (await api.call("POST", claims, quota)).code in (400, 422)

    api_server.run(scenario)


def test_messages_of_patches() -> None:
    error = errors.bad_request(LONG)
    assert patch_errors.refused({}, {}, error, is_strategic=False).code in (400, 422)


def test_pages_and_challenges_of_strangers() -> None:
    assert rewriting._ATTRIBUTE.sub("", LONG) == LONG
    assert rewriting._ATTRIBUTE.sub("", 'x a="b" c=d') == "x  "
    assert registry_login._CHALLENGE.findall(LONG) == []
    assert registry_login._CHALLENGE.findall('realm="r",service="s"') == [("realm", "r"), ("service", "s")]
