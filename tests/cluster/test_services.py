"""Services as a client in a pod sees them: addresses, ports, affinity, names, and what happens when they change."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from pinnace.assemble import settings
from pinnace.kernel import nftables
from pinnace.testing import cluster as clusters
from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

NAMESPACE = "services"
Object = dict[str, Any]

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: 'busybox:test', command: [sleep, '3600']}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox:test
        command: [sh, -c, 'mkdir /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w']
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: www.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""


class Services:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def run(self, *words: str, said: str | None = None, check: bool = True) -> str:
        done = self._cluster.kubectl("-n", NAMESPACE, *words, input=said, check=check)
        return done.stdout + ("" if check else done.stderr)

    def get(self, *words: str) -> Any:
        return json.loads(self.run("get", *words, "-o", "json"))

    def inside(self, script: str, *, check: bool = True) -> str:
        """What a shell in the client's pod prints."""
        return self.run("exec", "client", "--", "sh", "-c", script, check=check)

    def names(self, count: int) -> set[str]:
        """Who answered `count` requests from inside."""
        return set(self.inside(f"for i in $(seq {count}); do wget -q -O - http://web/; done").split())

    def patch(self, name: str, **spec: Any) -> None:
        self.run("patch", "service", name, "-p", json.dumps({"spec": spec}))


@pytest.fixture(scope="module")
def services(cluster: Cluster) -> Iterator[Services]:
    made = Services(cluster)
    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        made.run("apply", "-f", "-", said=MANIFEST)
        made.run("rollout", "status", "deployment/web", "--timeout=60s")
        made.run("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
        clusters.wait_until(lambda: len(made.names(30)) == 3)
        yield made
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")


def test_all_endpoints_answer_at_address_name_and_node_port(services: Services, cluster: Cluster) -> None:
    spec = services.get("service", "web")["spec"]
    answered = services.inside(
        f"wget -q -O - http://{spec['clusterIP']}/; wget -q -O - http://web.{NAMESPACE}/; "
        f"wget -q -O - http://web.{NAMESPACE}.svc.cluster.local/"
    ).split()
    assert len(answered) == 3
    (node,) = cluster.get("nodes")["items"]
    addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    port = spec["ports"][0]["nodePort"]
    for address in ("127.0.0.1", *addresses):
        with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
            assert answer.read().startswith(b"web-")
    assert services.inside(f"wget -q -O - http://{addresses[0]}:{port}/").startswith("web-")


def test_a_client_stays_with_its_endpoint_for_as_long_as_asked(services: Services) -> None:
    services.patch("web", sessionAffinity="ClientIP")
    clusters.wait_until(lambda: len(services.names(12)) == 1)
    port = services.get("service", "web")["spec"]["ports"][0]["nodePort"]
    seen = set()
    for _ in range(12):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            seen.add(answer.read())
    assert len(seen) == 1
    services.patch("web", sessionAffinity="None")
    clusters.wait_until(lambda: len(services.names(30)) == 3)


def test_a_headless_service_names_its_pods_and_their_ports(services: Services) -> None:
    addresses = {pod["status"]["podIP"] for pod in services.get("pods", "-l", "app=web")["items"]}
    found = services.inside(f"nslookup -type=a peers.{NAMESPACE}.svc.cluster.local")
    assert {line.split()[1] for line in found.splitlines() if line.startswith("Address: ")} == addresses
    ports = services.inside(f"nslookup -type=srv _http._tcp.peers.{NAMESPACE}.svc.cluster.local")
    assert ports.count(" 8080 ") == 3


def test_a_name_of_the_outside_is_an_alias_until_it_becomes_an_address(services: Services) -> None:
    name = f"outside.{NAMESPACE}.svc.cluster.local"
    assert "canonical name = www.example.com" in services.inside(f"nslookup -type=cname {name}", check=False)
    services.patch("outside", type="ClusterIP", externalName=None, ports=[{"port": 80, "targetPort": 8080}])
    spec = services.get("service", "outside")["spec"]
    assert "externalName" not in spec
    clusters.wait_until(lambda: spec["clusterIP"] in services.inside(f"nslookup -type=a {name}", check=False))


def test_addresses_may_be_written_by_hand(services: Services) -> None:
    pod = services.get("pods", "-l", "app=web")["items"][0]
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [pod["status"]["podIP"]]}],
    }
    services.run("create", "-f", "-", said=json.dumps(slices))
    asked = "wget -q -O - http://by-hand/"
    clusters.wait_until(lambda: pod["metadata"]["name"] in services.inside(asked, check=False))


def test_a_service_without_endpoints_refuses(services: Services) -> None:
    assert "Connection refused" in services.inside("wget -q -O - http://empty/", check=False)


def test_the_api_passes_requests_on_to_services_and_pods(services: Services) -> None:
    base = f"/api/v1/namespaces/{NAMESPACE}"
    assert services.run("get", "--raw", f"{base}/services/http:web:80/proxy/").startswith("web-")
    pod = services.get("pods", "-l", "app=web")["items"][0]["metadata"]["name"]
    assert services.run("get", "--raw", f"{base}/pods/{pod}:8080/proxy/index.html") == f"{pod}\n"


def test_the_api_is_a_service_too(services: Services) -> None:
    assert services.inside("nc -w 2 kubernetes.default.svc 443 </dev/null && echo connected") == "connected\n"


def test_rules_that_another_program_removed_come_back(services: Services, cluster: Cluster) -> None:
    """A firewall that loads its rules begins with `flush ruleset`."""
    _, facts = settings.require(cluster.data)
    nft = nftables.Nftables()
    try:
        for family in ("ip", "bridge"):
            nft.run(f"delete table {family} {facts.table}")
        clusters.wait_until(lambda: "web-" in services.inside("wget -q -O - http://web/", check=False))
        members = nft.run(f"list set bridge {facts.table} members")
        assert services.get("pod", "client")["status"]["podIP"] in members
    finally:
        nft.close()
