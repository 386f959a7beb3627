"""What the DNS server counts, under the names that CoreDNS gives it, in the Prometheus text format.

Labels are of a closed set: whatever clients ask, the number of series does not grow.
"""

import collections

_KINDS = {
    1: "A",
    2: "NS",
    5: "CNAME",
    6: "SOA",
    12: "PTR",
    15: "MX",
    16: "TXT",
    28: "AAAA",
    33: "SRV",
    65: "HTTPS",
    255: "ANY",
}
_CODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_OTHER = "other"


class Figures:
    def __init__(self) -> None:
        self._requests: collections.Counter[tuple[str, str]] = collections.Counter()
        self._responses: collections.Counter[str] = collections.Counter()
        self._forwarded = 0

    def count(self, protocol: str, kind: int, answer: bytes) -> None:
        """A question of this type over "udp" or "tcp", and what was said to it (b"": nothing)."""
        self._requests[protocol, _KINDS.get(kind, _OTHER)] += 1
        if answer:
            self._responses[_CODES.get(answer[3] & 15, _OTHER)] += 1

    def count_forwarded(self) -> None:
        self._forwarded += 1

    def expose(self, zone: str) -> bytes:
        common = f'server="dns://:53",zone="{zone}."'
        lines = [
            "# HELP coredns_dns_requests_total Counter of DNS requests made per zone, protocol and family.",
            "# TYPE coredns_dns_requests_total counter",
        ]
        for (protocol, kind), count in sorted(self._requests.items()):
            lines.append(f'coredns_dns_requests_total{{{common},family="1",proto="{protocol}",type="{kind}"}} {count}')
        lines += [
            "# HELP coredns_dns_responses_total Counter of response status codes.",
            "# TYPE coredns_dns_responses_total counter",
        ]
        for code, count in sorted(self._responses.items()):
            lines.append(f'coredns_dns_responses_total{{{common},rcode="{code}"}} {count}')
        lines += [
            "# HELP coredns_forward_requests_total Counter of questions that were handed to the node's name servers.",
            "# TYPE coredns_forward_requests_total counter",
            f"coredns_forward_requests_total {self._forwarded}",
        ]
        return ("\n".join(lines) + "\n").encode()
