"""The server on real sockets: our names, foreign names forwarded, truncation, and rubbish survived."""

import asyncio
import random
import socket

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.dns import forward, records, server

DOMAIN = "cluster.local"


class View:
    """Every Service exists; `many` has 100 addresses, `all` 500, `few` 3, `wide` 20 and a port, `ports` two ports;
    `out…` and `in` are aliases, `loop` of itself."""

    generation = 0
    is_synced = True
    address = "10.43.0.5"
    aliases = {  # noqa: RUF012
        "out": "web.shop.svc.elsewhere",
        "in": "web.shop.svc.cluster.local",
        "loop": "loop.shop.svc.cluster.local",
        "bad": "a..b",
    }

    def service(self, namespace, name):  # type: ignore[no-untyped-def]
        metadata = {"name": name, "namespace": namespace}
        if name in self.aliases:
            return {"metadata": metadata, "spec": {"type": "ExternalName", "externalName": self.aliases[name]}}
        ips = [
            f"10.43.{number // 256 + 1}.{number % 256}"
            for number in range({"many": 100, "few": 3, "wide": 20, "all": 500}.get(name, 1))
        ]
        ips = ips if len(ips) > 1 else [self.address]
        numbers = {"ports": (80, 90), "wide": (80,)}.get(name, ())
        ports = [{"name": f"p{number}", "port": number, "protocol": "TCP"} for number in numbers]
        return {"metadata": metadata, "spec": {"clusterIP": ips[0], "clusterIPs": ips, "ports": ports}}

    def slices(self, namespace, service):  # type: ignore[no-untyped-def]
        return []

    def has_namespace(self, namespace):  # type: ignore[no-untyped-def]
        return True

    def services_at(self, address):  # type: ignore[no-untyped-def]
        return []

    slices_with = services_at


def make(upstreams: list[tuple[str, int]] | None = None) -> server.DnsServer:
    return server.DnsServer(DOMAIN, View(), upstreams or [], random.Random(0))


async def ask(port: int, name: str, kind: str = "A", *, tcp: bool = False) -> dnslib.DNSRecord:
    query = dnslib.DNSRecord.question(name, kind)
    sent = await asyncio.to_thread(query.send, "127.0.0.1", port, tcp=tcp, timeout=5)
    answer = dnslib.DNSRecord.parse(sent)
    assert answer.header.id == query.header.id
    return answer


async def serving(dns: server.DnsServer) -> int:
    """On a port that is free for datagrams and streams alike; somebody may take it meanwhile: then another one."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, socket.socket() as streams:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            try:
                streams.bind(("127.0.0.1", port))
            except OSError:
                continue
        try:
            await dns.start("127.0.0.1", port)
        except OSError:
            await dns.stop()
            continue
        return port


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
        cut = await ask(port, "many.shop.svc.cluster.local")
        assert cut.header.tc == 1
        assert len(cut.rr) == (512 - 12 - 32) // 16
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


@given(st.binary(max_size=600))
def test_no_datagram_raises_and_what_is_said_can_be_read(data: bytes) -> None:
    async def main() -> None:
        dns = make()
        answer = dns.answer_datagram(data, "10.42.0.2", lambda late: None)
        if answer and len(data) >= 12:
            assert answer[:2] == data[:2]
            dnslib.DNSRecord.parse(answer)
        await dns.stop()

    asyncio.run(main())


def at_once(dns: server.DnsServer, query: dnslib.DNSRecord) -> dnslib.DNSRecord:
    return dnslib.DNSRecord.parse(dns.answer_datagram(bytes(query.pack()), "10.42.0.2", lambda late: None))


def names(labels: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(labels, min_size=1, max_size=3).map(lambda found: ".".join([*found, "svc.cluster.local"]))


@given(names(st.text("aAbBzZ09-_", min_size=1, max_size=63)), st.sampled_from(["A", "AAAA", "SRV", "TXT", "ANY"]))
def test_the_question_comes_back_as_it_was_spelt(name: str, kind: str) -> None:
    """Clients that vary the case of letters against forgery check that."""
    query = dnslib.DNSRecord.question(name, kind)
    answer = at_once(make(), query)
    assert answer.q.qname.label == query.q.qname.label
    assert (answer.q.qtype, answer.header.id, answer.header.rd) == (query.q.qtype, query.header.id, 1)


def test_a_name_that_exists_has_no_aaaa_and_that_is_not_nxdomain() -> None:
    """A resolver that hears NXDOMAIN for AAAA may not ask for A (musl)."""
    dns = make()
    for name in ("web.shop.svc.cluster.local", "cluster.local", "shop.svc.cluster.local"):
        nothing = at_once(dns, dnslib.DNSRecord.question(name, "AAAA"))
        assert (nothing.header.rcode, len(nothing.rr), len(nothing.auth)) == (dnslib.RCODE.NOERROR, 0, 1)
    missing = at_once(dns, dnslib.DNSRecord.question("web.shop.svc.cluster.local.cluster.local", "AAAA"))
    assert missing.header.rcode == dnslib.RCODE.NXDOMAIN


def test_a_change_is_answered_at_once_though_answers_are_kept() -> None:
    view = View()
    dns = server.DnsServer(DOMAIN, view, [], random.Random(0))
    query = dnslib.DNSRecord.question("web.shop.svc.cluster.local")
    assert str(at_once(dns, query).rr[0].rdata) == "10.43.0.5"
    view.address, view.generation = "10.43.0.6", 1
    assert str(at_once(dns, query).rr[0].rdata) == "10.43.0.6"


def test_every_address_comes_first_at_times() -> None:
    dns = make()
    answers = [at_once(dns, dnslib.DNSRecord.question("few.shop.svc.cluster.local")) for _ in range(50)]
    assert {str(answer.rr[0].rdata) for answer in answers} == {"10.43.1.0", "10.43.1.1", "10.43.1.2"}
    assert {len(answer.rr) for answer in answers} == {3}


def test_edns_is_spoken_with_those_who_speak_it() -> None:
    dns = make()
    query = dnslib.DNSRecord.question("many.shop.svc.cluster.local")
    assert not at_once(dns, query).ar
    query.add_ar(dnslib.EDNS0(udp_len=4096))
    answer = at_once(dns, query)
    assert (answer.header.tc, len(answer.rr), answer.ar[0].rtype) == (0, 100, dnslib.QTYPE.OPT)
    later = dnslib.DNSRecord.question("web.shop.svc.cluster.local")
    later.add_ar(dnslib.EDNS0(version=1))
    refused = at_once(dns, later)
    assert not refused.rr
    assert refused.ar[0].ttl >> 24 == 1  # BADVERS


@pytest.mark.parametrize(("said", "most"), [(0, 512), (100, 512), (1232, 1232), (4096, 4096), (65535, 4096)])
def test_an_answer_is_as_long_as_the_client_says_within_bounds(said: int, most: int) -> None:
    query = dnslib.DNSRecord.question("all.shop.svc.cluster.local")
    query.add_ar(dnslib.EDNS0(udp_len=said))
    data = make().answer_datagram(bytes(query.pack()), "10.42.0.2", lambda late: None)
    answer = dnslib.DNSRecord.parse(data)
    assert most - 16 < len(data) <= most
    assert (answer.header.tc, answer.ar[0].rtype) == (1, dnslib.QTYPE.OPT)


def test_an_alias_inside_the_cluster_is_followed() -> None:
    answer = at_once(make(), dnslib.DNSRecord.question("in.shop.svc.cluster.local"))
    assert [(entry.rtype, str(entry.rdata)) for entry in answer.rr] == [
        (dnslib.QTYPE.CNAME, "web.shop.svc.cluster.local."),
        (dnslib.QTYPE.A, "10.43.0.5"),
    ]
    assert str(answer.rr[1].rname) == "web.shop.svc.cluster.local."


def test_an_alias_of_itself_ends_and_one_that_is_no_name_fails() -> None:
    dns = make()
    assert len(at_once(dns, dnslib.DNSRecord.question("loop.shop.svc.cluster.local")).rr) < 20
    bad = at_once(dns, dnslib.DNSRecord.question("bad.shop.svc.cluster.local"))
    assert bad.header.rcode == dnslib.RCODE.SERVFAIL


def test_an_alias_outside_is_followed_through_the_node_s_name_servers() -> None:
    """glibc and musl do not follow a CNAME by themselves."""

    async def main() -> None:
        outside = server.DnsServer("elsewhere", View(), [], random.Random(0))
        dns = make([("127.0.0.1", await serving(outside))])
        port = await serving(dns)
        for tcp in (False, True):
            answer = await ask(port, "out.shop.svc.cluster.local", tcp=tcp)
            assert [str(entry.rdata) for entry in answer.rr] == ["web.shop.svc.elsewhere.", "10.43.0.5"]
        only = await ask(port, "out.shop.svc.cluster.local", "CNAME")
        assert [str(entry.rdata) for entry in only.rr] == ["web.shop.svc.elsewhere."]
        await outside.stop()
        # Who cannot be asked does not make the name one that is not there.
        gone = await ask(port, "out.shop.svc.cluster.local")
        assert gone.header.rcode == dnslib.RCODE.NOERROR
        assert [str(entry.rdata) for entry in gone.rr] == ["web.shop.svc.elsewhere."]
        await dns.stop()

    asyncio.run(main())


def test_a_stream_carries_several_questions_and_rubbish_ends_it() -> None:
    async def main() -> None:
        dns = make()
        reader, writer = await asyncio.open_connection("127.0.0.1", await serving(dns))
        for name in ("web.shop.svc.cluster.local", "few.shop.svc.cluster.local"):
            data = bytes(dnslib.DNSRecord.question(name).pack())
            writer.write(len(data).to_bytes(2, "big") + data)
        for count in (1, 3):
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert len(dnslib.DNSRecord.parse(await reader.readexactly(length)).rr) == count
        writer.write(b"\0\3abc")
        assert await reader.read() == b""
        writer.close()
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


def test_a_silent_name_server_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "SECONDS", 0.05)

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            inner = server.DnsServer("elsewhere", View(), [], random.Random(0))
            dns = make([silent.getsockname(), ("127.0.0.1", await serving(inner))])
            answer = await ask(await serving(dns), "web.shop.svc.elsewhere")
            assert [str(entry.rdata) for entry in answer.rr] == ["10.43.0.5"]
            await dns.stop()
            await inner.stop()

    asyncio.run(main())


def test_more_questions_for_others_than_can_wait_fail_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_FORWARDS", 2)

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            dns = make([silent.getsockname()])
            query = bytes(dnslib.DNSRecord.question("example.org").pack())
            said = [dns.answer_datagram(query, "10.42.0.2", lambda late: None) for _ in range(3)]
            assert said[:2] == [b"", b""]
            assert dnslib.DNSRecord.parse(said[2]).header.rcode == dnslib.RCODE.SERVFAIL
            await dns.stop()

    asyncio.run(main())


def test_silent_streams_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STREAM_IDLE_SECONDS", 0.2)

    async def main() -> None:
        dns = make()
        reader, writer = await asyncio.open_connection("127.0.0.1", await serving(dns))
        assert await reader.read() == b""
        writer.close()
        await dns.stop()

    asyncio.run(main())


def test_before_the_cluster_is_known_no_name_is_denied() -> None:
    view = View()
    view.is_synced = False
    dns = server.DnsServer(DOMAIN, view, [], random.Random(0))
    assert at_once(dns, dnslib.DNSRecord.question("x.cluster.local")).header.rcode == dnslib.RCODE.SERVFAIL
    assert at_once(dns, dnslib.DNSRecord.question("web.shop.svc.cluster.local")).header.rcode == dnslib.RCODE.NOERROR


def test_srv_of_the_bare_name_carries_ports_and_addresses() -> None:
    """What peer finders of databases ask: LookupSRV("", "", name)."""
    answer = at_once(make(), dnslib.DNSRecord.question("ports.shop.svc.cluster.local", "SRV"))
    assert sorted(str(entry.rdata) for entry in answer.rr) == [
        "0 50 80 ports.shop.svc.cluster.local.",
        "0 50 90 ports.shop.svc.cluster.local.",
    ]
    assert [(str(entry.rname), str(entry.rdata)) for entry in answer.ar] == [
        ("ports.shop.svc.cluster.local.", "10.43.0.5")
    ]


def test_addresses_beside_an_answer_are_left_out_where_they_do_not_fit_and_that_is_no_cut() -> None:
    answer = at_once(make(), dnslib.DNSRecord.question("wide.shop.svc.cluster.local", "SRV"))
    assert (answer.header.tc, len(answer.rr)) == (0, 1)
    assert 0 < len(answer.ar) < 20


@pytest.mark.parametrize(
    ("name", "kind", "code", "shown"),
    [
        ("dns-version.cluster.local", "TXT", "NOERROR", ['"1.1.0"']),
        ("dns-version.cluster.local", "A", "NOERROR", []),
        ("cluster.local", "NS", "NOERROR", ["ns.dns.cluster.local."]),
        ("ns.dns.cluster.local", "A", "NOERROR", ["10.43.0.5"]),
        ("cluster.local", "A", "NOERROR", []),
        ("cluster.local", "AXFR", "REFUSED", []),
        ("out.shop.svc.cluster.local", "CNAME", "NOERROR", ["web.shop.svc.elsewhere."]),
        ("out.shop.svc.cluster.local", "SRV", "NOERROR", []),
        ("web.shop.svc.cluster.local", "TXT", "NOERROR", []),
        ("web.shop.svc.cluster.local", "SRV", "NOERROR", []),
    ],
)
def test_what_the_zone_says(name: str, kind: str, code: str, shown: list[str]) -> None:
    answer = at_once(make(), dnslib.DNSRecord.question(name, kind))
    assert (dnslib.RCODE.get(answer.header.rcode), [str(entry.rdata) for entry in answer.rr]) == (code, shown)


def test_the_zone_has_a_start_of_authority() -> None:
    answer = at_once(make(), dnslib.DNSRecord.question("cluster.local", "SOA"))
    assert [entry.rtype for entry in answer.rr] == [dnslib.QTYPE.SOA]


def test_questions_and_answers_are_counted() -> None:
    dns = make()
    for name, kind in (("web.shop.svc.cluster.local", "A"), ("x.cluster.local", "TYPE1234")):
        at_once(dns, dnslib.DNSRecord(q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, kind, 1234))))
    text = dns.expose().decode()
    assert (
        'coredns_dns_requests_total{server="dns://:53",zone="cluster.local.",family="1",proto="udp",type="A"} 1' in text
    )
    assert 'type="other"} 1' in text
    assert 'rcode="NXDOMAIN"} 1' in text
