"""The files that every pod gets: /etc/hosts, /etc/resolv.conf, and its host name. Pure: text in, text out."""

import dataclasses
import ipaddress
from collections.abc import Sequence

from pinnace.kubelet.pod import podspec

HOST_NAME_LIMIT = 63
KERNEL_NAME_LIMIT = 64
SEARCH_LIMIT = 32
SEARCH_CHARACTERS = 2048
NAMESERVER_LIMIT = 3


class NameTooLong(Exception):
    """The text is upstream's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Resolver:
    """A resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolver(text: str) -> Resolver:
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] == "search":
            searches = tuple("." if word == "." else word.rstrip(".") for word in words[1:])
        elif words[0] == "options":
            options = tuple(words[1:])
    return Resolver(tuple(nameservers), searches, options)


def resolver(pod: podspec.Object, host: Resolver, cluster_dns: Sequence[str], cluster_domain: str) -> Resolver:
    """By dnsPolicy and dnsConfig, as upstream's dns.Configurer."""
    base = _by_policy(pod, host, cluster_dns, cluster_domain)
    config = pod["spec"].get("dnsConfig") or {}
    return Resolver(
        nameservers=_unique([*base.nameservers, *(config.get("nameservers") or ())])[:NAMESERVER_LIMIT],
        searches=_fit(_unique([*base.searches, *(config.get("searches") or ())])),
        options=_merge_options(base.options, config.get("options") or ()),
    )


def _by_policy(pod: podspec.Object, host: Resolver, cluster_dns: Sequence[str], cluster_domain: str) -> Resolver:
    policy = pod["spec"].get("dnsPolicy", "ClusterFirst")
    if policy == "None":
        return Resolver()
    uses_cluster = policy == "ClusterFirstWithHostNet" or (
        policy == "ClusterFirst" and not podspec.is_host_network(pod)
    )
    if not uses_cluster or not cluster_dns:
        return host
    namespace = podspec.namespace(pod)
    searches = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
    return Resolver(tuple(cluster_dns), _unique([*searches, *host.searches]), ("ndots:5",))


def _unique(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _fit(searches: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for search in searches[:SEARCH_LIMIT]:
        if len(" ".join([*kept, search])) > SEARCH_CHARACTERS:
            break
        kept.append(search)
    return tuple(kept)


def _merge_options(base: Sequence[str], added: Sequence[podspec.Object]) -> tuple[str, ...]:
    merged = {option.partition(":")[0]: option for option in base}
    for option in added:
        value = option.get("value")
        merged[option["name"]] = f"{option['name']}:{value}" if value is not None else option["name"]
    return tuple(merged.values())


def render_resolver(config: Resolver) -> str:
    lines = []
    if config.searches:
        lines.append(f"search {' '.join(config.searches)}")
    lines += [f"nameserver {server}" for server in config.nameservers]
    if config.options:
        lines.append(f"options {' '.join(config.options)}")
    return "".join(f"{line}\n" for line in lines)


def host_names(pod: podspec.Object, cluster_domain: str) -> tuple[str, str]:
    """(the host name in the UTS namespace, the pod's domain or ""). Raises NameTooLong."""
    name = pod["spec"].get("hostname") or podspec.name(pod)[:HOST_NAME_LIMIT].rstrip("-.")
    override = pod["spec"].get("hostnameOverride")
    if override:
        return str(override), ""
    subdomain = pod["spec"].get("subdomain")
    domain = f"{subdomain}.{podspec.namespace(pod)}.svc.{cluster_domain}" if subdomain else ""
    if domain and pod["spec"].get("setHostnameAsFQDN"):
        full = f"{name}.{domain}"
        if len(full) > KERNEL_NAME_LIMIT:
            raise NameTooLong(
                f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
                f"({KERNEL_NAME_LIMIT} characters is the max, {len(full)} characters requested)"
            )
        return full, domain
    return str(name), domain


MANAGED_HEADER = "# Kubernetes-managed hosts file.\n"
HOST_NETWORK_HEADER = "# Kubernetes-managed hosts file (host network).\n"

_LOCAL = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def hosts(pod: podspec.Object, addresses: Sequence[str], host_name: str, domain: str, host_file: str) -> str:
    """/etc/hosts as upstream writes it; `host_file`: the host's own, for pods with the host's network."""
    aliases = _aliases(pod)
    if podspec.is_host_network(pod):
        return HOST_NETWORK_HEADER + host_file + aliases
    lines = [MANAGED_HEADER, _LOCAL]
    short = host_name.removesuffix(f".{domain}") if domain else host_name
    for address in addresses:
        name = f"{short}.{domain}\t{short}" if domain else short
        lines.append(f"{ipaddress.ip_address(address)}\t{name}\n")
    return "".join(lines) + aliases


def _aliases(pod: podspec.Object) -> str:
    entries = pod["spec"].get("hostAliases") or ()
    if not entries:
        return ""
    lines = ["\n# Entries added by HostAliases.\n"]
    lines += ["{}\t{}\n".format(entry["ip"], "\t".join(entry.get("hostnames") or ())) for entry in entries]
    return "".join(lines)
