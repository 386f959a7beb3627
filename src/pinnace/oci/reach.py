"""Which addresses a registry client may connect to. Pure.

Whoever may create a pod chooses the names of its images, and the node asks for them: without a bound it would ask its own servers on
loopback, and the link-local metadata service of its cloud, in the name of a stranger. So only what the machine's own `registries.yaml`
names is reached there, by a first request as by a redirect or the place where tokens are given out.
"""

import dataclasses
import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_THIS_HOST = ipaddress.IPv4Network("0.0.0.0/8")


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """`everywhere`: who asks has this machine anyway. `hosts`: `host:port` that the machine's settings name."""

    everywhere: bool = False
    hosts: frozenset[str] = frozenset()

    def permits_host(self, host: str, port: int) -> bool:
        """Whether the host may be reached whatever its address."""
        return self.everywhere or f"{host.lower()}:{port}" in self.hosts

    def permits(self, host: str, port: int, address: str) -> bool:
        """`address`: what the connection would really go to, an IP address, or the host's own name where a proxy looks it up."""
        return self.permits_host(host, port) or not is_own(address)


EVERYWHERE = Reach(everywhere=True)
PUBLIC = Reach()


def is_own(address: str) -> bool:
    """Loopback, link-local, unspecified (which Linux takes for loopback) or multicast; also written as IPv6, and by name."""
    name = address.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        parsed = ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = _embedded(parsed) or parsed
    if isinstance(parsed, ipaddress.IPv4Address) and parsed in _THIS_HOST:
        return True
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
