"""Which registries there are, how they are reached and with which credentials: k3s' `registries.yaml` and `~/.docker/config.json`."""

import base64
import binascii
import dataclasses
import ipaddress
import json
import pathlib
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pinnace.kernel import process
from pinnace.oci import reach as reaches
from pinnace.oci import references, transport

DOCKER_HUB_HOST = "registry-1.docker.io"
# The key under which docker keeps the credentials of Docker Hub.
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
HELPER_TIMEOUT = 30.0


class SettingsError(ValueError):
    """A settings file is wrong; names the file and what."""


@dataclasses.dataclass(frozen=True, slots=True)
class Login:
    username: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.username or self.password or self.identity_token)


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask for a repository."""

    url: str
    """Without a trailing slash and without `/v2`."""
    repository: str
    login: Login
    tls: transport.TlsSettings
    namespace: str = ""
    """For a mirror: the registry it stands for."""
    reach: reaches.Reach = reaches.PUBLIC
    """Where its redirects and token servers may lead."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mirror:
    endpoints: tuple[str, ...]
    rewrite: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class HostSettings:
    login: Login = Login()
    tls: transport.TlsSettings = transport.DEFAULT_TLS


@dataclasses.dataclass(frozen=True, slots=True)
class Registries:
    mirrors: Mapping[str, Mirror] = dataclasses.field(default_factory=dict)
    hosts: Mapping[str, HostSettings] = dataclasses.field(default_factory=dict)

    def endpoints(
        self, reference: references.Reference, login: Login, *, reach_everywhere: bool = False
    ) -> tuple[Endpoint, ...]:
        """Where to ask, in this order: mirrors, then the registry itself. `login`: what the caller brought; it wins there.

        Unless `reach_everywhere`, servers on this machine are asked only where these settings name them (`reach`)."""
        result = []
        reach = reaches.EVERYWHERE if reach_everywhere else self.reach()
        mirror = self.mirrors.get(reference.domain) or self.mirrors.get("*")
        if mirror is not None:
            for url in mirror.endpoints:
                settings = self._host(_host_of(url))
                repository = _rewritten(reference.path, mirror.rewrite)
                result.append(
                    Endpoint(url.rstrip("/"), repository, settings.login, settings.tls, reference.domain, reach)
                )
        settings = self._host(reference.domain)
        chosen = settings.login if login.is_empty else login
        for url in default_urls(reference.domain):
            result.append(Endpoint(url, reference.path, chosen, settings.tls, reach=reach))  # noqa: PERF401
        return tuple(result)

    def reach(self) -> reaches.Reach:
        """Everything but this machine itself, and of that what is named here: as a mirror, its endpoint or a host with settings."""
        urls = [url for mirror in self.mirrors.values() for url in mirror.endpoints]
        urls += [
            f"{scheme}://{name}" for name in (*self.mirrors, *self.hosts) if name != "*" for scheme in ("http", "https")
        ]
        return reaches.Reach(hosts=frozenset(_host_and_port(url) for url in urls))

    def _host(self, host: str) -> HostSettings:
        return self.hosts.get(host) or self.hosts.get("*") or HostSettings()


def default_urls(domain: str) -> tuple[str, ...]:
    """HTTPS; on this machine itself also plain HTTP."""
    if domain == references.DEFAULT_DOMAIN:
        return (f"https://{DOCKER_HUB_HOST}",)
    if is_local(domain):
        return (f"https://{domain}", f"http://{domain}")
    return (f"https://{domain}",)


def is_local(domain: str) -> bool:
    host = domain.rpartition(":")[0] if re.search(r":\d+$", domain) else domain
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_registries(data: bytes, path: str) -> Registries:
    """k3s' form. Raises SettingsError."""
    try:
        document = yaml.safe_load(data) or {}
        mirrors = {
            str(name): Mirror(
                tuple(str(url) for url in (entry or {}).get("endpoint") or ()), dict((entry or {}).get("rewrite") or {})
            )
            for name, entry in (document.get("mirrors") or {}).items()
        }
        hosts = {str(name): _host_settings(entry or {}) for name, entry in (document.get("configs") or {}).items()}
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: not of the form mirrors: and configs: ({error})") from error
    for name, mirror in mirrors.items():
        for url in mirror.endpoints:
            if not url.startswith(("http://", "https://")):
                raise SettingsError(f"{path}: mirrors.{name}.endpoint: {url!r} is no http:// or https:// URL")
    return Registries(mirrors, hosts)


def load_registries(path: pathlib.Path) -> Registries:
    """Without the file: no mirrors. Raises SettingsError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Registries()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return parse_registries(data, str(path))


async def docker_login(domain: str, config: pathlib.Path) -> Login:
    """What `docker login` left for a registry, from the file or its credential helper; empty when there is nothing.

    Raises SettingsError when the helper fails.
    """
    document = _read_docker_config(config)
    keys = _docker_keys(domain)
    helpers = document.get("credHelpers") or {}
    helper = next((helpers[key] for key in keys if key in helpers), document.get("credsStore"))
    if helper:
        return await _ask_helper(str(helper), keys)
    for key in keys:
        entry = (document.get("auths") or {}).get(key)
        if isinstance(entry, dict):
            return _login(entry)
    return Login()


def _read_docker_config(config: pathlib.Path) -> Mapping[str, Any]:
    try:
        document = json.loads(config.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{config}: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{config}: not a JSON object")
    return document


def _docker_keys(domain: str) -> Sequence[str]:
    if domain == references.DEFAULT_DOMAIN:
        return (DOCKER_HUB_KEY, "docker.io", "index.docker.io", DOCKER_HUB_HOST)
    return (domain, f"https://{domain}", f"https://{domain}/v2/", f"https://{domain}/v1/", f"http://{domain}")


async def _ask_helper(helper: str, keys: Sequence[str]) -> Login:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        raise SettingsError(f"not the name of a credential helper: {helper!r}")
    for key in keys:
        try:
            result = await process.run(
                (f"docker-credential-{helper}", "get"), data=key.encode(), timeout=HELPER_TIMEOUT, output_limit=1 << 16
            )
        except process.ProcessError as error:
            raise SettingsError(str(error)) from error
        if result.code == 0:
            try:
                entry = json.loads(result.stdout)
            except ValueError as error:
                raise SettingsError(f"docker-credential-{helper} answered no JSON") from error
            if entry.get("Username") == "<token>":
                return Login(identity_token=str(entry.get("Secret", "")))
            return Login(str(entry.get("Username", "")), str(entry.get("Secret", "")))
    return Login()


def _host_settings(entry: Mapping[str, Any]) -> HostSettings:
    tls = entry.get("tls") or {}
    return HostSettings(
        _login(entry.get("auth") or {}),
        transport.TlsSettings(
            str(tls.get("ca_file") or ""),
            str(tls.get("cert_file") or ""),
            str(tls.get("key_file") or ""),
            bool(tls.get("insecure_skip_verify")),
        ),
    )


def _login(entry: Mapping[str, Any]) -> Login:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not username and entry.get("auth"):
        try:
            pair = base64.b64decode(str(entry["auth"])).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        username, _, password = pair.partition(":")
    token = str(entry.get("identitytoken") or entry.get("identity_token") or "")
    return Login(username, password.rstrip("\0"), token)


def _rewritten(repository: str, rules: Mapping[str, str]) -> str:
    for pattern, replacement in rules.items():
        if re.search(pattern, repository):
            # The replacement names groups as Go does: $1.
            return re.sub(pattern, re.sub(r"\$(\d+)", r"\\\1", replacement), repository)
    return repository


def _host_and_port(url: str) -> str:
    """`host:port`, the port being the scheme's where none is said. Raises ValueError."""
    parts = urllib.parse.urlsplit(url)
    return f"{(parts.hostname or '').lower()}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
