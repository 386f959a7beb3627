"""The cluster's DNS server: UDP and TCP on one address, answers from informers, everything else forwarded.

Forwarded queries go to the name servers of the node, the first that answers within two seconds, at most 1,000 at a time.
"""

import asyncio
import logging
import pathlib
import random
from collections.abc import Sequence
from typing import cast

import dnslib

from pinnace.dns import records

log = logging.getLogger(__name__)

TTL_SECONDS = 5
"""Short, since clients that cache names themselves should notice a change soon (upstream's CoreDNS plug-in says 5 too)."""
FORWARD_SECONDS = 2.0
MAX_FORWARDS = 1000
MAX_UDP_BYTES = 512
"""Of an answer to a client that does not say more by EDNS."""


class DnsServer:
    def __init__(
        self, domain: str, view: records.View, upstreams: Sequence[tuple[str, int]], rng: random.Random
    ) -> None:
        self._domain = domain
        self._view = view
        self._upstreams = tuple(upstreams)
        self._rng = rng
        self._forwards = asyncio.Semaphore(MAX_FORWARDS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transports: list[asyncio.DatagramTransport] = []
        self._tcp: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))
        self._transports.append(transport)
        self._tcp = await asyncio.start_server(self._serve_stream, host, port)

    async def stop(self) -> None:
        for transport in self._transports:
            transport.close()
        if self._tcp is not None:
            self._tcp.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_datagram(self, data: bytes, address: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        try:
            query = dnslib.DNSRecord.parse(data)
        except (dnslib.DNSError, IndexError, ValueError):
            return
        local = self.answer(query)
        if local is not None:
            transport.sendto(_fit(local, _udp_limit(query)), address)
            return

        async def forward() -> None:
            transport.sendto(await self._forward(data, query), address)

        task = asyncio.get_running_loop().create_task(forward())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def answer(self, query: dnslib.DNSRecord) -> dnslib.DNSRecord | None:
        """For a name of ours; None: to be forwarded."""
        if query.header.opcode != 0 or len(query.questions) != 1:
            reply = query.reply()
            reply.header.rcode = dnslib.RCODE.NOTIMP
            return reply
        question = query.q
        name = str(question.qname).rstrip(".").lower()
        if question.qtype == dnslib.QTYPE.PTR and name.endswith(".in-addr.arpa"):
            found = records.resolve_pointer(name, self._domain, self._view)
        else:
            found = records.resolve(name, self._domain, self._view)
        return None if found is None else self._reply(query, found)

    def _reply(self, query: dnslib.DNSRecord, found: records.Answer) -> dnslib.DNSRecord:
        reply = query.reply(aa=True, ra=1)
        name, kind = query.q.qname, query.q.qtype
        any_type = kind == dnslib.QTYPE.ANY
        addresses = list(found.addresses)
        self._rng.shuffle(addresses)
        if kind == dnslib.QTYPE.A or any_type:
            for address in addresses:
                reply.add_answer(dnslib.RR(name, dnslib.QTYPE.A, ttl=TTL_SECONDS, rdata=dnslib.A(address)))
        if kind == dnslib.QTYPE.SRV or any_type:
            for entry in found.services:
                data = dnslib.SRV(0, 100, entry.port, entry.target)
                reply.add_answer(dnslib.RR(name, dnslib.QTYPE.SRV, ttl=TTL_SECONDS, rdata=data))
        if found.canonical_name:
            data = dnslib.CNAME(found.canonical_name)
            reply.add_answer(dnslib.RR(name, dnslib.QTYPE.CNAME, ttl=TTL_SECONDS, rdata=data))
        if found.pointer and (kind == dnslib.QTYPE.PTR or any_type):
            reply.add_answer(dnslib.RR(name, dnslib.QTYPE.PTR, ttl=TTL_SECONDS, rdata=dnslib.PTR(found.pointer)))
        if not found.exists:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        if not reply.rr:
            reply.add_auth(self._authority())
        return reply

    def _authority(self) -> dnslib.RR:
        """For negative answers: how long they may be kept (RFC 2308)."""
        data = dnslib.SOA(f"ns.dns.{self._domain}", f"hostmaster.{self._domain}", (1, 7200, 1800, 86400, TTL_SECONDS))
        return dnslib.RR(self._domain, dnslib.QTYPE.SOA, ttl=TTL_SECONDS, rdata=data)

    async def _forward(self, data: bytes, query: dnslib.DNSRecord, *, stream: bool = False) -> bytes:
        async with self._forwards:
            for upstream in self._upstreams:
                try:
                    ask = _ask_stream if stream else _ask_datagram
                    return await asyncio.wait_for(ask(data, upstream), FORWARD_SECONDS)
                except (TimeoutError, OSError):
                    continue
        reply = query.reply()
        reply.header.rcode = dnslib.RCODE.SERVFAIL
        return bytes(reply.pack())

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(2), "big")
                data = await reader.readexactly(length)
                query = dnslib.DNSRecord.parse(data)
                local = self.answer(query)
                answer = bytes(local.pack()) if local is not None else await self._forward(data, query, stream=True)
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, dnslib.DNSError, IndexError, ValueError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loops' own transports do not derive from the abstract class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._server.on_datagram(data, addr, self._transport)


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, identity: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._identity = identity

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._identity and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_datagram(data: bytes, upstream: tuple[str, int]) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: _OneAnswer(data[:2]), remote_addr=upstream)
    try:
        transport.sendto(data)
        return await protocol.answer
    finally:
        transport.close()


async def _ask_stream(data: bytes, upstream: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()


def _udp_limit(query: dnslib.DNSRecord) -> int:
    for entry in query.ar:
        if entry.rtype == dnslib.QTYPE.OPT:
            return max(MAX_UDP_BYTES, int(entry.rclass))
    return MAX_UDP_BYTES


def _fit(reply: dnslib.DNSRecord, limit: int) -> bytes:
    """Packed; emptied and marked truncated where it is longer than the client takes: it then asks again over TCP."""
    packed = bytes(reply.pack())
    return packed if len(packed) <= limit else bytes(reply.truncate().pack())


def upstreams_of(resolv_conf: pathlib.Path, exclude: str) -> list[tuple[str, int]]:
    """The node's own name servers, but not ourselves."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return []
    servers = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    return [(server, 53) for server in servers if server != exclude]
