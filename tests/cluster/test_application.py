"""An application as users write them: everything of a first course in one manifest, applied with the real kubectl."""

import pathlib
import subprocess
import sys
import time
import urllib.request

import pytest

from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  GREETING: hello
  page: "from a file\\n"
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {TOKEN: s3cret}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - name: prepare
        image: busybox:test
        command: [sh, -c, 'cp /config/page /www/index.html; echo $(GREETING) $TOKEN >> /www/index.html; hostname >> /www/index.html']
        envFrom:
        - configMapRef: {name: settings}
        - secretRef: {name: keys}
        volumeMounts:
        - {name: config, mountPath: /config}
        - {name: www, mountPath: /www}
      - name: sidecar
        image: busybox:test
        restartPolicy: Always
        command: [sh, -c, 'echo sidecar up; while true; do sleep 3600; done']
      containers:
      - name: httpd
        image: busybox:test
        command: [httpd, -f, -p, '8080', -h, /www]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: http}}
        startupProbe: {exec: {command: [test, -f, /www/index.html]}, periodSeconds: 1}
        resources: {requests: {cpu: 10m, memory: 8Mi}, limits: {cpu: 200m, memory: 32Mi}}
        volumeMounts: [{name: www, mountPath: /www}]
      volumes:
      - {name: www, emptyDir: {}}
      - {name: config, configMap: {name: settings}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: fetch
        image: busybox:test
        command: [sh, -c, 'until wget -q -O - http://web/; do sleep 0.2; done; wget -q -O - http://web.$NS.svc.cluster.local/']
        env: [{name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]
"""


def test_a_manifest_runs_resolves_names_and_answers(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=MANIFEST)
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=complete", "job/once", "--timeout=60s")
    output = cluster.kubectl("-n", namespace, "logs", "job/once").stdout
    assert output.count("hello s3cret") == 2
    assert output.count("from a file") == 2
    port = cluster.get("-n", namespace, "service", "web")["spec"]["ports"][0]["nodePort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
        assert b"hello s3cret" in answer.read()
    logs = cluster.kubectl("-n", namespace, "logs", "deployment/web", "-c", "sidecar").stdout
    assert logs == "sidecar up\n"


POD = """
apiVersion: v1
kind: Pod
metadata: {name: tool}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: tool
    image: busybox:test
    command: [sh, -c, 'echo started; httpd -p 127.0.0.1:9090 -h /etc; while true; do sleep 3600; done']
"""


def test_exec_cp_port_forward_and_the_token(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=POD)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/tool", "--timeout=60s")
    assert cluster.kubectl("-n", namespace, "exec", "tool", "--", "echo", "hi").stdout == "hi\n"
    failed = cluster.kubectl("-n", namespace, "exec", "tool", "--", "sh", "-c", "echo bad >&2; exit 7", check=False)
    assert failed.returncode == 7
    assert "bad" in failed.stderr
    piped = cluster.kubectl("-n", namespace, "exec", "-i", "tool", "--", "cat", input="through\nstdin\n")
    assert piped.stdout == "through\nstdin\n"
    cluster.kubectl("-n", namespace, "cp", __file__, "tool:/tmp/copied")
    copied = cluster.kubectl("-n", namespace, "exec", "tool", "--", "cat", "/tmp/copied").stdout
    assert copied == pathlib.Path(__file__).read_text()
    token = cluster.kubectl(
        "-n", namespace, "exec", "tool", "--", "sh", "-c", "ls /var/run/secrets/kubernetes.io/serviceaccount"
    ).stdout
    assert token.split() == ["ca.crt", "namespace", "token"]
    assert cluster.kubectl("-n", namespace, "logs", "tool").stdout == "started\n"


def test_port_forward_reaches_a_listener_on_the_pods_loopback(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=POD)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/tool", "--timeout=60s")
    command = [
        cluster.kubectl_path,
        "--kubeconfig",
        str(cluster.kubeconfig),
        "-n",
        namespace,
        "port-forward",
        "pod/tool",
        ":9090",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as forward:
        assert forward.stdout is not None
        try:
            port = forward.stdout.readline().split()[2].rpartition(":")[2]
            for _ in range(3):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/hostname", timeout=5) as answer:
                    assert answer.read() == b"tool\n"
        finally:
            forward.terminate()


STATEFUL = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: db
        image: busybox:test
        command: [sh, -c, 'hostname >> /data/starts; while true; do sleep 3600; done']
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
"""


def test_rows_outlive_the_pod_that_wrote_them(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=STATEFUL)
    cluster.kubectl("-n", namespace, "rollout", "status", "statefulset/db", "--timeout=60s")
    first = cluster.get("-n", namespace, "pod", "db-0")["metadata"]["uid"]
    cluster.kubectl("-n", namespace, "delete", "pod", "db-0", "--wait=true")
    deadline = time.monotonic() + 30
    while (cluster.get("-n", namespace, "pods", "-l", "app=db")["items"] or [{}])[0].get("metadata", {}).get("uid") in (
        None,
        first,
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/db-0", "--timeout=60s")
    rows = cluster.kubectl("-n", namespace, "exec", "db-0", "--", "cat", "/data/starts").stdout
    assert rows == "db-0\ndb-0\n"
    peer = cluster.kubectl("-n", namespace, "exec", "db-0", "--", "nslookup", f"db-1.db.{namespace}.svc.cluster.local")
    assert "Address" in peer.stdout
