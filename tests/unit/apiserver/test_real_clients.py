"""Over a socket with TLS, as the real kubectl and the official Python client see it."""

import asyncio
import contextlib
import datetime
import os
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import kubernetes
import pytest
import yaml
from kubernetes import watch as client_watch

from pinnace.apiserver import server
from pinnace.apiserver.storage import envelope
from pinnace.assemble import pki, places, settings
from pinnace.assemble import server as assembled
from pinnace.kit import clock
from pinnace.store import sqlite
from pinnace.web import server as web_server
from pinnace.web import tls

KUBECTL = pathlib.Path(sys.executable).parent / "kubectl"
MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: nginx
          image: nginx:1
          ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@contextlib.asynccontextmanager
async def serving(folder: pathlib.Path) -> AsyncIterator[pathlib.Path]:
    """A server on a free port of the loopback; yields an administrator's kubeconfig."""
    where = places.of(folder)
    time = clock.SystemClock()
    cluster = settings.Cluster("test", "test", 6443, False, "n1", "192.0.2.7", 10250, "10.42.0.0/16", "10.43.0.0/16")
    pki.ensure(where, cluster, datetime.datetime.now(datetime.UTC))
    store = await sqlite.open_store(folder / "store.db", envelope.stamp, time)
    api = server.ApiServer(store, time, assembled.api_settings(where, cluster))
    await api.start()
    listener = web_server.HttpServer(api.handle)
    context = tls.server_context(
        where.pki / "apiserver.crt", where.pki / "apiserver.key", client_authority=where.pki / "ca.crt"
    )
    port = await listener.start("127.0.0.1", 0, context)
    config = folder / "kubeconfig"
    config.write_text(yaml.safe_dump(_kubeconfig(where.pki, port)))
    try:
        yield config
    finally:
        await listener.stop(1.0)
        await api.stop()
        await store.close()


def _kubeconfig(folder: pathlib.Path, port: int) -> dict[str, object]:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "ca.crt")}
    user = {"client-certificate": str(folder / "admin.crt"), "client-key": str(folder / "admin.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}, {"name": "nobody", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def run(folder: pathlib.Path, scenario: Callable[[pathlib.Path], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(90), serving(folder) as config:
            await scenario(config)

    asyncio.run(main())


class Kubectl:
    def __init__(self, config: pathlib.Path) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(config), "HOME": str(config.parent)}

    async def __call__(self, *words: str, said: str = "", fails: bool = False) -> str:
        made = await asyncio.to_thread(
            subprocess.run,
            [str(KUBECTL), *words],
            input=said,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        assert (made.returncode != 0) is fails, made.stdout + made.stderr
        return made.stderr if fails else made.stdout


@pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed")
def test_a_stock_kubectl_applies_reads_changes_and_deletes(tmp_path: pathlib.Path) -> None:
    async def scenario(config: pathlib.Path) -> None:
        kubectl = Kubectl(config)
        applied = await kubectl("apply", "-f", "-", said=MANIFEST)
        assert applied.splitlines() == [
            "configmap/settings created",
            "deployment.apps/web created",
            "service/web created",
        ]
        again = await kubectl("apply", "-f", "-", said=MANIFEST)
        assert all(line.endswith("unchanged") for line in again.splitlines())
        changed = await kubectl("apply", "-f", "-", said=MANIFEST.replace("nginx:1", "nginx:2"))
        assert "deployment.apps/web configured" in changed
        shown = await kubectl("get", "deployment", "web")
        assert shown.split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
        await kubectl("scale", "deployment/web", "--replicas=4")
        assert await kubectl("get", "deployment/web", "-o", "jsonpath={.spec.replicas}") == "4"
        await kubectl("label", "configmap", "settings", "x=y")
        assert "settings" in await kubectl("get", "configmaps", "-l", "x=y", "-o", "name")
        assert "image <string>" in await kubectl("explain", "pod.spec.containers.image")
        wrong = await kubectl("apply", "-f", "-", said=MANIFEST.replace("image:", "imagge:"), fails=True)
        assert 'unknown field "spec.template.spec.containers[0].imagge"' in wrong
        await kubectl("delete", "-f", "-", said=MANIFEST)
        assert "NotFound" in await kubectl("get", "deployment", "web", fails=True)

    run(tmp_path, scenario)


@pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed")
def test_kubectls_typed_commands_and_server_side_apply(tmp_path: pathlib.Path) -> None:
    async def scenario(config: pathlib.Path) -> None:
        kubectl = Kubectl(config)
        await kubectl("create", "namespace", "shop")
        await kubectl("create", "configmap", "a", "-n", "shop", "--from-literal=k=v")
        assert await kubectl("get", "configmap", "a", "-n", "shop", "-o", "jsonpath={.data.k}") == "v"
        await kubectl("create", "secret", "generic", "s", "-n", "shop", "--from-literal=p=q")
        assert await kubectl("get", "secret", "s", "-n", "shop", "-o", "jsonpath={.data.p}") == "cQ=="
        await kubectl("create", "serviceaccount", "robot", "-n", "shop")
        token = await kubectl("create", "token", "robot", "-n", "shop")
        assert "robot" in await kubectl("auth", "whoami", "--user=nobody", f"--token={token.strip()}")
        await kubectl("create", "role", "reader", "-n", "shop", "--verb=get,list", "--resource=configmaps")
        await kubectl("create", "rolebinding", "r", "-n", "shop", "--role=reader", "--serviceaccount=shop:robot")
        robot = ("--as=system:serviceaccount:shop:robot", "-n", "shop")
        assert (await kubectl("auth", "can-i", "list", "configmaps", *robot)).strip() == "yes"
        await kubectl("auth", "can-i", "list", "secrets", *robot, fails=True)
        applied = await kubectl("apply", "--server-side", "--field-manager=me", "-f", "-", said=MANIFEST)
        assert "deployment.apps/web serverside-applied" in applied
        conflict = MANIFEST.replace("nginx:1", "nginx:9")
        refused = await kubectl("apply", "--server-side", "--field-manager=you", "-f", "-", said=conflict, fails=True)
        assert 'conflict with "me"' in refused
        await kubectl("delete", "namespace", "shop", "--wait=false")
        assert "Terminating" in await kubectl("get", "namespace", "shop")

    run(tmp_path, scenario)


@pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed")
def test_kubectl_reads_the_whole_document_in_protobuf_form(tmp_path: pathlib.Path) -> None:
    """It looks there for kinds that it does not find elsewhere, and says what is wrong only when it could read it."""

    async def scenario(config: pathlib.Path) -> None:
        kubectl = Kubectl(config)
        unknown = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"
        refused = await kubectl("create", "-f", "-", said=unknown, fails=True)
        assert 'no matches for kind "Thing" in version "example.com/v1"' in refused
        explained = await kubectl("explain", "pod.spec.containers.ports", "--output=plaintext-openapiv2")
        assert "containerPort\t<integer> -required-" in explained

    run(tmp_path, scenario)


def test_the_official_python_client(tmp_path: pathlib.Path) -> None:
    def work(config: pathlib.Path) -> None:
        with kubernetes.config.new_client_from_config(str(config)) as connection:
            core = kubernetes.client.CoreV1Api(connection)
            body = kubernetes.client.V1ConfigMap(metadata=kubernetes.client.V1ObjectMeta(name="a"), data={"x": "1"})
            made = core.create_namespaced_config_map("default", body)
            assert made.metadata.uid
            patched = core.patch_namespaced_config_map("a", "default", {"data": {"y": "2"}})
            assert patched.data == {"x": "1", "y": "2"}
            listed = core.list_namespaced_config_map("default", limit=1)
            assert [item.metadata.name for item in listed.items] == ["a"]
            version = listed.metadata.resource_version
            core.delete_namespaced_config_map("a", "default")
            stream = client_watch.Watch().stream(
                core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=5
            )
            event = next(iter(stream))
            assert (event["type"], event["object"].metadata.name) == ("DELETED", "a")
            with pytest.raises(kubernetes.client.ApiException) as raised:
                core.read_namespaced_config_map("a", "default")
            assert raised.value.status == 404
            stream.close()

    async def scenario(config: pathlib.Path) -> None:
        await asyncio.to_thread(work, config)

    run(tmp_path, scenario)
