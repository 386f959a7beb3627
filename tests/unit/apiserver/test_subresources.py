"""Binding, eviction, scale, and what is passed on to kubelets."""

import asyncio
import dataclasses
from typing import Any

import pytest

from pinnace.apiserver.subresources import proxy_targets, tunnels
from pinnace.testing import api_server
from pinnace.web import client as web_client
from pinnace.web import messages
from pinnace.web import server as web_server

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


async def a_pod(api: api_server.Api, name: str = "p", node: str = "") -> api_server.Object:
    await api.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    spec: api_server.Object = {"containers": [{"name": "c", "image": "i"}]}
    if node:
        spec["nodeName"] = node
    made: api_server.Object = await api.create(PODS, {"metadata": {"name": name, "labels": {"a": "b"}}, "spec": spec})
    return made


def binding(node: str, **metadata: str) -> api_server.Object:
    return {"metadata": {"name": "p", **metadata}, "target": {"kind": "Node", "name": node}}


def test_a_pod_is_bound_once() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api)
        answers = await asyncio.gather(
            *(api.call("POST", f"{PODS}/p/binding", binding(f"n{number}")) for number in range(5))
        )
        assert sorted(answer.code for answer in answers) == [201, 409, 409, 409, 409]
        winner = next(index for index, answer in enumerate(answers) if answer.code == 201)
        bound = await api.get(f"{PODS}/p")
        assert bound["spec"]["nodeName"] == f"n{winner}"
        scheduled = [item for item in bound["status"]["conditions"] if item["type"] == "PodScheduled"]
        assert scheduled[0]["status"] == "True"

    api_server.run(scenario)


def test_a_bound_pod_is_promised_no_room_any_more() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api)
        promised = await api.patch(f"{PODS}/p/status", {"status": {"nominatedNodeName": "n1"}})
        assert promised.json["status"]["nominatedNodeName"] == "n1"
        assert (await api.call("POST", f"{PODS}/p/binding", binding("n2"))).code == 201
        assert "nominatedNodeName" not in (await api.get(f"{PODS}/p"))["status"]

    api_server.run(scenario)


def test_a_binding_of_another_uid_or_to_nowhere_is_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api)
        assert (await api.call("POST", f"{PODS}/p/binding", binding("n1", uid="other"))).code == 409
        assert (await api.call("POST", f"{PODS}/p/binding", binding(""))).code == 422
        assert (await api.call("POST", f"{PODS}/q/binding", {"target": {"name": "n"}})).code == 404
        assert (await api.call("POST", "/api/v1/namespaces/default/bindings", binding("n1"))).code == 201

    api_server.run(scenario)


def test_scale_reads_and_writes_replicas_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        await api.create(DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": spec})
        scale = await api.get(f"{DEPLOYMENTS}/d/scale")
        assert (scale["kind"], scale["spec"], scale["status"]) == (
            "Scale",
            {"replicas": 2},
            {"replicas": 0, "selector": "a=b"},
        )
        scale["spec"]["replicas"] = 5
        assert (await api.replace(f"{DEPLOYMENTS}/d/scale", scale))["spec"]["replicas"] == 5
        stale = await api.call("PUT", f"{DEPLOYMENTS}/d/scale", scale)
        assert stale.code == 409
        patched = await api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 1}})
        assert patched.json["spec"]["replicas"] == 1
        after = await api.get(f"{DEPLOYMENTS}/d")
        assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (1, 3)
        negative = await api.patch(f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}})
        assert (negative.code, negative.causes) == (422, [("FieldValueInvalid", "spec.replicas")])

    api_server.run(scenario)


async def budget(api: api_server.Api, allowed: int) -> None:
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    made = await api.create(BUDGETS, {"metadata": {"name": "b"}, "spec": spec})
    status = {
        "observedGeneration": made["metadata"]["generation"],
        "disruptionsAllowed": allowed,
        "currentHealthy": 2,
        "desiredHealthy": 1,
        "expectedPods": 2,
    }
    assert (await api.patch(f"{BUDGETS}/b/status", {"status": status})).code == 200


async def run_pod(api: api_server.Api, name: str) -> None:
    await a_pod(api, name, node="n1")
    conditions = [{"type": "Ready", "status": "True"}]
    await api.patch(f"{PODS}/{name}/status", {"status": {"phase": "Running", "conditions": conditions}}, "strategic")


def test_an_eviction_spends_the_budget_and_no_more_than_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        for name in ("p", "q", "r"):
            await run_pod(api, name)
        await budget(api, 1)
        answers = await asyncio.gather(
            *(api.call("POST", f"{PODS}/{name}/eviction", {"metadata": {"name": name}}) for name in ("p", "q", "r"))
        )
        assert sorted(answer.code for answer in answers) == [201, 429, 429]
        refused = next(answer for answer in answers if answer.code == 429)
        assert refused.message == "Cannot evict pod as it would violate the pod's disruption budget."
        assert refused.causes == [("DisruptionBudget", "")]
        left = await api.get(f"{BUDGETS}/b")
        assert left["status"]["disruptionsAllowed"] == 0
        assert len(left["status"]["disruptedPods"]) == 1

    api_server.run(scenario)


def test_an_eviction_without_a_budget_is_a_deletion() -> None:
    async def scenario(api: api_server.Api) -> None:
        await run_pod(api, "p")
        assert (await api.call("POST", f"{PODS}/p/eviction", {"metadata": {"name": "p"}})).code == 201
        gone = await api.get(f"{PODS}/p")
        assert gone["metadata"]["deletionTimestamp"]
        target = [item for item in gone["status"]["conditions"] if item["type"] == "DisruptionTarget"]
        assert target[0]["reason"] == "EvictionByEvictionAPI"

    api_server.run(scenario)


def test_what_is_made_when_asked_for_has_tables_too() -> None:
    async def scenario(api: api_server.Api) -> None:
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        path = "/apis/apps/v1/namespaces/default/deployments"
        await api.create(path, {"metadata": {"name": "d"}, "spec": spec})
        table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        scale = await api.get(f"{path}/d/scale", headers=table)
        assert [column["name"] for column in scale["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
        assert scale["rows"][0]["cells"][:3] == ["d", 3, 0]
        components = await api.get("/api/v1/componentstatuses", headers=table)
        assert components["rows"][0]["cells"][:2] == ["etcd-0", "Healthy"]
        partial = {"accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
        assert (await api.call("GET", f"{path}/d/scale", headers=partial)).code == 406

    api_server.run(scenario)


def on_loopback(patch: pytest.MonkeyPatch) -> None:
    """What a test's pod serves is on this machine; that no real pod may be is tested by itself."""
    patch.setattr(proxy_targets, "is_forbidden", lambda _: False)


def test_a_pod_is_spoken_to_by_the_number_of_its_port() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(f"{PODS[: -len('/pods')]}/serviceaccounts", {"metadata": {"name": "default"}})
        await api.create(PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
        await api.patch(f"{PODS}/p/status", {"status": {"podIP": "192.0.2.1"}})
        answer = await api.call("GET", f"{PODS}/p:web/proxy/")
        assert (answer.code, answer.reason) == (503, "ServiceUnavailable")
        assert answer.message.endswith("unknown port")

    api_server.run(scenario)


def test_a_log_needs_a_container_that_is_there() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api)
        assert (await api.call("GET", f"{PODS}/p/log")).body == b""
        wrong = await api.call("GET", f"{PODS}/p/log?container=x")
        assert wrong.message == "container x is not valid for pod p"
        assert (await api.call("GET", f"{PODS}/p/log?tailLines=-1")).code == 422
        unknown = await api.call("GET", f"{PODS}/p/log?stream=Both")
        assert (unknown.code, unknown.message) == (
            422,
            'PodLogOptions "p" is invalid: stream: Unsupported value: "Both": supported values: "All", "Stderr", "Stdout"',
        )
        both = await api.call("GET", f"{PODS}/p/log?stream=Stdout&tailLines=1")
        assert both.code == 422
        assert "`tailLines` and specific `stream` are mutually exclusive for now" in both.message
        assert (await api.call("GET", f"{PODS}/p/log?stream=All&tailLines=1")).code == 200
        unscheduled = await api.call("POST", f"{PODS}/p/exec?command=ls&stdout=1")
        assert unscheduled.message == "pod p does not have a host assigned"

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("web", ("", "web", "")),
        ("web:80", ("", "web", "80")),
        ("https:web:443", ("https", "web", "443")),
        ("https:web:", ("https", "web", "")),
    ],
)
def test_names_of_what_is_proxied(name: str, parts: tuple[str, str, str]) -> None:
    assert tunnels.split_proxy_name(name) == parts


def test_a_request_is_passed_on_to_a_pod_and_an_upgrade_becomes_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    async def upstream(request: messages.Request) -> messages.Answer:
        if request.headers.get("upgrade"):

            async def echo(stream: messages.Duplex) -> None:
                while data := await stream.read():
                    await stream.write(data.upper())

            return messages.Upgrade((("Upgrade", "shout"),), echo)
        body = await request.body.read(1000)
        seen = f"{request.method} {request.path}?{request.query} {body.decode()} {'authorization' in request.headers}"
        return messages.Response(200, (("Content-Type", "text/plain"),), seen.encode())

    async def scenario(api: api_server.Api) -> None:
        listener = web_server.HttpServer(upstream)
        port = await listener.start("127.0.0.1", 0)
        await a_pod(api, node="n1")
        on_loopback(monkeypatch)
        status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
        assert (await api.patch(f"{PODS}/p/status", status)).code == 200
        path = f"{PODS}/p:{port}/proxy/a/b"
        headers = {"authorization": "Bearer secret", "content-type": "text/plain"}
        answer = await api.call("POST", f"{path}?x=y", b"hello", headers=headers)
        assert answer.body == b"POST /a/b?x=y hello False"
        asked = await api.call("OPTIONS", path, b"", headers=headers)
        assert asked.body == b"OPTIONS /a/b?  False"
        bare = await api.call("GET", f"{PODS}/p:{port}/proxy?x=y")
        assert (bare.code, bare.headers["location"]) == (301, f"{PODS}/p:{port}/proxy/?x=y")
        upgraded = await api.send("GET", path, headers={"connection": "Upgrade", "upgrade": "shout"})
        assert isinstance(upgraded, messages.Upgrade)
        near = Near([b"abc"])
        await upgraded.run(near)
        assert near.written == b"ABC"
        await listener.stop(0)
        assert (await api.call("GET", path)).code == 503

    api_server.run(scenario)


@dataclasses.dataclass
class Near:
    """A client that says `sent`, and goes when it has its answer."""

    sent: list[bytes]
    written: bytes = b""

    def __post_init__(self) -> None:
        self._answered = asyncio.Event()

    async def read(self) -> bytes:
        if self.sent:
            return self.sent.pop(0)
        await self._answered.wait()
        return b""

    async def write(self, data: bytes) -> None:
        self.written += data
        self._answered.set()

    async def close(self) -> None:
        self._answered.set()


def test_ephemeral_containers_are_added_through_their_own_part() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_pod(api, node="n1")
        debug: dict[str, Any] = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]}}
        added = await api.patch(f"{PODS}/p/ephemeralcontainers", debug, "strategic")
        assert added.code == 200
        assert [item["name"] for item in added.json["spec"]["ephemeralContainers"]] == ["d"]

    api_server.run(scenario)


def test_pages_behind_the_proxy_link_back_through_it_and_their_server_is_told_how_it_was_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[messages.Request] = []

    async def upstream(request: messages.Request) -> messages.Answer:
        seen.append(request)
        if request.path == "/moved":
            return messages.Response(302, (("Location", "/there?x=y"),), b"")
        length = request.headers.get("content-length"), await request.body.read(100)
        if length[1]:
            return messages.Response(200, (), repr(length).encode())
        return messages.Response(200, (("Content-Type", "text/html; charset=utf-8"),), b'<a href="/rewriteme">test</a>')

    async def scenario(api: api_server.Api) -> None:
        listener = web_server.HttpServer(upstream)
        port = await listener.start("127.0.0.1", 0)
        await a_pod(api, node="n1")
        on_loopback(monkeypatch)
        await api.patch(f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})
        base = f"{PODS}/p:{port}/proxy"
        answer = await api.call("GET", f"{base}/a/", headers={"host": "api.example", "x-forwarded-for": "192.0.2.9"})
        assert answer.body == f'<a href="{base}/rewriteme">test</a>'.encode()
        assert seen[-1].headers["x-forwarded-uri"] == f"{base}/a/"
        assert (seen[-1].headers["host"], seen[-1].headers["x-forwarded-for"]) == ("api.example", "192.0.2.9")
        moved = await api.call("GET", f"{base}/moved")
        assert (moved.code, moved.headers["location"]) == (302, f"{base}/there?x=y")
        sent = await api.call("DELETE", f"{base}/", b"abc", headers={"content-length": "3"})
        assert sent.body == b"('3', b'abc')"
        await listener.stop(0)

    api_server.run(scenario)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 200)])
def test_an_answer_without_a_body_gives_its_connection_back(
    method: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def upstream(request: messages.Request) -> messages.Answer:
        seen.append(request.peer.address)
        return messages.Response(status, (("Content-Type", "text/html"),), b"" if status == 204 else b"page")

    async def scenario(api: api_server.Api) -> None:
        async def as_admin(request: messages.Request) -> messages.Answer:
            request.user = api_server.ADMIN
            return await api.server.handle(request)

        behind, front = web_server.HttpServer(upstream), web_server.HttpServer(as_admin)
        port, own = await behind.start("127.0.0.1", 0), await front.start("127.0.0.1", 0)
        await a_pod(api, node="n1")
        on_loopback(monkeypatch)
        await api.patch(f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})
        http = web_client.HttpClient()
        for _ in range(5):
            url = f"http://127.0.0.1:{own}{PODS}/p:{port}/proxy/"
            answer = await http.request(method, url)
            assert answer.status == status
            await answer.read(100)
        assert len(set(seen)) == 1
        await http.close()
        await front.stop(0)
        await behind.stop(0)

    api_server.run(scenario)
