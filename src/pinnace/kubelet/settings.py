"""What the node agent is told once, at its start."""

import dataclasses
import pathlib
from collections.abc import Mapping

KUBELET_VERSION = "v1.36.0"
"""What clients are to expect of this node's behaviour."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    node_name: str
    node_ip: str
    """The address that pods and other nodes reach this node by: InternalIP of the Node, hostIP of its pods."""
    data_dir: pathlib.Path
    """`DIR/node`: the agent keeps `pods/<uid>` (volumes and files of pods) and `volumes` (local persistent volumes) there."""
    logs_dir: pathlib.Path
    """`DIR/logs/pods`: the containers' logs."""
    cluster_dns: tuple[str, ...] = ()
    """Name servers of pods with dnsPolicy ClusterFirst; empty: they get the host's."""
    cluster_domain: str = "cluster.local"
    port: int = 10250
    """Where the HTTPS endpoint listens; written into the Node."""
    reserved_host_ports: tuple[int, ...] = ()
    """TCP ports of the machine's other servers of the cluster (the API's): no pod gets them as host ports, nor this agent's own."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Added to those that the agent sets itself."""
    capacity: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Said instead of what this machine has, by resource (`cpu`, `memory` …): of a node that is simulated."""
    runtime_version: str = "pinnace://0.1.0"
    max_pods: int = 110
    """Upstream's default; the size of a /24 leaves room for about twice as many."""
    pod_pids_limit: int = 4096
    """Processes and threads of one pod (podPidsLimit); 0: as many as all pods together may have. Upstream has no limit unless told: with
    none a fork bomb takes the processes of every other pod."""
    lease_seconds: float = 10.0
    """Between two renewals of the node's Lease; it is held for four times as long."""
    status_seconds: float = 10.0
    """Between two looks at the node's own state; written only when it changed, or after `report_seconds`."""
    report_seconds: float = 300.0
    log_bytes: int = 10 << 20
    """A container's log is rotated when it is larger."""
    log_files: int = 5
    """How many files of a container's log are kept, the present one included."""
    image_gc_high: float = 0.85
    """Unused images are removed when the disk is fuller than this …"""
    image_gc_low: float = 0.80
    """… until it is emptier than this."""
    eviction_memory_bytes: int = 100 << 20
    """Pods are evicted when less memory is available."""
    eviction_disk: float = 0.10
    """Pods are evicted when less than this part of the disk is free."""

    @property
    def pods_dir(self) -> pathlib.Path:
        return self.data_dir / "pods"

    @property
    def volumes_dir(self) -> pathlib.Path:
        return self.data_dir / "volumes"

    @property
    def seccomp_dir(self) -> pathlib.Path:
        """Where `localhostProfile` of a pod is looked for."""
        return self.data_dir / "seccomp"

    def pod_dir(self, uid: str) -> pathlib.Path:
        return self.pods_dir / uid

    def pod_logs_dir(self, namespace: str, name: str, uid: str) -> pathlib.Path:
        return self.logs_dir / f"{namespace}_{name}_{uid}"

    def log_path(self, namespace: str, name: str, uid: str, container: str, attempt: int) -> pathlib.Path:
        return self.pod_logs_dir(namespace, name, uid) / container / f"{attempt}.log"
