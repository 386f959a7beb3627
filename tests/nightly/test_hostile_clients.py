"""The live server against hostile and greedy clients: nothing uncaught, memory bounded, everybody else is served (G15)."""

# ruff: noqa: E501

import asyncio
import os
import pathlib
import random
import ssl
import time
from collections.abc import Callable

import pytest

from pinnace.api import resources
from pinnace.client import kubeconfig
from pinnace.testing import cluster as clusters
from pinnace.testing import faults

pytestmark = [pytest.mark.nightly, pytest.mark.cluster, pytest.mark.timeout(7200)]

REQUESTS = int(os.environ.get("PINNACE_FUZZ", "1500"))
SEED = int(os.environ.get("PINNACE_SEED", "1"))
MEMORY_LIMIT = 192 << 20
"""How much the server may grow while 64 connections at a time send what they like."""
AT_ONCE = 16

SERVED = {
    "pods": "/api/v1", "configmaps": "/api/v1", "services": "/api/v1", "secrets": "/api/v1", "deployments": "/apis/apps/v1", "jobs": "/apis/batch/v1",
    "roles": "/apis/rbac.authorization.k8s.io/v1", "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "validatingadmissionpolicies": "/apis/admissionregistration.k8s.io/v1", "networkpolicies": "/apis/networking.k8s.io/v1", "x": "/api/v1",
}  # fmt: skip
BASES = (
    "/api/v1",
    "/apis/apps/v1",
    "/apis/batch/v1",
    "/apis/rbac.authorization.k8s.io/v1",
    "/apis/apiextensions.k8s.io/v1",
    "/apis/x/v9",
)
SUBS = (
    "",
    "/status",
    "/scale",
    "/log",
    "/exec",
    "/attach",
    "/portforward",
    "/proxy/..//%2e%2e/x",
    "/eviction",
    "/binding",
    "/token",
    "/nope",
)
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "get", "B\x00D", "A" * 300)
TYPES = (
    "application/json", "application/yaml", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf", "text/html", "\xff", "",
    "application/json; charset=\x01", "application/cbor",
)  # fmt: skip
QUERIES = (
    "", "?watch=1&resourceVersion=abc", "?limit=-1", "?limit=99999999999999999999", "?continue=%00", "?labelSelector=%21%21,in(", "?fieldSelector=a",
    "?timeoutSeconds=-5", "?timeoutSeconds=1e9", "?dryRun=no", "?fieldManager=" + "x" * 200, "?" + "&".join(f"a{n}=b" for n in range(900)),
    "?resourceVersion=99999999999999", "?resourceVersionMatch=Exact", "?pretty=true", "?command=a&command=b&stdin=1", "?gracePeriodSeconds=x",
    "?propagationPolicy=Never", "?fieldValidation=Strict&force=true&fieldManager=a", "?%ff%fe=%c0%80", "?sendInitialEvents=true&watch=true&timeoutSeconds=1",
)  # fmt: skip


def deep(depth: int) -> bytes:
    return b'{"metadata":{"name":"d"},"data":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"


def bodies(rng: random.Random) -> bytes:
    odd = [
        b"", b"null", b"[]", b"0", b'"x"', b"{", b"\x00" * 50, b"\xff\xfe", b"k8s\x00", b"k8s\x00" + rng.randbytes(300), b"{}",
        deep(50), deep(20_000), b"[" * 100_000, b"a: &a [*a]", b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]", b"- !!python/object:os.system x",
        b'{"metadata":{"name":"big"},"data":{"a":"' + b"x" * (4 << 20) + b'"}}',
        b'{"metadata":{"name":"n","labels":' + b"[" + b"1," * 1000 + b"1]}}",
        b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"name":"a","image":1e400}]}}',
        b'{"metadata":{"name":"a","name":"b"},"data":{"\\ud800":"x"}}', b'{"metadata":{"generateName":"' + b"g" * 5000 + b'"}}',
        b'[{"op":"add","path":"/metadata/labels/a","value":1}]', b'[{"op":"copy","from":"/metadata","path":"/metadata/annotations/x"}]' * 1,
        b'[{"op":"test","path":"/' + b"~1" * 3000 + b'","value":null}]', b'{"spec":{"$patch":"replace","$retainKeys":[1],"replicas":-1}}',
        b'{"metadata":{"name":"f","finalizers":["a/b"],"ownerReferences":[{}],"managedFields":[{"fieldsV1":{"f:x":{"k:{":{}}}}]}}',
        b'{"spec":{"replicas":9223372036854775808,"selector":{"matchLabels":null},"template":{"spec":{"containers":null}}}}',
    ]  # fmt: skip
    body = rng.choice(odd)
    if rng.random() < 0.3 and body:
        mutable = bytearray(body[:4096])
        for _ in range(rng.randrange(1, 8)):
            mutable[rng.randrange(len(mutable))] = rng.randrange(256)
        body = bytes(mutable)
    return body


def request(rng: random.Random) -> bytes:
    namespace = rng.choice(("", *["/namespaces/default"] * 8, "/namespaces/%2e%2e", "/namespaces/" + "n" * 300))
    name = rng.choice(
        ("", "", "", "/a", "/d", "/f", "/big", "/kubernetes", "/" + "b" * 260, "/%00", "/..", "/a%2Fb", "/\u00e9")
    )
    plural, base = rng.choice(list(SERVED.items()))
    if rng.random() < 0.05:
        base = rng.choice(BASES)
    path = (
        base
        + namespace
        + "/"
        + plural
        + name
        + rng.choice(SUBS if rng.random() < 0.3 else SUBS[:1])
        + rng.choice(QUERIES if rng.random() < 0.3 else QUERIES[:1])
    )
    if rng.random() < 0.03:
        path = rng.choice(
            ("*", "http://[::1", "//", "/" + "%" * 50, "/openapi/v3/x", "/" + "a/" * 3000, "/version?\r\nx: y")
        )
    body = bodies(rng)
    # Mostly what passes as HTTP: the oddities of the protocol alone would hide what lies behind it.
    verb = rng.choice(VERBS if rng.random() < 0.05 else VERBS[:5])
    kind = rng.choice(TYPES if rng.random() < 0.2 else TYPES[2:5] if verb == "PATCH" else TYPES[:2])
    lines = [f"{verb} {path} HTTP/1.1", "host: x", f"content-type: {kind}"]
    match rng.randrange(40):
        case 0:
            lines += ["transfer-encoding: chunked"]
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if rng.random() < 0.7 else b"zz\r\n"
        case 1:
            lines += [f"content-length: {len(body)}", "transfer-encoding: chunked"]
        case 2:
            lines += ["content-length: -1"]
        case 3:
            lines += [f"content-length: {len(body)}", "content-encoding: gzip", "accept-encoding: gzip"]
        case _:
            lines += [f"content-length: {len(body)}"]
    odd = ("accept: application/json;as=Table;g=meta.k8s.io;v=v9", "accept: */*;q=x", "upgrade: websocket\r\nconnection: upgrade", "expect: 100-continue",
           "upgrade: SPDY/3.1\r\nconnection: upgrade", "impersonate-user: ", "impersonate-extra-%zz: a", "x" * 9000 + ": y", "cookie: " + "c" * 70_000,
           "authorization: Bearer " + "a" * 9000, "authorization: Basic !!", "if-none-match: \x7f", "accept: application/vnd.kubernetes.protobuf;stream=watch")  # fmt: skip
    lines += rng.sample(odd, rng.randrange(3) if rng.random() < 0.1 else 0)
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def memory(pid: int) -> int:
    """Bytes resident."""
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


async def throw(port: int, context: ssl.SSLContext, data: bytes) -> bytes:
    """Send, and read the beginning of whatever comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(data)
        async with asyncio.timeout(20):
            return await reader.read(4096)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.transport.abort()


async def modest(target: faults.Target, stop: Callable[[], bool], api_seconds: list[float]) -> None:
    """Somebody who asks a little, with a name of their own."""
    api = target.api()
    while not stop():
        begun = time.monotonic()
        await api.get(resources.NAMESPACES, None, "default")
        api_seconds.append(time.monotonic() - begun)
        await asyncio.sleep(0.05)
    await api.close()


def test_what_no_client_should_send(control_plane: clusters.Cluster) -> None:
    target = faults.Target(control_plane)
    pid = target.pid("server")
    rng = random.Random(SEED)
    answers: dict[str, int] = {}

    async def main() -> list[float]:
        seconds: list[float] = []
        done = False
        other = asyncio.create_task(modest(target, lambda: done, seconds))
        places = asyncio.Semaphore(AT_ONCE)

        async def one(data: bytes) -> None:
            async with places:
                try:
                    answer = await throw(target.settings.port, target.context, data)
                except TimeoutError:
                    # Only a watch, or a body that never ends, may keep the connection silent.
                    answer = b"HTTP/1.1 silent"
            status = answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "none"
            answers[status] = answers.get(status, 0) + 1
            assert status != "500", (data[:600], answer)

        for _ in range(0, REQUESTS, 200):
            await asyncio.gather(*(one(request(rng)) for _ in range(min(200, REQUESTS))))
        done = True
        await other
        return seconds

    before = memory(pid)
    seconds = asyncio.run(main())
    grown = memory(pid) - before
    print(f"\n{REQUESTS} requests: {answers}; {grown >> 20} MiB more; others: {faults.quantiles(seconds)}")
    log = target.log("server")
    assert "Traceback" not in log, log[log.index("Traceback") - 500 :][:4000]
    assert target.pid("server") == pid
    assert grown < MEMORY_LIMIT
    assert sorted(seconds)[len(seconds) * 9 // 10] < 2.0


def test_slow_senders_hold_up_nobody(control_plane: clusters.Cluster) -> None:
    """Hundreds of connections that never finish their handshake, their head or their body."""
    target = faults.Target(control_plane)
    count = int(os.environ.get("PINNACE_SLOW", "200"))

    async def main() -> list[float]:
        writers = []
        heads = (
            b"GET / HT",
            b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{",
        )
        for number in range(count):
            tls = target.context if number % 3 else None
            _, writer = await asyncio.open_connection("127.0.0.1", target.settings.port, ssl=tls)
            writer.write(heads[number % 2] if tls else b"\x16\x03\x01")
            writers.append(writer)
        seconds: list[float] = []
        await modest(target, lambda: len(seconds) >= 40, seconds)
        for writer in writers:
            writer.transport.abort()
        return seconds

    seconds = asyncio.run(main())
    print(f"\n{count} slow senders; others: {faults.quantiles(seconds)}")
    assert sorted(seconds)[len(seconds) * 9 // 10] < 1.0
    assert "Traceback" not in target.log("server")


def test_one_greedy_client_starves_nobody(control_plane: clusters.Cluster) -> None:
    """Thousands of requests of one account at once; another waits little, and the greedy one is told to wait at worst."""
    target = faults.Target(control_plane)
    count = int(os.environ.get("PINNACE_GREEDY", "2000"))

    async def main() -> list[float]:
        api = target.api()
        await api.create(resources.SERVICE_ACCOUNTS, "default", {"metadata": {"name": "greedy"}})
        asked = await api.create(resources.SERVICE_ACCOUNTS, "default", {}, name="greedy", subresource="token")
        subject = {"kind": "ServiceAccount", "name": "greedy", "namespace": "default"}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
        await api.create(
            resources.CLUSTER_ROLE_BINDINGS,
            None,
            {"metadata": {"name": "greedy"}, "roleRef": ref, "subjects": [subject]},
        )
        for number in range(100):
            body = {"metadata": {"name": f"c{number}"}, "data": {"a": "x" * 10_000}}
            await api.create(resources.CONFIG_MAPS, "default", body)
        context = kubeconfig.client_context((target.where.pki / "ca.crt").read_bytes())
        head = f"GET /api/v1/configmaps HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {asked['status']['token']}\r\n\r\n"
        connections = [await asyncio.open_connection("127.0.0.1", target.settings.port, ssl=context) for _ in range(50)]

        async def drain(reader: asyncio.StreamReader) -> None:
            while await reader.read(1 << 18):
                pass

        readers = [asyncio.create_task(drain(reader)) for reader, _ in connections]
        for number in range(count):
            connections[number % 50][1].write(head.encode())
        seconds: list[float] = []
        await modest(target, lambda: len(seconds) >= 60, seconds)
        for _, writer in connections:
            writer.transport.abort()
        await asyncio.gather(*readers, return_exceptions=True)
        await api.close()
        return seconds

    seconds = asyncio.run(main())
    print(f"\n{count} lists by one account; another's reads: {faults.quantiles(seconds)}")
    assert sorted(seconds)[len(seconds) * 9 // 10] < 1.0
    assert "Traceback" not in target.log("server")
