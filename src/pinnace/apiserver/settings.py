"""What an API server needs to know from outside. Made by `assemble`; every field states meaning, unit and why the default."""

import dataclasses
import ssl

SYSTEM_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    service_account_key: bytes
    """PEM of the private key (RSA or EC P-256) that signs service-account tokens. Whoever has it is every service account."""
    service_account_verification_keys: tuple[bytes, ...] = ()
    """PEM of further public keys whose tokens are still accepted: for key rotation."""
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    """`iss` of the tokens, and the address under which their keys are published."""
    api_audiences: tuple[str, ...] = ("https://kubernetes.default.svc.cluster.local",)
    """A token must name one of these as its audience to be accepted here."""
    service_cidr: str = "10.43.0.0/16"
    """Addresses of Services; its first one is the `kubernetes` Service's."""
    dns_address: str = ""
    """One of them: where the nodes answer for names, kept for the Service `kube-dns`. "": nobody does, and there is no such Service."""
    node_port_first: int = 30000
    node_port_last: int = 32767
    """Upstream's range: below the kernel's range of ephemeral ports."""
    advertise_address: str = "127.0.0.1"
    """Where pods reach this server: the address in the endpoints of the `kubernetes` Service."""
    advertise_port: int = 6443
    kubelet_tls: ssl.SSLContext | None = None
    """With the API server's kubelet client certificate and the cluster's CA; None: logs, exec and the like answer 503."""
    git_version: str = "v1.36.0+pinnace"
    """What `/version` says. Clients compare its minor with their own."""
    max_body_bytes: int = 3 * 1024 * 1024
    """Larger requests get 413: upstream's limit, and more than any object that the store should hold."""
    request_timeout: float = 60.0
    """Seconds until a request that is not a watch or a tunnel gets 504."""
    max_in_flight: int = 400
    """Requests that are worked on at once (watches and tunnels do not count)."""
    max_queued_per_user: int = 200
    """Requests of one user that wait for a place; beyond it they get 429."""
    max_system_in_flight: int = 200
    """The same for nodes and the cluster's own components: theirs are places that nobody else can take."""
    max_arriving_per_user: int = 64
    """Requests of one user whose bodies are still on their way; beyond it they get 429. They hold no place meanwhile, and up to
    `max_body_bytes` each."""
    bookmark_interval: float = 60.0
    """Seconds between bookmarks of a quiet watch: as upstream, often enough that a resumed watch is never compacted away."""
    anonymous_enabled: bool = True
    """Requests without credentials are `system:anonymous`, which the default roles let read health and version alone."""
    pod_security_default: str = "privileged"
    """Level of namespaces that carry no label."""
