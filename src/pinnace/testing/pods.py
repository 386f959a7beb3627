"""Pods for tests: small, complete enough for the node agent and the scheduler."""

import itertools
from typing import Any

_uids = itertools.count(1)


def pod(name: str = "web", /, *, containers: list[dict[str, Any]] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod as the API serves it, bound to `node-1`. Keyword arguments are fields of its spec."""
    number = next(_uids)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{number}",
            "generation": 1,
            "labels": {},
            "annotations": {},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "nodeName": "node-1",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "serviceAccountName": "default",
            "containers": containers or [container("main")],
            **spec,
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }


def container(name: str, /, image: str = "busybox", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **fields,
    }
