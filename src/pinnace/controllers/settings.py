"""What the controllers can be told."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    root_certificate: str = ""
    """PEM of the cluster's CA, published to every namespace as `kube-root-ca.crt`; empty: not published."""
    signing_key: bytes = dataclasses.field(default=b"", repr=False)
    """PEM of that CA's key, which signs approved certificate requests; empty: somebody else signs. Whoever has it is the cluster."""
    cluster_cidr: str = ""
    """Range from which nodes get their podCIDR; empty: somebody else gives them out."""
    node_cidr_mask: int = 24
    """Prefix length of a node's range: 24 holds 254 pods, more than upstream's limit of 110 per node."""
    control_plane_node: str = ""
    """The node of the machine that the control plane runs on: it shows that role (and takes pods like any other). Only who governs the
    cluster may say so, not the node itself. "": none."""
    node_monitor_period: float = 5.0
    """Seconds between two looks at a node's heartbeat."""
    node_monitor_grace: float = 40.0
    """Seconds without a heartbeat until a node counts as lost; upstream's default before v1.32, four missed renewals."""
    node_startup_grace: float = 60.0
    """Seconds that a fresh node may take for its first heartbeat."""
    terminated_pod_limit: int = 12500
    """Finished pods beyond so many are collected, the oldest first; 0: never."""
    pod_gc_period: float = 20.0
    """Seconds between two collections of pods."""
