"""Objects and an API for tests of the scheduler: nodes and pods in a line each, and a fake that binds."""

from typing import Any

import orjson

from pinnace.scheduler import pods, snapshot
from pinnace.testing import fake_api
from pinnace.web import messages

Object = dict[str, Any]
PODS_PATH = "/api/v1/pods"


def node(name: str, **options: Any) -> Object:
    """`cpu`, `memory`, `pods`, `extended` (a dict), `labels`, `taints` (`key=value:effect` …), `unschedulable`, `images` (name -> bytes)."""
    allocatable = {
        "cpu": str(options.get("cpu", "4")),
        "memory": str(options.get("memory", "8Gi")),
        "pods": str(options.get("pods", 110)),
        "ephemeral-storage": "100Gi",
        **options.get("extended", {}),
    }
    labels = {pods.HOSTNAME: name, **options.get("labels", {})}
    spec: Object = {"unschedulable": True} if options.get("unschedulable") else {}
    if options.get("taints"):
        spec["taints"] = [_taint(text) for text in options["taints"]]
    images = [{"names": [image], "sizeBytes": size} for image, size in options.get("images", {}).items()]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "uid": f"node-{name}"},
        "spec": spec,
        "status": {"allocatable": allocatable, "images": images},
    }


def pod(name: str, **options: Any) -> Object:
    """`cpu`, `memory`, `requests` (a dict), `labels`, `namespace`, `priority`, `node`, `ports` (container ports), `image`, `owner` (kind, name),
    `claims` (names), `status`; anything else goes into `spec` as it is."""
    requests = {key: options.pop(key) for key in ("cpu", "memory") if key in options} | options.pop("requests", {})
    container: Object = {"name": "main", "image": options.pop("image", "app:1"), "resources": {"requests": requests}}
    if "ports" in options:
        container["ports"] = options.pop("ports")
    namespace = options.pop("namespace", "default")
    metadata: Object = {
        "name": name,
        "namespace": namespace,
        "uid": options.pop("uid", f"{namespace}-{name}"),
        "labels": options.pop("labels", {}),
        "creationTimestamp": options.pop("created", "2026-01-01T00:00:00Z"),
    }
    if "owner" in options:
        kind, owner = options.pop("owner")
        metadata["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]
    spec: Object = {
        "containers": [container],
        "schedulerName": "default-scheduler",
        "priority": options.pop("priority", 0),
    }
    if "node" in options:
        spec["nodeName"] = options.pop("node")
    claims = options.pop("claims", ())
    if claims:
        spec["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    status = options.pop("status", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | options, "status": status}


def cluster(*nodes: Object, placed: tuple[Object, ...] = ()) -> snapshot.Snapshot:
    """A snapshot of these nodes, with these pods on the nodes that they name."""
    result = snapshot.Snapshot()
    for one in nodes:
        result.put_node(one)
    for one in placed:
        result.put_pod(pods.read(one))
    return result


class SchedulingApi(fake_api.FakeApi):
    """With the `binding` subresource: refused when the pod has a node, as the API server does."""

    def __init__(self) -> None:
        super().__init__()
        self.bindings: list[tuple[str, str]] = []
        """(pod, node) in the order in which they came."""

    async def handle(self, request: messages.Request) -> messages.Answer:
        if request.method != "POST" or not request.path.endswith("/binding"):
            return await super().handle(request)
        self.requests.append(request)
        self.fault(request)
        _, _, _, _, namespace, _, name, _ = request.path.split("/")
        binding = orjson.loads(await request.body.read(1 << 20))
        current = self.objects.get((PODS_PATH, namespace, name))
        if current is None:
            return _refusal(404, "NotFound", f'pods "{name}" not found')
        if current["spec"].get("nodeName"):
            return _refusal(409, "Conflict", f"pod {name} is already assigned to node {current['spec']['nodeName']!r}")
        bound = {**current, "spec": {**current["spec"], "nodeName": binding["target"]["name"]}}
        self.bindings.append((name, binding["target"]["name"]))
        await self.put(PODS_PATH, bound)
        return messages.Response(201, [("content-type", "application/json")], b'{"kind":"Status","status":"Success"}')

    async def put(self, collection: str, obj: Object) -> Object:
        """Create or replace, whatever is there."""
        metadata = obj["metadata"]
        target = fake_api._Target(collection, metadata.get("namespace", ""), metadata["name"], "")
        kind = "MODIFIED" if target.key in self.objects else "ADDED"
        return await self._commit(target, kind, {**obj, "metadata": dict(metadata)})

    async def remove(self, collection: str, namespace: str, name: str) -> None:
        await self._delete(fake_api._Target(collection, namespace, name, ""), {})

    def pod(self, name: str, namespace: str = "default") -> Object:
        return self.objects[PODS_PATH, namespace, name]


def _refusal(code: int, reason: str, message: str) -> messages.Response:
    status = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    return messages.Response(code, [("content-type", "application/json")], orjson.dumps(status))


def _taint(text: str) -> Object:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "value": value, "effect": effect}
