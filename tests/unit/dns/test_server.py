"""The server on real sockets: our names, foreign names forwarded, truncation, and rubbish survived."""

import asyncio
import random
import socket

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.dns import records, server

DOMAIN = "cluster.local"


class View:
    """Every Service exists; `many` has 100 addresses."""

    def service(self, namespace, name):  # type: ignore[no-untyped-def]
        ips = [f"10.43.1.{number}" for number in range(100)] if name == "many" else ["10.43.0.5"]
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ips[0], "clusterIPs": ips}}

    def slices(self, namespace, service):  # type: ignore[no-untyped-def]
        return []

    def has_namespace(self, namespace):  # type: ignore[no-untyped-def]
        return True

    services_at = slices_with = lambda self, address: []


def make(upstreams: list[tuple[str, int]] | None = None) -> server.DnsServer:
    return server.DnsServer(DOMAIN, View(), upstreams or [], random.Random(0))


async def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
    query = dnslib.DNSRecord.question(name, kind)
    sent = await asyncio.to_thread(query.send, "127.0.0.1", port, tcp=tcp, timeout=5)
    answer = dnslib.DNSRecord.parse(sent)
    assert answer.header.id == query.header.id
    return answer


async def serving(dns: server.DnsServer) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    await dns.start("127.0.0.1", port)
    return int(port)


def test_a_service_is_answered_over_udp_and_tcp_with_authority() -> None:
    async def main() -> None:
        dns = make()
        port = await serving(dns)
        for tcp in (False, True):
            answer = await ask(port, "Web.shop.svc.cluster.local", tcp=tcp)
            assert [str(entry.rdata) for entry in answer.rr] == ["10.43.0.5"]
            assert answer.header.aa == 1
        missing = await ask(port, "x.cluster.local")
        assert missing.header.rcode == dnslib.RCODE.NXDOMAIN
        assert missing.auth[0].rtype == dnslib.QTYPE.SOA
        nothing = await ask(port, "web.shop.svc.cluster.local", "AAAA")
        assert (nothing.header.rcode, nothing.rr) == (dnslib.RCODE.NOERROR, [])
        await dns.stop()

    asyncio.run(main())


def test_an_answer_that_does_not_fit_is_marked_and_whole_over_tcp() -> None:
    async def main() -> None:
        dns = make()
        port = await serving(dns)
        assert (await ask(port, "many.shop.svc.cluster.local")).header.tc == 1
        assert len((await ask(port, "many.shop.svc.cluster.local", tcp=True)).rr) == 100
        await dns.stop()

    asyncio.run(main())


def test_other_names_are_forwarded_and_failure_is_said() -> None:
    async def main() -> None:
        inner = make()
        inner_port = await serving(inner)
        outer = server.DnsServer("other.domain", View(), [("127.0.0.1", inner_port)], random.Random(0))
        outer_port = await serving(outer)
        answer = await ask(outer_port, "web.shop.svc.cluster.local")
        assert [str(entry.rdata) for entry in answer.rr] == ["10.43.0.5"]
        await inner.stop()
        failed = await ask(outer_port, "web.shop.svc.cluster.local")
        assert failed.header.rcode == dnslib.RCODE.SERVFAIL
        await outer.stop()

    asyncio.run(main())


class Sink(asyncio.DatagramTransport):
    def sendto(self, data, addr=None):  # type: ignore[no-untyped-def]
        dnslib.DNSRecord.parse(data)


@given(st.binary(max_size=600))
def test_no_datagram_raises(data: bytes) -> None:
    async def main() -> None:
        dns = make()
        dns.on_datagram(data, ("127.0.0.1", 1), Sink())
        await dns.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 1.1.1.1\nnameserver 10.43.0.10\noptions x\n", [("1.1.1.1", 53)]),
        ("nameserver\n# nameserver 8.8.8.8\n", []),
    ],
)
def test_name_servers_of_the_node(tmp_path, text, expected):  # type: ignore[no-untyped-def]
    path = tmp_path / "resolv.conf"
    path.write_text(text)
    assert server.upstreams_of(path, "10.43.0.10") == expected
    assert records.NO_SUCH_NAME.exists is False
