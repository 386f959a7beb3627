"""Pods on this machine: real containers, a real bridge, real volumes; only the API is one in memory."""

import asyncio
import pathlib
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.kubelet.endpoint import server
from pinnace.testing import node_agent, pods, real_node
from pinnace.web import messages

pytestmark = pytest.mark.privileged


async def logs_of(agent: node_agent.NodeAgent, pod: str, container: str = "main") -> str:
    handle = server.handler(agent.kubelet, agent.client)
    request = messages.Request(
        "GET",
        f"/containerLogs/default/{pod}/{container}",
        peer=messages.Peer(common_name="kube-apiserver-kubelet-client"),
    )
    answer = await handle(request)
    assert isinstance(answer, messages.Response)
    if isinstance(answer.body, bytes):
        return f"{answer.status} {answer.body.decode()}"
    pieces = [piece async for piece in answer.body]  # type: ignore[union-attr]
    return b"".join(pieces).decode()  # type: ignore[arg-type]


def test_a_pod_sees_its_files_names_and_volumes(places: Any, tmp_path: pathlib.Path) -> None:
    """Hosts, resolver, host name, config map, secret, token, emptyDir in memory, fsGroup, subPath, and the log of it all."""

    async def main() -> None:
        async with real_node.node(places, tmp_path) as agent:
            meta = {"namespace": "default"}
            await agent.create({"metadata": {**meta, "name": "conf"}, "data": {"a": "1"}}, resources.CONFIG_MAPS)
            volumes = [
                {"name": "conf", "configMap": {"name": "conf", "defaultMode": 0o440}},
                {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "access", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ]
            mounts = [
                {"name": "conf", "mountPath": "/conf", "readOnly": True},
                {"name": "scratch", "mountPath": "/scratch"},
                {"name": "scratch", "mountPath": "/part", "subPath": "deep/part"},
                {"name": "access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
            ]
            script = """
                hostname; grep web /etc/hosts | cut -f2; grep -c 10.43.0.10 /etc/resolv.conf; grep search /etc/resolv.conf
                cat /conf/a; echo; cat /var/run/secrets/kubernetes.io/serviceaccount/token; echo
                touch /part/here; ls /scratch/deep/part; stat -c %g:%a /scratch; id -G; df /scratch | tail -n1 | awk '{print $2}'
                touch /conf/b 2>/dev/null || echo refused
                echo last words > /dev/termination-log; exit 3
            """
            pod = pods.pod(
                "web",
                containers=[real_node.shell(script, volumeMounts=mounts)],
                volumes=volumes,
                restartPolicy="Never",
                securityContext={"runAsUser": 1000, "fsGroup": 3000},
            )
            await agent.create(pod)
            await agent.until(lambda: agent.phase("web") == "Failed")
            assert (await logs_of(agent, "web")).splitlines() == [
                "web",
                "web",
                "1",
                "search default.svc.cluster.local svc.cluster.local cluster.local"
                + "".join(f" {each}" for each in agent.kubelet._shared.host_resolver.searches),
                "1",
                "token-1",
                "here",
                "3000:2777",
                "1000 2000 3000",
                "1024",
                "refused",
            ]
            terminated = agent.state("web")["terminated"]
            assert (terminated["exitCode"], terminated["message"]) == (3, "last words\n")
            await agent.until(lambda: not agent.kubelet.workers)
            assert not agent.settings.pod_dir(pod["metadata"]["uid"]).exists()

    asyncio.run(main())


def test_http_probes_reach_the_pod_and_liveness_restarts_it(places: Any, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with real_node.node(places, tmp_path) as agent:
            http = {"httpGet": {"path": "/ok", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
            script = "mkdir /www; echo fine > /www/ok; httpd -p 8080 -h /www; sleep 2; rm /www/ok; sleep 1000"
            await agent.create(
                pods.pod(
                    "web",
                    containers=[
                        real_node.shell(
                            script,
                            readinessProbe=http,
                            startupProbe={**http, "failureThreshold": 30},
                            livenessProbe={**http, "terminationGracePeriodSeconds": 1},
                        )
                    ],
                )
            )
            await agent.until(lambda: bool(agent.status("web").get("containerStatuses", [{}])[0].get("ready")))
            await agent.until(lambda: agent.status("web")["containerStatuses"][0]["restartCount"] == 1)
            text = "Liveness probe failed: HTTP probe failed with statuscode: 404"
            assert ("Warning", "Unhealthy", text) in agent.events

    asyncio.run(main())


def test_a_restart_of_the_agent_restarts_nothing_and_loses_no_line(places: Any, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with real_node.node(places, tmp_path) as agent:
            script = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done"
            await agent.create(pods.pod("web", containers=[real_node.shell(script)]))
            await agent.until(lambda: agent.phase("web") == "Running")
            before = agent.status("web")["containerStatuses"][0]["containerID"]
            for _ in range(3):
                await asyncio.sleep(0.2)
                await agent.restart()
            assert agent.status("web")["containerStatuses"][0]["containerID"] == before
            assert agent.status("web")["containerStatuses"][0]["restartCount"] == 0
            lines = [int(line) for line in (await logs_of(agent, "web")).split()]
            assert lines == list(range(1, len(lines) + 1))
            assert len(lines) > 10

    asyncio.run(main())


def test_a_killed_container_reports_its_signal_and_memory_limits_hold(places: Any, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with real_node.node(places, tmp_path) as agent:
            hungry = real_node.shell("x=x; while true; do x=$x$x$x$x; done", resources={"limits": {"memory": "16Mi"}})
            await agent.create(pods.pod("big", containers=[hungry], restartPolicy="Never"))
            await agent.until(lambda: agent.phase("big") == "Failed")
            terminated = agent.state("big")["terminated"]
            assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)

    asyncio.run(main())
