"""Where an HTTP client's connections lead, how that is read from an URL and the environment, and how it is told that one failed."""

import base64
import dataclasses
import ipaddress
import ssl
import urllib.parse
from collections.abc import Mapping

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SAFE_IN_TARGET = "/%:@!$&'()*+,;=~-._?[]"


class ConnectError(Exception):
    """No answer: `address` could not be reached, or the connection broke. The text names the address and the reason."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


class TimedOut(ConnectError):
    """No answer within the caller's time."""


class Forbidden(ConnectError):
    """The address is one that the caller's settings do not permit; nothing was sent."""

    def __init__(self, address: str, resolved: str) -> None:
        super().__init__(address, f"connections to {resolved} are not permitted")
        self.resolved = resolved


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """What a connection leads to."""

    scheme: str
    """`http`, `https` or `unix`."""
    host: str
    """A UNIX socket's path for `unix`."""
    port: int

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.host}"
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def authority(self) -> str:
        """The Host field (RFC 9110, 7.2)."""
        if self.scheme == "unix":
            return "localhost"
        return self._bracketed if self.port == _DEFAULT_PORTS[self.scheme] else f"{self._bracketed}:{self.port}"

    @property
    def host_and_port(self) -> str:
        """The target of CONNECT."""
        return f"{self._bracketed}:{self.port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    origin: Origin
    authorization: str
    """The Proxy-Authorization field; "" without credentials."""


def parse_url(url: str) -> tuple[Origin, str]:
    """(origin, request target). `unix:///run/x.sock:/path?query` names a UNIX socket and a target on it. Raises ValueError."""
    if url.startswith("unix://"):
        path, separator, target = url[len("unix://") :].partition(":")
        return Origin("unix", path, 0), _target(target) if separator else "/"
    parts = urllib.parse.urlsplit(url)
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORTS or not host:
        raise ValueError(f"not an http, https or unix URL: {url!r}")
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return Origin(scheme, host, parts.port or _DEFAULT_PORTS[scheme]), _target(target)


def _target(text: str) -> str:
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return urllib.parse.quote(text, safe=_SAFE_IN_TARGET)


def proxy_for(destination: Origin, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY (in either case) name for this destination. Raises ValueError."""

    def value(name: str) -> str:
        return environment.get(name.lower()) or environment.get(name) or ""

    url = value(f"{destination.scheme.upper()}_PROXY") if destination.scheme in _DEFAULT_PORTS else ""
    if not url or is_exempt(destination, value("NO_PROXY")):
        return None
    parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    if not parts.hostname or parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"not a proxy's URL: {url!r}")
    credentials = ""
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        credentials = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy(Origin(parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]), credentials)


def is_exempt(destination: Origin, no_proxy: str) -> bool:
    """Whether NO_PROXY names the destination: `*`, a host or domain (with its subdomains), an address, a CIDR, with or without
    a port. Loopback is always exempt, as in Go."""
    host = destination.host.lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in (part.strip().lower() for part in no_proxy.split(",")):
        if entry == "*":
            return True
        name, separator, port = entry.rpartition(":")
        if separator and port.isdigit() and _address(entry) is None:
            if int(port) != destination.port:
                continue
            entry = name.strip("[]")
        if not entry:
            continue
        if address is not None:
            if ("/" in entry and _contains(entry, address)) or _address(entry) == address:
                return True
        elif host == entry.lstrip(".") or host.endswith("." + entry.removeprefix("*").lstrip(".")):
            return True
    return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _contains(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def reason_of(error: OSError) -> str:
    """Why a connection failed, in one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    return (error.strerror if error.errno and error.strerror else str(error)) or type(error).__name__
