"""A client that holds connections or questions without end keeps nobody else from an answer."""

import asyncio
import random
import socket

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.dns import answers, records, server, streams


class Nothing:
    generation = 0
    is_synced = True

    def service(self, namespace: str, name: str) -> records.Object | None:
        return None

    def slices(self, namespace: str, service: str) -> list[records.Object]:
        return []

    def has_namespace(self, namespace: str) -> bool:
        return True

    def services_at(self, address: str) -> list[records.Object]:
        return []

    slices_with = services_at


async def ask_over_tcp(port: int, source: str) -> dnslib.DNSRecord:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    data = bytes(dnslib.DNSRecord.question("shop.svc.cluster.local").pack())
    writer.write(len(data).to_bytes(2, "big") + data)
    length = int.from_bytes(await reader.readexactly(2), "big")
    found = dnslib.DNSRecord.parse(await reader.readexactly(length))
    writer.close()
    return found


def test_half_sent_questions_over_tcp_lock_nobody_out() -> None:
    """300 of one client, and as many of each of ten more: others, and the attackers themselves, are answered."""

    async def main() -> None:
        dns = server.DnsServer("cluster.local", Nothing(), [], random.Random(0))
        await dns.start("127.0.0.1", 0)
        assert dns._tcp is not None
        port = dns._tcp.sockets[0].getsockname()[1]
        held = []
        for attacker in ["127.0.0.2"] * 300 + [f"127.0.1.{number % 10 + 1}" for number in range(300)]:
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(attacker, 0))
            writer.write(b"\0\x20half")
            held.append(writer)
        for source in ("127.0.0.3", "127.0.0.2"):
            assert (await ask_over_tcp(port, source)).header.rcode == dnslib.RCODE.NOERROR
        for writer in held:
            writer.transport.abort()
        await dns.stop()

    asyncio.run(main())


def test_questions_for_slow_servers_lock_nobody_out() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            dns = server.DnsServer("cluster.local", Nothing(), [silent.getsockname()], random.Random(0))
            query = bytes(dnslib.DNSRecord.question("example.org").pack())
            said = [dns.answer_datagram(query, "10.42.0.2", lambda late: None) for _ in range(server.MAX_FORWARDS)]
            assert dnslib.DNSRecord.parse(said[-1]).header.rcode == dnslib.RCODE.SERVFAIL
            assert dns.answer_datagram(query, "10.42.0.3", lambda late: None) == b""
            await dns.stop()

    asyncio.run(main())


def test_ever_new_names_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_CACHED_BYTES", 1 << 16)
    dns = server.DnsServer("cluster.local", Nothing(), [], random.Random(0))
    for number in range(1000):
        name = f"{number}.{'x' * 60}.{'y' * 60}.{'z' * 60}.svc.cluster.local"
        dns.answer_datagram(bytes(dnslib.DNSRecord.question(name).pack()), "10.42.0.2", lambda late: None)
        assert dns._answers._cached_bytes <= answers.MAX_CACHED_BYTES


steps = st.lists(
    st.tuples(st.sampled_from(["enter", "busy", "idle", "leave"]), st.integers(0, 30), st.sampled_from("abc"))
)


@given(steps)
def test_places_are_bounded_and_go_from_the_idle(series: list[tuple[str, int, str]]) -> None:
    places: streams.Places[int] = streams.Places(6, 3)
    inside: dict[int, str] = {}
    busy: set[int] = set()
    for step, stream, address in series:
        if step == "enter" and stream not in inside:
            is_in, going = places.enter(stream, address)
            if going is not None:
                assert is_in
                assert going not in busy
                del inside[going]
            if is_in:
                inside[stream] = address
        elif step in ("busy", "idle") and stream in inside:
            places.set_idle(stream, is_idle=step == "idle")
            (busy.add if step == "busy" else busy.discard)(stream)
        elif step == "leave":
            places.leave(stream)
            inside.pop(stream, None)
            busy.discard(stream)
        assert len(inside) <= 6
        assert all(list(inside.values()).count(one) <= 3 for one in "abc")
