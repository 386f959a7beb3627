"""The node's endpoint: who gets in, and what it answers."""

import asyncio
import pathlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from pinnace.kubelet.endpoint import auth, server
from pinnace.testing import node_agent, pods
from pinnace.web import messages

API_SERVER = messages.Peer(common_name=auth.API_SERVER)


async def body_of(answer: messages.Answer) -> bytes:
    assert isinstance(answer, messages.Response)
    if isinstance(answer.body, bytes):
        return answer.body
    assert isinstance(answer.body, AsyncIterator)
    return b"".join([piece async for piece in answer.body])  # type: ignore[misc]


class Reviews:
    """Stands where the API server's reviews are: knows one token and what its user may."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = allowed
        self.asked: list[tuple[str, str, str]] = []

    async def send(self, request: messages.Request) -> messages.Answer:
        review = orjson.loads(await request.body.read(1 << 20))
        if request.path.endswith("tokenreviews"):
            is_known = review["spec"]["token"] == "good"
            status: dict[str, Any] = {"authenticated": is_known, "user": {"username": "prometheus"} if is_known else {}}
        else:
            wanted = review["spec"]["resourceAttributes"]
            self.asked.append((review["spec"]["user"], wanted["verb"], wanted["subresource"]))
            status = {"allowed": (wanted["verb"], wanted["subresource"]) in self.allowed}
        return messages.Response(
            201, [("content-type", "application/json")], orjson.dumps({**review, "status": status})
        )

    async def close(self) -> None:
        """Nothing is held."""


GUARDS: list[tuple[str, str, dict[str, str], messages.Peer, int]] = [
    ("GET", "/pods", {}, messages.Peer(), 401),
    ("GET", "/pods", {"authorization": "Bearer bad"}, messages.Peer(), 401),
    ("GET", "/metrics", {"authorization": "Bearer good"}, messages.Peer(), 0),
    ("GET", "/stats/summary", {"authorization": "Bearer good"}, messages.Peer(), 403),
    ("POST", "/exec/a/b/c", {"authorization": "Bearer good"}, messages.Peer(), 403),
    ("GET", "/pods", {}, messages.Peer(common_name="someone", organizations=("team",)), 403),
    ("POST", "/exec/a/b/c", {}, API_SERVER, 0),
]


@pytest.mark.parametrize(("method", "path", "headers", "peer", "status"), GUARDS)
def test_nobody_gets_in_without_a_name_and_a_right(
    method: str, path: str, headers: dict[str, str], peer: messages.Peer, status: int
) -> None:
    async def main() -> None:
        guard = auth.Guard(node_agent.client.Client(Reviews(("get", "metrics"))), "node-1")
        refusal = await guard.check(messages.Request(method, path, headers=headers, peer=peer))
        assert (0 if refusal is None else refusal[0]) == status

    asyncio.run(main())


def test_pods_need_the_fine_right_or_the_one_for_everything() -> None:
    async def main() -> None:
        reviews = Reviews(("get", "proxy"))
        guard = auth.Guard(node_agent.client.Client(reviews), "node-1")
        request = messages.Request("GET", "/pods", headers={"authorization": "Bearer good"})
        assert await guard.check(request) is None
        assert reviews.asked == [("prometheus", "get", "pods"), ("prometheus", "get", "proxy")]

    asyncio.run(main())


def test_logs_exec_and_lists(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            handle = server.handler(agent.kubelet, agent.client)

            async def ask(path: str, query: str = "", method: str = "GET") -> tuple[int, bytes]:
                answer = await handle(messages.Request(method, path, query, peer=API_SERVER))
                assert isinstance(answer, messages.Response)
                return answer.status, await body_of(answer)

            script = ["sh", "-c", "echo one; echo two; sleep 1000"]
            pod = pods.pod("web", containers=[pods.container("main", command=script)])
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            uid = pod["metadata"]["uid"]
            path = agent.settings.log_path("default", "web", uid, "main", 0)
            await agent.until(lambda: path.exists() and path.read_text().count("\n") == 2)
            logs = "/containerLogs/default/web/main"
            assert await ask(logs) == (200, b"one\ntwo\n")
            assert await ask(logs, "tailLines=1") == (200, b"two\n")
            assert await ask(logs, "limitBytes=5") == (200, b"one\nt")
            status, text = await ask(logs, "previous=true")
            assert (status, text) == (400, b'previous terminated container "main" in pod "web" not found')
            assert (await ask(logs, "tailLines=x"))[0] == 400
            assert (await ask("/containerLogs/default/web/other"))[0] == 404
            assert (await ask("/containerLogs/default/none/main"))[0] == 404
            assert (await ask("/exec/default/web/main", "command=true"))[0] == 400
            assert (await ask("/exec/default/web/other", "command=true&output=1"))[0] == 404
            assert (await ask("/pods", method="POST"))[0] == 405
            assert (await ask("/unknown"))[0] == 404
            assert (await ask("/healthz")) == (200, b"ok")
            listed = orjson.loads((await ask("/pods"))[1])
            assert [each["metadata"]["name"] for each in listed["items"]] == ["web"]
            summary = orjson.loads((await ask("/stats/summary"))[1])
            assert summary["pods"][0]["podRef"] == {"name": "web", "namespace": "default", "uid": uid}
            assert b'container_start_time_seconds{container="main"' in (await ask("/metrics/resource"))[1]

    asyncio.run(main())


def test_followed_logs_end_with_the_container(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with node_agent.NodeAgent(tmp_path) as agent:
            handle = server.handler(agent.kubelet, agent.client)
            pod = pods.pod(
                "web", restartPolicy="Never", containers=[pods.container("main", command=["cat"], stdin=True)]
            )
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Running")
            process = agent.host.process(agent.container(pod, "main"))
            process.write(b"first\n")
            request = messages.Request("GET", "/containerLogs/default/web/main", "follow=true", peer=API_SERVER)
            following = asyncio.create_task(body_of(await handle(request)))
            await asyncio.sleep(0)
            process.write(b"last\n")
            await agent.host.finish(agent.container(pod, "main"), 0)
            assert await following == b"first\nlast\n"

    asyncio.run(main())
