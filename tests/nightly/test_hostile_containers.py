"""Containers that try to see or change the machine through what the node does for them: subPath, termination messages, working
directories, exec, logs. A file of the host holds a secret; none of them gets it, in none of the ways that others have been had (G14)."""

import hashlib
import json
import pathlib
from typing import Any

import pytest

from pinnace.testing import cluster as clusters

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.privileged, pytest.mark.timeout(600)]

SECRET = "only-the-host-knows-this"
PROGRAMS = ("/usr/bin/crun", "/usr/bin/conmon")
DESCRIPTORS = range(3, 13)
END_SECONDS = 60


def container(name: str, script: str, *mounts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": "busybox:test",
        "command": ["sh", "-c", script],
        "volumeMounts": list(mounts),
        **fields,
    }


def pod(name: str, *containers: dict[str, Any], init: str = "", volume: dict[str, Any] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "containers": list(containers),
    }
    if init:
        spec["initContainers"] = [container("init", init, {"name": "v", "mountPath": "/v"})]
    if init or volume:
        spec["volumes"] = [{"name": "v", **(volume or {"emptyDir": {}})}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def sub_path(path: str) -> dict[str, Any]:
    return {"name": "v", "mountPath": "/m", "subPath": path}


def attacks(secret: pathlib.Path) -> list[dict[str, Any]]:
    folder, whole = secret.parent, {"name": "v", "mountPath": "/v"}
    climbs = " ".join("/".join([".."] * depth) + str(secret) for depth in range(1, 9))
    links = f"ln -s {folder} /v/folder; ln -s {secret} /v/file; ln -s ../../../../../../../.. /v/up; ln -s /proc/1/root /v/root"
    show = f"cat /m /m/{secret.name} /m{secret}"
    watch = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in */busybox|'') ;; *) (echo bad >> $p/exe); cat $p/root%s;; esac; done"
    return [
        pod("folder", container("a", show, sub_path("folder")), init=links),
        pod("file", container("a", show, sub_path("file")), init=links),
        pod("up", container("a", show, sub_path("up")), init=links),
        pod("root", container("a", show, sub_path(f"root{secret}")), init=links),
        pod(
            "last-words",
            container("a", f"rm /v/x; ln -s {secret} /v/x; exit 1", whole, terminationMessagePath="/v/x"),
            container("b", "exit 1", whole, terminationMessagePath="/v/file"),
            container("c", f"echo hi > /v/root{secret}; exit 1", whole, terminationMessagePath=f"/v/root{secret}"),
            init=links,
        ),
        pod("reach", container("a", f"cat /proc/1/root{secret} /proc/self/root{secret} /proc/1/cwd/{climbs}")),
        pod("exe", container("a", f"i=0; while [ $i -lt 100 ]; do i=$((i+1)); {watch % secret}; sleep 0.05; done")),
        *(
            pod(f"cwd-{number}", container("a", f"cat {climbs}", workingDir=f"/proc/self/fd/{number}"))
            for number in DESCRIPTORS
        ),
    ]


def is_over(one: dict[str, Any]) -> bool:
    """Ended, or waiting for what it will never get."""
    status = one["status"]
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    states = [each["state"] for each in status.get("containerStatuses", ())]
    reasons = [state.get("waiting", {}).get("reason", "") for state in states]
    return bool(states) and all(
        "terminated" in state or "Error" in why for state, why in zip(states, reasons, strict=True)
    )


def run(cluster: clusters.Cluster, pods: list[dict[str, Any]]) -> str:
    """Everything that anybody can learn of these pods."""
    cluster.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    names = {one["metadata"]["name"] for one in pods}
    if "exe" in names:
        cluster.kubectl("wait", "--for=condition=Ready", "pod/exe", "--timeout=30s")
        for command in ("/proc/self/exe", "ls"):
            cluster.kubectl("exec", "exe", "--", command, check=False)

    def over() -> bool:
        return all(is_over(one) for one in cluster.get("pods")["items"] if one["metadata"]["name"] in names)

    clusters.wait_until(over, END_SECONDS)
    told = [cluster.kubectl("logs", name, "--all-containers", "--ignore-errors", check=False).stdout for name in names]
    return "\n".join([*told, json.dumps(cluster.get("pods")), json.dumps(cluster.get("events"))])


def digests() -> list[str]:
    return [hashlib.sha256(pathlib.Path(program).read_bytes()).hexdigest() for program in PROGRAMS]


def test_no_container_gets_the_hosts_secret(node_cluster: clusters.Cluster, tmp_path: pathlib.Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    before = digests()
    assert SECRET not in run(node_cluster, attacks(secret))
    assert secret.read_text() == SECRET
    assert digests() == before
    # Where a pod is given the folder, the secret is found: the check can fail.
    given = pod(
        "given",
        container("a", "cat /m/secret", {"name": "v", "mountPath": "/m"}),
        volume={"hostPath": {"path": str(tmp_path)}},
    )
    assert SECRET in run(node_cluster, [given])
