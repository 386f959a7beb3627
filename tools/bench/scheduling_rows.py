"""P5: pods created over TLS and bound to nodes that exist on paper alone; the clock stops when the last one has a node."""

import asyncio
import json
import ssl
import time

import clusters
import rows
import uvloop

NODES = 5000
PODS = 3000
CLIENTS = 32
SPACE = "/api/v1/namespaces/default/pods"


def measure(report: rows.Report) -> None:
    with clusters.running("--no-node") as cluster:
        token = clusters.admin_token(cluster)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            seconds = runner.run(load(cluster.port, token))
        report.add("P5", f"{seconds:.2f} s ({PODS / seconds:,.0f} pods/s)")


async def load(port: int, token: str, nodes: int = NODES, pods: int = PODS) -> float:
    """Seconds from the first create to the last binding seen."""
    clients = [await Client.connect(port, token) for _ in range(CLIENTS)]
    await _each(clients, "/api/v1/nodes", [node(index) for index in range(nodes)])
    run = str(time.time_ns())
    watcher = await Client.connect(port, token)
    bound = asyncio.create_task(watcher.wait_bound(run, pods))
    began = time.monotonic()
    await _each(clients, SPACE, [pod(f"p{run}-{index}", run) for index in range(pods)])
    await bound
    seconds = time.monotonic() - began
    for client in (*clients, watcher):
        client.writer.close()
    return seconds


async def _each(clients: "list[Client]", path: str, objects: list[bytes]) -> None:
    waiting = list(reversed(objects))

    async def work(client: "Client") -> None:
        while waiting:
            await client.create(path, waiting.pop())

    await asyncio.gather(*map(work, clients))


def node(index: int) -> bytes:
    name = f"paper-{index}"
    size = {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"z{index % 3}"}
    status = {"capacity": size, "allocatable": size, "conditions": [ready]}
    return json.dumps({"metadata": {"name": name, "labels": labels}, "status": status}).encode()


def pod(name: str, run: str) -> bytes:
    requests = {"cpu": "100m", "memory": "128Mi"}
    container = {"name": "c", "image": "busybox", "resources": {"requests": requests}}
    return json.dumps(
        {"metadata": {"name": name, "labels": {"run": run}}, "spec": {"containers": [container]}}
    ).encode()


class Client:
    """One connection, one request at a time, as little work as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self.reader = reader
        self.writer = writer
        self._head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"

    @classmethod
    async def connect(cls, port: int, token: str) -> "Client":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20)
        return cls(reader, writer, token)

    async def create(self, path: str, body: bytes) -> None:
        self.writer.write(f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        content = await self.reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b" 201 " not in answer.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"the server answered {answer!r} {content!r}")

    async def wait_bound(self, run: str, count: int) -> None:
        """Until a watch has shown `count` different pods of this run with a node."""
        query = f"watch=true&labelSelector=run%3D{run}"
        self.writer.write(f"GET {SPACE}?{query} HTTP/1.1\r\n{self._head}\r\n".encode())
        bound: set[bytes] = set()
        while len(bound) < count:
            line = await self.reader.readline()
            if not line:
                raise RuntimeError("the watch has ended")
            if b'"nodeName":' in line:
                bound.add(line.partition(b'"name":"')[2].partition(b'"')[0])
