"""A rolling update loses no request; an undo brings the old version back."""

import threading
import time
import urllib.error
import urllib.request

import pytest

from pinnace.testing.cluster import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.privileged]

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: httpd
        image: busybox:test
        command: [sh, -c, 'mkdir /www; echo $VERSION > /www/index.html; exec httpd -f -p 8080 -h /www']
        env: [{name: VERSION, value: "1"}]
        lifecycle: {preStop: {exec: {command: [sleep, "2"]}}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
REQUESTS_PER_SECOND = 200


class Load:
    """A steady stream of requests; remembers what was answered and what failed."""

    def __init__(self, url: str) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        pause = len(self._threads) / REQUESTS_PER_SECOND
        while not self._stop.wait(pause):
            try:
                with urllib.request.urlopen(self._url, timeout=5) as answer:
                    self.answers.append(answer.read().decode().strip())
            except OSError as error:
                self.failures.append(repr(error))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_rolling_update_under_load_loses_nothing_and_undo_works(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", input=MANIFEST)
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    port = cluster.get("-n", namespace, "service", "web")["spec"]["ports"][0]["nodePort"]
    url = f"http://127.0.0.1:{port}/"
    wait_answer(url, "1")
    load = Load(url)
    try:
        cluster.kubectl("-n", namespace, "set", "env", "deployment/web", "VERSION=2")
        cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=90s")
        wait_answer(url, "2")
    finally:
        load.stop()
    assert load.failures == []
    assert set(load.answers) == {"1", "2"}
    cluster.kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=90s")
    wait_answer(url, "1")
    history = cluster.kubectl("-n", namespace, "rollout", "history", "deployment/web").stdout
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["2", "3"]


def wait_answer(url: str, expected: str) -> None:
    """Rules follow the endpoints within a moment of the rollout's end."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.read().decode().strip() == expected:
                    return
        except urllib.error.URLError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
