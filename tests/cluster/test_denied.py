"""Every route is authorised (G13): who may nothing gets nothing, on each path that discovery names, with each verb."""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.client import client, kubeconfig
from pinnace.testing import cluster as clusters
from pinnace.testing import faults
from pinnace.web import client as web_client

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
OPEN_TO_ALL = {
    # Upstream's system:basic-user: what one may ask about oneself.
    ("POST", "selfsubjectaccessreviews"),
    ("POST", "selfsubjectrulesreviews"),
    ("POST", "selfsubjectreviews"),
}
NODE_PATHS = (
    "/pods", "/runningpods", "/logs/", "/metrics", "/metrics/cadvisor", "/metrics/resource", "/metrics/probes", "/stats/summary", "/configz",
    "/containerLogs/default/p/c", "/exec/default/p/c?command=id", "/run/default/p/c?cmd=id", "/attach/default/p/c", "/portForward/default/p",
    "/checkpoint/default/p/c", "/debug/pprof/", "/nothing",
)  # fmt: skip


def anonymous(target: faults.Target) -> ssl.SSLContext:
    return kubeconfig.client_context((target.where.pki / "ca.crt").read_bytes())


async def ask(http: web_client.HttpClient, method: str, url: str, token: str = "", body: bytes = b"") -> int:
    headers = [("content-type", "application/merge-patch+json" if method == "PATCH" else "application/json")]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    answer = await http.request(method, url, headers=headers, body=body, timeout=20)
    answer.close()
    return answer.status


async def routes(api: client.Client) -> list[tuple[str, str]]:
    """(path, plural) of everything that discovery names, with subresources, in one namespace and across all."""
    found = []
    groups = await api.get_path("/apis")
    versions = ["/api/v1", *(f"/apis/{v['groupVersion']}" for g in groups["groups"] for v in g["versions"])]
    for base in versions:
        for resource in (await api.get_path(base))["resources"]:
            name, _, sub = resource["name"].partition("/")
            scope = "/namespaces/kube-system" if resource["namespaced"] else ""
            tail = f"/{sub}" if sub else ""
            paths = [f"{base}{scope}/{name}/some{tail}"]
            if not sub:
                paths.append(f"{base}{scope}/{name}")
                if scope:
                    paths.append(f"{base}/{name}")
            if sub == "proxy":
                paths.append(paths[0] + "/inner/path")
            found += [(path, name) for path in paths]
    return found


def body_for(method: str) -> bytes:
    return {"GET": b"", "DELETE": b"", "PATCH": b"{}"}.get(method, b'{"metadata":{"name":"some"}}')


async def token_of(api: client.Client, namespace: str, name: str) -> str:
    asked = await api.create(resources.SERVICE_ACCOUNTS, namespace, {"spec": {}}, name=name, subresource="token")
    return str(asked["status"]["token"])


def test_who_may_nothing_is_denied_everywhere(cluster: clusters.Cluster) -> None:
    target = faults.Target(cluster)

    async def main() -> int:
        api = target.api()
        with_token = await token_of(api, "default", "default")
        http = web_client.HttpClient(context=anonymous(target))
        url = target.settings.url
        wrong, tried = [], 0
        for path, name in await routes(api):
            for method in VERBS:
                for token in ("", with_token):
                    if token and (method, name) in OPEN_TO_ALL:
                        continue
                    for variant in (path, f"{path}?watch=true") if method == "GET" else (path,):
                        status = await ask(http, method, url + variant, token, body_for(method))
                        tried += 1
                        # 405: no such verb there for anybody.
                        if status not in (401, 403, 405):
                            wrong.append((method, variant, "account" if token else "anonymous", status))
        assert wrong == []
        wrong = []
        for path in (
            "/metrics",
            "/logs",
            "/debug/pprof/",
            "/configz",
            "/apis/none/v1/x",
            "/api/v1/nothings",
            "/unknown",
        ):
            for token in ("", with_token):
                status = await ask(http, "GET", url + path, token)
                if status not in (401, 403):
                    wrong.append(("GET", path, "account" if token else "anonymous", status))
        node = f"https://{target.settings.node_ip}:{target.settings.kubelet_port}"
        for path in NODE_PATHS:
            for method in ("GET", "POST"):
                for token in ("", with_token):
                    status = await ask(http, method, node + path, token)
                    tried += 1
                    if status not in (401, 403):
                        wrong.append((method, node + path, "account" if token else "anonymous", status))
        await http.close()
        await api.close()
        assert wrong == []
        return tried

    print(f"\n{asyncio.run(main())} requests, all denied")


RULES = {
    "makes-roles": [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update", "patch", "get", "list"]}],
    "makes-pods": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list"]}],
}  # fmt: skip


def escalations() -> Iterator[tuple[str, str, str, Any]]:
    """(what is tried, method, path, body) by an account that may write roles and bindings but holds nothing else."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    me = [{"kind": "ServiceAccount", "name": "climber", "namespace": "default"}]

    def binding(name: str) -> dict[str, Any]:
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        return {"metadata": {"name": "up"}, "roleRef": ref, "subjects": me}

    yield "escalate", "POST", f"{rbac}/clusterroles", {"metadata": {"name": "up"}, "rules": everything}
    yield "escalate", "POST", f"{rbac}/namespaces/default/roles", {"metadata": {"name": "up"}, "rules": everything}
    paths = [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    yield "escalate by path", "POST", f"{rbac}/clusterroles", {"metadata": {"name": "up"}, "rules": paths}
    yield "bind", "POST", f"{rbac}/clusterrolebindings", binding("cluster-admin")
    yield "bind in a namespace", "POST", f"{rbac}/namespaces/kube-system/rolebindings", binding("admin")
    yield "patch own role", "PATCH", f"{rbac}/clusterroles/makes-roles", {"rules": everything}
    aggregated = {
        "metadata": {"name": "up"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]},
    }
    yield "aggregate", "POST", f"{rbac}/clusterroles", aggregated
    labels = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}, "rules": everything}
    yield "aggregate into admin", "PATCH", f"{rbac}/clusterroles/makes-roles", labels
    yield "dry run says no too", "POST", f"{rbac}/clusterrolebindings?dryRun=All", binding("cluster-admin")
    yield "token of another", "POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token", {"spec": {}}


HEADERS = [
    ("impersonate-user", "admin"),
    ("impersonate-user", "system:node:vm"),
    ("impersonate-group", "system:masters"),
    ("impersonate-uid", "1"),
    ("impersonate-extra-a", "b"),
]


def test_no_way_up(cluster: clusters.Cluster) -> None:
    """escalate, bind, aggregation, tokens of others, impersonation: each needs a permission that this account lacks."""
    target = faults.Target(cluster)

    async def main() -> None:
        api = target.api()
        await api.create(resources.SERVICE_ACCOUNTS, "default", {"metadata": {"name": "climber"}})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
        for name, rules in RULES.items():
            await api.create(resources.CLUSTER_ROLES, None, {"metadata": {"name": name}, "rules": rules})
            subjects = [{"kind": "ServiceAccount", "name": "climber", "namespace": "default"}]
            bound = {"metadata": {"name": name}, "roleRef": {**ref, "name": name}, "subjects": subjects}
            await api.create(resources.CLUSTER_ROLE_BINDINGS, None, bound)
        token = await token_of(api, "default", "climber")
        http = web_client.HttpClient(context=anonymous(target))
        url = target.settings.url
        for what, method, path, body in escalations():
            assert await ask(http, method, url + path, token, json.dumps(body).encode()) == 403, what
        for name, value in HEADERS:
            headers = [("authorization", f"Bearer {token}"), (name, value)]
            answer = await http.request("GET", f"{url}/api/v1/nodes", headers=headers, timeout=20)
            answer.close()
            # A group or more without a user is no request at all.
            assert answer.status == (403 if name == "impersonate-user" else 400) or answer.status == 403, (name, value)
        for bad in forged(token):
            assert await ask(http, "GET", f"{url}/api/v1/namespaces/default/pods", bad) == 401, bad
        assert await ask(http, "GET", f"{url}/api/v1/namespaces/default/pods", token) == 200
        await http.close()
        await api.close()

    asyncio.run(main())


def forged(token: str) -> Iterator[str]:
    """Tokens that say more than was signed."""
    head, claims, signature = token.split(".")

    def encode(document: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    other = {**said, "sub": "system:serviceaccount:kube-system:default"}
    yield f"{head}.{encode(other)}.{signature}"
    yield f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(other)}."
    yield f"{encode({'alg': 'none', 'typ': 'JWT'})}.{claims}.{signature}"
    yield f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{claims}.{signature}"
    yield f"{head}.{claims}."
    yield "x" * 4000
    yield "a.b.c"


def test_a_node_reads_only_what_its_pods_need(cluster: clusters.Cluster) -> None:
    """The node's identity: own node, own pods; secrets and tokens only of what its pods name; no other node, no labels of trust."""
    target = faults.Target(cluster)

    async def main() -> None:
        api = target.api()
        node_name = target.settings.node_name
        await api.create(resources.SECRETS, "default", {"metadata": {"name": "foreign"}, "stringData": {"a": "b"}})
        await api.create(resources.NODES, None, {"metadata": {"name": "another"}})
        certificate = next(path for path in target.where.pki.glob("*.crt") if re.search(r"kubelet$|node$", path.stem))
        context = kubeconfig.client_context(
            (target.where.pki / "ca.crt").read_bytes(),
            certificate.read_bytes(),
            certificate.with_suffix(".key").read_bytes(),
        )
        http = web_client.HttpClient(context=context)
        url = target.settings.url
        assert await ask(http, "GET", f"{url}/api/v1/nodes/{node_name}") == 200
        core = f"{url}/api/v1/namespaces"
        tries: list[tuple[str, str, Any]] = [
            ("GET", f"{core}/default/secrets/foreign", None),
            ("GET", f"{core}/default/secrets", None),
            ("GET", f"{url}/api/v1/secrets", None),
            ("GET", f"{core}/kube-system/configmaps/some", None),
            ("POST", f"{core}/default/serviceaccounts/default/token", {"spec": {}}),
            ("PATCH", f"{url}/api/v1/nodes/another", {"metadata": {"labels": {"a": "b"}}}),
            ("PATCH", f"{url}/api/v1/nodes/another/status", {"status": {}}),
            ("DELETE", f"{url}/api/v1/nodes/another", None),
            ("PATCH", f"{url}/api/v1/nodes/{node_name}", {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}),
            ("POST", f"{url}/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "x"}}),
            ("POST", f"{core}/default/configmaps", {"metadata": {"name": "x"}}),
            ("PUT", f"{url}/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/another", {"metadata": {"name": "another"}}),
        ]  # fmt: skip
        wrong = []
        for method, path, body in tries:
            status = await ask(http, method, path, "", b"" if body is None else json.dumps(body).encode())
            if status != 403:
                wrong.append((method, path, status))
        await api.delete(resources.NODES, None, "another")
        await http.close()
        await api.close()
        assert wrong == []

    asyncio.run(main())
