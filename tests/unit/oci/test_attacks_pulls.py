"""Image names and registries that want to know what the node sees: nothing of the node itself is asked, and nothing foreign is quoted."""

import asyncio
import json
import os
import pathlib

import pytest
from tests.unit.oci import registry_bench

from pinnace.oci import configuration, pull, reach, registries
from pinnace.oci import registry_errors as errors
from pinnace.testing import images as archives
from pinnace.web import client as http_client
from pinnace.web import messages, server

TOP = archives.layer({"etc/top": archives.File(b"top")})
SECRET = b"<html>the node's own secret</html>"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1", "0.0.0.0", "0.1.2.3", "::", "169.254.169.254", "fe80::1",
     "fe80::1%eth0", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "224.0.0.1", "localhost", "a.localhost", "LOCALHOST."],
)  # fmt: skip
def test_the_nodes_own_addresses_are_out_of_reach(address: str) -> None:
    assert reach.is_own(address)
    assert not reach.PUBLIC.permits("name.example", 443, address)
    assert reach.EVERYWHERE.permits("name.example", 443, address)
    assert reach.Reach(hosts=frozenset({"name.example:443"})).permits("name.example", 443, address)
    assert not reach.Reach(hosts=frozenset({"name.example:443"})).permits("name.example", 80, address)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.1.1", "8.8.8.8", "2001:db8::1", "registry.example", "fd00::1"]
)
def test_others_are_not(address: str) -> None:
    assert reach.PUBLIC.permits(address, 443, address)


def run_attack(tmp_path: pathlib.Path, name: str, match: str, *, answers: bytes = SECRET) -> None:
    """A pod's image `name` (PORT replaced) fails with `match`, its server sees no request, and nothing of its answer is told."""
    seen: list[str] = []

    async def handle(request: messages.Request) -> messages.Answer:
        seen.append(request.path)
        return messages.Response(400, body=answers)

    async def main() -> None:
        listener = server.HttpServer(handle)
        port = await listener.start("127.0.0.1", 0)
        client = registry_bench.Client(tmp_path / "store", registries.Registries())
        try:
            with pytest.raises(pull.PullError, match=match) as caught:
                await client.pull(name.replace("PORT", str(port)), by_owner=False)
            assert caught.value.is_permanent
            assert "secret" not in str(caught.value)
            assert seen == []
        finally:
            await client.carrier.close()
            await listener.stop(0)

    asyncio.run(main())


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1:PORT/a/b:1",
        "localhost:PORT/a/b:1",
        "[::ffff:7f00:1]:PORT/a:1",
        "127.1:PORT/a:1",
        "0.0.0.0:PORT/a:1",
    ],
)
def test_a_pods_image_does_not_make_the_node_ask_itself(tmp_path: pathlib.Path, name: str) -> None:
    run_attack(tmp_path, name, "address of the node itself or of its link.*registries.yaml names")


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners and makes devices")
def test_what_registries_yaml_names_is_asked(tmp_path: pathlib.Path) -> None:
    async def test(there: registry_bench.Registry, client: registry_bench.Client, host: str) -> None:
        there.add("a/b:1", [TOP])
        await client.pull(f"{host}/a/b:1", by_owner=False)

    registry_bench.run(
        tmp_path,
        test,
        lambda port: registries.parse_registries(f"mirrors: {{'127.0.0.1:{port}': {{}}}}".encode(), "x"),
    )


@pytest.mark.parametrize("way", ["redirect", "realm"])
def test_a_registry_does_not_lead_the_node_to_itself(tmp_path: pathlib.Path, way: str) -> None:
    """Neither by a redirect nor by the place where it says that tokens are to be had."""
    seen: list[str] = []

    async def inner(request: messages.Request) -> messages.Answer:
        seen.append(request.path)
        return messages.Response(200, body=b'{"token": "T"}')

    async def main() -> None:
        victim = server.HttpServer(inner)
        port = await victim.start("127.0.0.1", 0)
        goal = f"http://127.0.0.1:{port}/secret"

        async def outer(_request: messages.Request) -> messages.Answer:
            if way == "redirect":
                return messages.Response(307, [("Location", goal)])
            return messages.Response(401, [("WWW-Authenticate", f'Bearer realm="{goal}",service="s"')])

        listener = server.HttpServer(outer)
        outer_port = await listener.start("127.0.0.1", 0)
        settings = registries.parse_registries(f"mirrors: {{'127.0.0.1:{outer_port}': {{}}}}".encode(), "x")
        client = registry_bench.Client(tmp_path / "store", settings)
        try:
            with pytest.raises(pull.PullError, match="address of the node itself"):
                await client.pull(f"127.0.0.1:{outer_port}/a:1", by_owner=False)
            assert seen == []
        finally:
            await client.carrier.close()
            await listener.stop(0)
            await victim.stop(0)

    asyncio.run(main())


def test_a_name_that_is_looked_up_to_loopback_is_refused_before_anything_is_sent() -> None:
    """The address decides, not the name; and of a name with a good and a bad address neither is used."""

    async def main() -> None:
        client = http_client.HttpClient(settings=http_client.Settings(permits=reach.PUBLIC.permits))
        loop = asyncio.get_running_loop()

        async def lookup(_host: str, port: int, **_options: object) -> list[object]:
            return [(2, 1, 6, "", ("192.0.2.1", port)), (2, 1, 6, "", ("127.0.0.1", port))]

        loop.getaddrinfo = lookup  # type: ignore[assignment, method-assign]
        with pytest.raises(http_client.Forbidden, match=r"connections to 127\.0\.0\.1 are not permitted"):
            await client.request("GET", "http://registry.example/")
        await client.close()

    asyncio.run(main())


class Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.headers, self._body = status, {}, body

    async def read(self, _limit: int) -> bytes:
        return self._body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (SECRET, "bad request"),
        (b'{"password": "secret"}', "bad request"),
        (b'{"errors": []}', "bad request"),
        (b'{"errors": [{"code": "NAME_INVALID", "detail": "secret"}]}', "NAME_INVALID"),
        (b'{"errors": [{"message": {"a": "secret"}}]}', "bad request"),
        (b"[" * 60_000, "bad request"),
        (json.dumps({"errors": [{"message": "a\x1b[31m\r\n\u202eb"}]}).encode(), "a [31m b"),
        (json.dumps({"errors": [{"message": "x" * 5000}]}).encode(), "x" * errors.MAXIMUM_QUOTE + "…"),
    ],
)
def test_only_a_registrys_own_words_are_told(body: bytes, told: str) -> None:
    async def main() -> str:
        return await errors.complaint(Answer(400, body))  # type: ignore[arg-type]

    assert asyncio.run(main()) == told


def test_documents_do_not_make_the_message_long() -> None:
    entries = [
        {"digest": "sha256:" + "0" * 64, "size": 1, "platform": {"os": "x" * 1000, "architecture": "y" * 1000}}
    ] * 500
    with pytest.raises(configuration.ConfigurationError) as caught:
        configuration.select_manifest({"manifests": entries}, "amd64")
    assert len(str(caught.value)) < 2000
    with pytest.raises(configuration.ConfigurationError) as caught:
        configuration.parse_configuration(json.dumps({"os": "z" * 100_000}).encode())
    assert len(str(caught.value)) < 200
    huge = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64, "size": 10**100}, "layers": []}
    with pytest.raises(configuration.ConfigurationError, match="impossible size"):
        configuration.parse_manifest(json.dumps(huge).encode())
