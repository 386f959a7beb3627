"""Microseconds that the steps of a write cost for a typical pod: `python tools/measure_api.py`. Figures, no judgement."""

import time
from collections.abc import Callable
from typing import Any

import orjson

from pinnace.api import clean, decode, kinds, strategy

ROUNDS = 2000


def container(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": "nginx:1",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [
            {"name": "A", "value": "b"},
            {"name": "P", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
        ],
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}, "requests": {"cpu": "50m", "memory": "32Mi"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "periodSeconds": 10},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def pod() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}, "annotations": {"a/b": "c"}},
        "spec": {
            "containers": [container("a"), container("b")],
            "volumes": [{"name": "data", "emptyDir": {}}],
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "serviceAccountName": "default",
        },
    }


def measure(name: str, step: Callable[[], object]) -> None:
    step()
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        step()
    print(f"{name:<20} {(time.perf_counter() - begin) / ROUNDS * 1e6:8.1f} us")


def main() -> None:
    kind = kinds.builtin().by_kind("", "v1", "Pod")
    assert kind is not None
    data = orjson.dumps(pod())
    parsed = orjson.loads(data)
    measure("parse", lambda: orjson.loads(data))
    measure("fast check", lambda: clean.is_clean(kind.schema, parsed))
    measure("decode, strict", lambda: decode.decode(data, kind, field_validation="Strict"))
    unclean = orjson.dumps({**pod(), "unknown": 1})
    measure("decode, repaired", lambda: decode.decode(unclean, kind))
    made = decode.decode(data, kind).obj
    made["metadata"]["uid"] = "u"
    measure("defaults", lambda: kind.rules.defaults(made))
    measure("strategy", lambda: strategy.prepare_create(kind, made))
    measure("validation", lambda: strategy.validate_create(kind, made))
    measure("encode", lambda: decode.encode(made))


if __name__ == "__main__":
    main()
