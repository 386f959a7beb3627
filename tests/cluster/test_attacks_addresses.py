"""A user who may edit one namespace takes no address and no port that is somebody else's."""

import json
import ssl
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.testing import cluster as clusters
from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

NAMESPACE = "thieves"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: thief, labels: {app: thief}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:test
    command: [sh, -c, 'mkdir /w; echo stolen > /w/index.html; exec httpd -f -p 8080 -h /w']
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
"""


class Thief:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def run(self, *words: str, said: str | None = None, check: bool = True) -> str:
        done = self.cluster.kubectl("-n", NAMESPACE, *words, input=said, check=check)
        return done.stdout + ("" if check else done.stderr)

    def inside(self, script: str, *, check: bool = True) -> str:
        return self.run("exec", "thief", "--", "sh", "-c", script, check=check)

    def claim(self, name: str, address: str, port: int, protocol: str = "TCP") -> None:
        spec = {
            "selector": {"app": "thief"},
            "externalIPs": [address],
            "ports": [{"port": port, "targetPort": 8080, "protocol": protocol}],
        }
        made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        self.run("create", "-f", "-", said=json.dumps(made))
        # It is in force once its own address is.
        clusters.wait_until(lambda: "stolen" in self.inside(f"wget -q -O - http://{name}:{port}/", check=False))


@pytest.fixture(scope="module")
def thief(cluster: Cluster) -> Iterator[Thief]:
    found = Thief(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        found.run("apply", "-f", "-", said=POD)
        found.run("wait", "--for=condition=Ready", "pod/thief", "--timeout=60s")
        yield found
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")


def node_address(cluster: Cluster) -> str:
    (node,) = cluster.get("nodes")["items"]
    return next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP")


def is_the_api_at(address: str, port: int) -> bool:
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(f"https://{address}:{port}/livez", timeout=5, context=context) as answer:
        return bool(answer.read() == b"ok")


def test_the_api_s_own_address_stays_the_api_s(thief: Thief, cluster: Cluster) -> None:
    address = cluster.get("service", "kubernetes")["spec"]["clusterIP"]
    thief.claim("api", address, 443)
    assert is_the_api_at(address, 443)
    clusters.wait_until(lambda: "AddressNotFree" in thief.run("get", "events"))
    thief.run("delete", "service", "api")
    assert is_the_api_at(address, 443)


def test_the_api_s_port_of_the_node_stays_the_api_s(thief: Thief, cluster: Cluster) -> None:
    address = node_address(cluster)
    thief.claim("node", address, cluster.port)
    assert is_the_api_at(address, cluster.port)
    assert is_the_api_at("127.0.0.1", cluster.port)
    thief.run("delete", "service", "node")


def test_names_are_answered_by_the_cluster_whoever_claims_their_address(thief: Thief, cluster: Cluster) -> None:
    found = cluster.get("service", "kube-dns", "-n", "kube-system")
    address = found["spec"]["clusterIP"]
    thief.claim("names", address, 53)
    assert address in thief.inside("nslookup -type=a kubernetes.default.svc.cluster.local")
    assert "coredns_dns_requests_total" in thief.inside(f"wget -q -O - http://{address}:9153/metrics")
    thief.run("delete", "service", "names")
    assert "CoreDNS" in cluster.kubectl("cluster-info").stdout
    cluster.kubectl("delete", "service", "kube-dns", "-n", "kube-system")
    clusters.wait_until(lambda: cluster.get("services", "-n", "kube-system")["items"])
    assert address in thief.inside("nslookup -type=a kube-dns.kube-system.svc.cluster.local")


def test_of_two_with_the_same_external_address_the_first_has_it_until_it_goes(thief: Thief, cluster: Cluster) -> None:
    spec: dict[str, Any] = {"externalIPs": ["198.51.100.77"], "ports": [{"port": 80}]}
    first = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "first"}, "spec": spec}
    thief.run("create", "-f", "-", said=json.dumps(first))
    asked = "wget -q -O - http://198.51.100.77/"
    clusters.wait_until(lambda: "refused" in thief.inside(asked, check=False))
    clusters.wait_until(lambda: age_of(thief, "first") >= 2)  # times are in seconds
    thief.claim("second", "198.51.100.77", 80)
    assert "refused" in thief.inside(asked, check=False)
    thief.run("delete", "service", "first")
    clusters.wait_until(lambda: "stolen" in thief.inside(asked, check=False))
    thief.run("delete", "service", "second")


def age_of(thief: Thief, name: str) -> int:
    shown = thief.run("get", "service", name, "--no-headers").split()[-1]
    return int(shown.removesuffix("s"))


def test_a_host_port_that_is_the_api_s_is_never_given(thief: Thief, cluster: Cluster) -> None:
    pod = json.loads(thief.run("get", "pod", "thief", "-o", "json"))
    main = pod["spec"]["containers"][0]
    wanted = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "port"},
        "spec": {"containers": [{**main, "ports": [{"containerPort": 8080, "hostPort": cluster.port}]}]},
    }
    del wanted["spec"]["containers"][0]["volumeMounts"]  # type: ignore[index]
    thief.run("create", "-f", "-", said=json.dumps(wanted))
    clusters.wait_until(lambda: "didn't have free ports" in thief.run("get", "events"))
    wanted["metadata"] = {"name": "bound"}
    wanted["spec"]["nodeName"] = cluster.get("nodes")["items"][0]["metadata"]["name"]  # type: ignore[index]
    thief.run("create", "-f", "-", said=json.dumps(wanted))
    clusters.wait_until(lambda: "NodePorts" in thief.run("get", "pod", "bound", "-o", "jsonpath={.status.reason}"))
    assert is_the_api_at("127.0.0.1", cluster.port)
