"""What a container finds when it starts: environment, files, identity, limits, names. One pod per sentence, all started at once."""

import concurrent.futures
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

NAMESPACE = "containers"
Object = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A pod whose command prints what it finds; every one of `finds` is somewhere in that."""

    says: str
    command: str
    finds: tuple[str, ...]
    container: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.says.lower()).strip("-")

    def manifest(self) -> Object:
        container = {
            "name": "main",
            "image": "busybox:test",
            "command": ["sh", "-c", self.command],
            **self.container,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "labels": {"case": self.name}, "annotations": dict(self.annotations)},
            "spec": {"restartPolicy": "Never", "containers": [container], **self.spec},
        }


def values(**names: str) -> list[Object]:
    return [{"name": name, "value": value} for name, value in names.items()]


def fields(**names: str) -> list[Object]:
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in names.items()]


def amounts(**names: str) -> list[Object]:
    """`resource/divisor` of the container itself."""
    found = []
    for name, text in names.items():
        resource, _, divisor = text.partition("/")
        found.append({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}})
    return found


def mounted(**source: Any) -> tuple[Object, Object]:
    """(container, spec) with one volume at `/v`."""
    return {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {"volumes": [{"name": "v", **source}]}


def files(says: str, command: str, *finds: str, spec: Mapping[str, Any] | None = None, **source: Any) -> Case:
    container, volumes = mounted(**source)
    return Case(says, command, finds, container, {**volumes, **(spec or {})})


CASES = (
    Case(
        "a variable refers to those before it",
        'echo "$ALL|$NONE|$ESCAPED"',
        (r"^one;two\|\$\(NOBODY\)\|\$\(A\)$",),
        {"env": values(A="one", B="two", ALL="$(A);$(B)", NONE="$(NOBODY)", ESCAPED="$$(A)")},
    ),
    Case(
        "commands and arguments refer to variables",
        "",
        (r"^hello world$",),
        {"command": ["echo"], "args": ["$(GREETING)", "world"], "env": values(GREETING="hello")},
    ),
    Case(
        "the pod tells about itself",
        "env",
        (r"^POD=the-pod-tells", r"^SPACE=containers$", r"^NODE=.", r"^IP=10\.", r"^HOST=\d", r"^CASE=the-pod-tells"),
        {
            "env": fields(
                POD="metadata.name",
                SPACE="metadata.namespace",
                NODE="spec.nodeName",
                IP="status.podIP",
                HOST="status.hostIP",
                CASE="metadata.labels['case']",
            )
        },
    ),
    Case(
        "amounts are divided and rounded up",
        "env",
        (r"^CPU=2$", r"^MILLI=1250$", r"^MEMORY=64$", r"^REQUEST=33554432$"),
        {
            "env": amounts(
                CPU="limits.cpu/1", MILLI="limits.cpu/1m", MEMORY="limits.memory/1Mi", REQUEST="requests.memory/0"
            ),
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi"},
                "limits": {"cpu": "1250m", "memory": "64Mi"},
            },
        },
    ),
    Case(
        "limits that are not set are the nodes own",
        'test "$MEMORY" -gt 100000000 && test "$CPU" -ge 1 && echo whole',
        (r"^whole$",),
        {"env": amounts(MEMORY="limits.memory/1", CPU="limits.cpu/1")},
    ),
    Case(
        "settings and secrets come as variables",
        "env",
        (r"^ONE=1$", r"^COLOUR=red$", r"^P_COLOUR=red$", r"^WORD=s3cret$"),
        {
            "env": [
                {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "one"}}},
                {
                    "name": "MISSING",
                    "valueFrom": {"configMapKeyRef": {"name": "nobody", "key": "x", "optional": True}},
                },
            ],
            "envFrom": [
                {"configMapRef": {"name": "settings"}},
                {"prefix": "P_", "configMapRef": {"name": "settings"}},
                {"secretRef": {"name": "keys"}},
                {"secretRef": {"name": "nobody", "optional": True}},
            ],
        },
    ),
    Case(
        "services are found by variables",
        "env",
        (r"^KUBERNETES_SERVICE_HOST=10\.", r"^KUBERNETES_SERVICE_PORT=443$", r"^KUBERNETES_PORT_443_TCP=tcp://10\."),
    ),
    files(
        "a config map is a folder of links",
        "cat /v/one; stat -L -c %a /v/one; readlink /v/one; od -An -tx1 /v/bytes; touch /v/x",
        r"^1644$",
        r"^\.\.data/one$",
        r"de ad be ef",
        r"Read-only",
        configMap={"name": "settings"},
    ),
    files(
        "items choose names and modes",
        "find /v -follow -type f -not -path '*/..*' ; cat /v/a/b; stat -L -c %a /v/a/b",
        r"^/v/a/b$",
        r"^red400$",
        configMap={"name": "settings", "items": [{"key": "COLOUR", "path": "a/b", "mode": 0o400}]},
    ),
    files(
        "a secret lies in memory and its group may read it",
        "id -u; cat /v/WORD; stat -L -c ' %a %g' /v/WORD; grep ' /v ' /proc/mounts",
        r"^1000$",
        r"^s3cret 440 1001$",
        r"^tmpfs",
        spec={"securityContext": {"runAsUser": 1000, "fsGroup": 1001}},
        secret={"secretName": "keys", "defaultMode": 0o440},
    ),
    dataclasses.replace(
        files(
            "several sources in one folder",
            "cat /v/name /v/settings/one /v/keys/WORD; echo; cat /v/notes; echo; cut -c1-3 /v/token; stat -L -c %a /v/name",
            r"^several-sources-in-one-folder1s3cret$",
            r'^note="b c"$',
            r"^eyJ$",
            r"^600$",
            projected={
                "defaultMode": 0o600,
                "sources": [
                    {
                        "downwardAPI": {
                            "items": [
                                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                                {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
                            ]
                        }
                    },
                    {"configMap": {"name": "settings", "items": [{"key": "one", "path": "settings/one"}]}},
                    {"secret": {"name": "keys", "items": [{"key": "WORD", "path": "keys/WORD"}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "x", "expirationSeconds": 600}},
                ],
            },
        ),
        annotations={"note": "b c"},
    ),
    files(
        "an empty folder is everybodys",
        "stat -c '%a %u' /v; echo hi > /v/f; cat /v/f",
        r"^777 0$",
        r"^hi$",
        emptyDir={},
    ),
    files(
        "an empty folder in memory has its size",
        "grep ' /v ' /proc/mounts; df -k /v | tail -1",
        r"^tmpfs /v tmpfs",
        r" 8192 ",
        emptyDir={"medium": "Memory", "sizeLimit": "8Mi"},
    ),
    files(
        "files of a pod belong to its group",
        "stat -c '%a %g' /v; echo hi > /v/f; stat -c '%u %g' /v/f",
        r"^2777 123$",
        r"^1001 123$",
        spec={"securityContext": {"runAsUser": 1001, "fsGroup": 123}},
        emptyDir={},
    ),
    Case(
        "parts of volumes are mounted alone",
        "cat /a/f; ls /b; cat /etc/one",
        (r"^from init$", r"^below$", r"^1$"),
        {
            "volumeMounts": [
                {"name": "v", "mountPath": "/a", "subPath": "x"},
                {"name": "v", "mountPath": "/b", "subPathExpr": "x/$(PART)"},
                {"name": "settings", "mountPath": "/etc/one", "subPath": "one"},
            ],
            "env": values(PART="y"),
        },
        {
            "initContainers": [
                {
                    "name": "prepare",
                    "image": "busybox:test",
                    "command": ["sh", "-c", "mkdir -p /v/x/y; echo from init > /v/x/f; touch /v/x/y/below"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings"}}],
        },
    ),
    Case(
        "user and groups are the pods",
        "id -u; id -g; id -G",
        (r"^1001\n2002\n", r"\b123\b"),
        spec={"securityContext": {"runAsUser": 1001, "runAsGroup": 2002, "supplementalGroups": [123]}},
    ),
    Case(
        "nothing is written into a read only root",
        "touch /x || echo refused",
        (r"^refused$",),
        {"securityContext": {"readOnlyRootFilesystem": True}},
    ),
    Case(
        "capabilities are the usual ones",
        "grep CapEff /proc/self/status",
        (r"00000000a80425fb$",),
    ),
    Case(
        "capabilities are taken and given",
        "grep CapEff /proc/self/status",
        (r"0000000000001000$",),
        {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}},
    ),
    Case(
        "who is not privileged changes no network",
        "ip link add x0 type bridge || echo refused",
        (r"^refused$",),
    ),
    Case(
        "who is privileged may",
        "ip link add x0 type bridge && echo done",
        (r"^done$",),
        {"securityContext": {"privileged": True}},
    ),
    Case(
        "no new privileges means none",
        "grep NoNewPrivs /proc/self/status",
        (r"1$",),
        {"securityContext": {"allowPrivilegeEscalation": False}},
    ),
    Case(
        "system calls are filtered where asked",
        "grep Seccomp: /proc/self/status",
        (r"2$",),
        spec={"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
    ),
    Case(
        "safe kernel parameters are set",
        "cat /proc/sys/kernel/shm_rmid_forced",
        (r"^1$",),
        spec={"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}},
    ),
    Case(
        "aliases stand in the hosts file",
        "cat /etc/hosts",
        (r"^# Kubernetes-managed hosts file", r"^192\.0\.2\.9\tone\.local\ttwo\.local$", r"\taliases-stand"),
        spec={"hostAliases": [{"ip": "192.0.2.9", "hostnames": ["one.local", "two.local"]}]},
    ),
    Case(
        "host name and subdomain make a full name",
        "hostname; hostname -f",
        (r"^h1\nh1\.sub\.containers\.svc\.cluster\.local$",),
        spec={"hostname": "h1", "subdomain": "sub"},
    ),
    Case(
        "names are looked up in the cluster first",
        "cat /etc/resolv.conf; nslookup kubernetes.default.svc.cluster.local",
        (r"^search containers\.svc\.cluster\.local svc\.cluster\.local cluster\.local", r"ndots:5", r"Address: 10\."),
    ),
    Case(
        "a pod may bring its own name servers",
        "cat /etc/resolv.conf",
        (r"^nameserver 192\.0\.2\.53$", r"^search own\.example$", r"^options ndots:2$"),
        spec={
            "dnsPolicy": "None",
            "dnsConfig": {
                "nameservers": ["192.0.2.53"],
                "searches": ["own.example"],
                "options": [{"name": "ndots", "value": "2"}],
            },
        },
    ),
    Case(
        "init containers run one after the other",
        "cat /v/log",
        (r"^first\nsecond$",),
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [
                {
                    "name": word,
                    "image": "busybox:test",
                    "command": ["sh", "-c", f"echo {word} >> /v/log"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                }
                for word in ("first", "second")
            ],
        },
    ),
    Case(
        "the working directory is the containers",
        "pwd",
        (r"^/tmp$",),
        {"workingDir": "/tmp"},
    ),
    Case(
        "a pod without a token has none",
        "ls /var/run/secrets/kubernetes.io || echo none",
        (r"^none$",),
        spec={"automountServiceAccountToken": False},
    ),
    Case(
        "on the hosts network the host is seen",
        "ls /sys/class/net | wc -w; cat /etc/hosts | head -1",
        (r"^[2-9]|^\d\d", r"host network"),
        spec={"hostNetwork": True},
    ),
)

SETUP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {one: "1", COLOUR: red}
binaryData: {bytes: 3q2+7w==}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {WORD: s3cret}
"""


@pytest.fixture(scope="module")
def outputs(cluster: Cluster) -> Iterator[dict[str, str]]:
    """What each pod printed."""

    def run(*words: str, said: str | None = None) -> str:
        return cluster.kubectl("-n", NAMESPACE, *words, input=said).stdout

    cluster.kubectl("create", "namespace", NAMESPACE)
    try:
        run("apply", "-f", "-", said=SETUP)
        pods = {"apiVersion": "v1", "kind": "List", "items": [case.manifest() for case in CASES]}
        run("apply", "-f", "-", said=json.dumps(pods))
        names = [case.name for case in CASES]
        finished = "jsonpath={.status.containerStatuses[0].state.terminated.finishedAt}"
        run("wait", f"--for={finished}", *(f"pod/{name}" for name in names), "--timeout=60s")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            yield dict(zip(names, pool.map(lambda name: run("logs", name), names), strict=True))
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=60s")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_a_container(case: Case, outputs: dict[str, str]) -> None:
    for pattern in case.finds:
        assert re.search(pattern, outputs[case.name], re.MULTILINE), outputs[case.name]
