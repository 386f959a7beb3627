"""How full the volumes of running pods are: for `/stats/summary`, and `/metrics` where claims are watched.

Claims and volumes in memory, whose file systems tell it. A folder on the node's own disk (emptyDir, configMap …) has no size of
its own.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pinnace.kit import metrics
from pinnace.kubelet.pod import podspec
from pinnace.kubelet.volumes import interface, persistent


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeUse:
    pod_uid: str
    namespace: str
    name: str
    claim: str
    """"": a volume without one."""
    available: int
    capacity: int
    used: int
    """Bytes."""
    inodes: int
    inodes_free: int


def measure(pods: Iterable[tuple[podspec.Object, Mapping[str, interface.Volume]]]) -> list[VolumeUse]:
    """(pod, its volumes that are ready). Blocks as long as the file systems take to answer."""
    found = []
    for pod, ready in pods:
        for volume in pod["spec"].get("volumes") or ():
            mounted = ready.get(volume["name"])
            claim = persistent.claim_name(pod, volume) or ""
            in_memory = (volume.get("emptyDir") or {}).get("medium") == "Memory"
            if mounted is None or mounted.is_block or not (claim or in_memory):
                continue
            try:
                system = os.statvfs(mounted.path)
            except OSError:
                continue  # removed meanwhile
            found.append(_use(pod, volume["name"], claim, system))
    return found


def _use(pod: podspec.Object, name: str, claim: str, system: os.statvfs_result) -> VolumeUse:
    size = system.f_frsize
    return VolumeUse(
        podspec.uid(pod),
        podspec.namespace(pod),
        name,
        claim,
        available=system.f_bavail * size,
        capacity=system.f_blocks * size,
        used=(system.f_blocks - system.f_bfree) * size,
        inodes=system.f_files,
        inodes_free=system.f_ffree,
    )


def summary(uses: Iterable[VolumeUse], stamp: str) -> list[dict[str, Any]]:
    """`volume` of a pod in the stats API."""
    return [
        {
            "time": stamp,
            "availableBytes": use.available,
            "capacityBytes": use.capacity,
            "usedBytes": use.used,
            "inodesFree": use.inodes_free,
            "inodes": use.inodes,
            "inodesUsed": use.inodes - use.inodes_free,
            "name": use.name,
            **({"pvcRef": {"name": use.claim, "namespace": use.namespace}} if use.claim else {}),
        }
        for use in uses
    ]


_FAMILIES: Sequence[tuple[str, str, Callable[[VolumeUse], int]]] = (
    ("available_bytes", "Number of available bytes in the volume", lambda use: use.available),
    ("capacity_bytes", "Capacity in bytes of the volume", lambda use: use.capacity),
    ("inodes", "Maximum number of inodes in the volume", lambda use: use.inodes),
    ("inodes_free", "Number of free inodes in the volume", lambda use: use.inodes_free),
    ("inodes_used", "Number of used inodes in the volume", lambda use: use.inodes - use.inodes_free),
    ("used_bytes", "Number of used bytes in the volume", lambda use: use.used),
)


def exposed(uses: Iterable[VolumeUse]) -> str:
    """Prometheus text: one sample for each claim, however many pods use it."""
    claims = {(use.namespace, use.claim): use for use in uses if use.claim}
    exposition = metrics.Text()
    for name, text, value in _FAMILIES:
        samples = [
            ({"namespace": namespace, "persistentvolumeclaim": claim}, value(use))
            for (namespace, claim), use in sorted(claims.items())
        ]
        exposition.family(f"kubelet_volume_stats_{name}", "gauge", f"[ALPHA] {text}", samples)
    return exposition.render()
