"""Requests that say one thing and mean another, or nothing that can be meant."""

import base64
import logging

import pytest

from pinnace.api import decode, kinds
from pinnace.apiserver import users
from pinnace.apiserver.http import query, respond
from pinnace.testing import api_server

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    "name",
    [
        "system:serviceaccount:t:default:x",
        "system:serviceaccount:t",
        "system:serviceaccount:T:default",
        "system:serviceaccount:t:de/fault",
        "system:serviceaccount::default",
        "system:serviceaccount:t:",
    ],
)
def test_what_only_looks_like_an_account_is_none(name: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        assert users.split_service_account(name) is None
        shown = (await api.create(REVIEW, {}, headers={"impersonate-user": name}))["status"]["userInfo"]
        assert shown == {"username": name, "groups": [users.AUTHENTICATED]}

    api_server.run(scenario)


def test_a_comma_in_a_group_parts_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        headers = {"impersonate-user": "joe", "impersonate-group": "a,b\nc"}
        shown = (await api.create(REVIEW, {}, headers=headers))["status"]["userInfo"]
        assert shown["groups"] == ["a,b", "c", users.AUTHENTICATED]

    api_server.run(scenario)


@pytest.mark.parametrize("offered", ["!!!", "", "a.b", "YQ==", base64.urlsafe_b64encode(b"\xff").decode().rstrip("=")])
def test_a_bearer_that_cannot_be_read_is_a_wrong_one(offered: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        headers = {"sec-websocket-protocol": f"base64url.bearer.authorization.k8s.io.{offered}, v5.channel.k8s.io"}
        assert (await api.call("GET", "/version", who=None, headers=headers)).code == 401

    api_server.run(scenario)


@pytest.mark.parametrize(
    "asked",
    [
        "resourceVersion=" + 23 * "9",
        "resourceVersion=" + 9000 * "9",
        "limit=" + 9000 * "9",
        "limit=1_0",
        "limit=%D9%A1",
        "limit=%201",
        "timeoutSeconds=1e3",
    ],
)
def test_numbers_that_are_none_are_told_at_once(asked: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        # A watch has no limit.
        for more in ("",) if asked.startswith("limit") else ("", "&watch=1&timeoutSeconds=1"):
            assert (await api.call("GET", f"{MAPS}?{asked}{more}")).code == 400

    api_server.run(scenario)


def test_a_continue_token_of_no_revision_is_none() -> None:
    async def scenario(api: api_server.Api) -> None:
        body = b'{"v":"meta.k8s.io/v1","rv":%b,"start":"a\\u0000"}' % (b"9" * 19)
        token = base64.urlsafe_b64encode(body).decode()
        assert (await api.call("GET", f"{MAPS}?limit=1&continue={token}")).code == 400

    api_server.run(scenario)


def test_no_request_writes_lines_into_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(api: api_server.Api) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("on purpose")

        monkeypatch.setattr(api.server._routes, "match", fail)
        with caplog.at_level(logging.ERROR):
            assert (await api.call("GET", "/a\r\nforged: line\x00", who=None)).code == 500

    api_server.run(scenario)
    (record,) = [record for record in caplog.records if "failed" in record.getMessage()]
    assert record.getMessage().isprintable()


def test_warnings_stay_below_what_clients_can_read() -> None:
    assert len(respond.warning_headers([f"w{number}" for number in range(500)])) == respond.MOST_WARNING_FIELDS
    assert query.Query({"limit": ["9"]}).number("limit") == 9


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb'"\ud800"', "\ufffd"),
        (rb'"\udc00x"', "\ufffdx"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\ud800\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud800"', "\\ud800"),
        (rb'"\\\ud800"', "\\\ufffd"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"\xe2\x82"', "\ufffd\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"\xc3\xa9\xff"', "\u00e9\ufffd"),
    ],
)
def test_text_that_is_none_is_replaced_as_go_does(sent: bytes, kept: str) -> None:
    kind = next(kind for kind in kinds.builtin().all() if kind.kind == "ConfigMap")
    data = b'{"metadata":{"name":"m"},"data":{"k":' + sent + b"}}"
    assert decode.decode(data, kind).obj["data"]["k"] == kept

    async def scenario(api: api_server.Api) -> None:
        made = await api.create(MAPS, data)
        assert made["data"]["k"] == kept
        patched = await api.patch(f"{MAPS}/m", b'{"data":{"k":' + sent + b',"l":"x"}}')
        assert patched.json["data"]["k"] == kept

    api_server.run(scenario)
