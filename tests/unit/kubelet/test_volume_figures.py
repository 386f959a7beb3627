"""How full volumes are, as the stats API and Prometheus are told."""

import os
import pathlib

from pinnace.kubelet.endpoint import volume_stats
from pinnace.kubelet.volumes import interface
from pinnace.testing import pods


def test_claims_and_volumes_in_memory_tell_what_their_file_system_tells(tmp_path: pathlib.Path) -> None:
    pod = pods.pod(
        volumes=[
            {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "own", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "cache", "emptyDir": {"medium": "Memory"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "raw", "persistentVolumeClaim": {"claimName": "b"}},
            {"name": "gone", "persistentVolumeClaim": {"claimName": "g"}},
            {"name": "unready", "persistentVolumeClaim": {"claimName": "u"}},
        ]
    )
    ready = {name: interface.Volume(tmp_path) for name in ("data", "own", "cache", "disk")}
    ready["raw"] = interface.Volume(pathlib.Path("/dev/null"), is_block=True)
    ready["gone"] = interface.Volume(tmp_path / "gone")
    uses = volume_stats.measure([(pod, ready)])
    assert [(use.name, use.claim) for use in uses] == [("data", "c"), ("own", "web-own"), ("cache", "")]
    system = os.statvfs(tmp_path)
    assert uses[0].capacity == system.f_blocks * system.f_frsize
    assert uses[0].available <= uses[0].capacity
    told = volume_stats.summary(uses, "2026-01-01T00:00:00Z")
    assert told[0]["pvcRef"] == {"name": "c", "namespace": "default"}
    assert "pvcRef" not in told[2]


def test_a_claim_that_several_pods_use_has_one_sample() -> None:
    use = volume_stats.VolumeUse("uid", "ns", "v", "c", 1, 10, 9, 100, 60)
    text = volume_stats.exposed([use, use])
    assert text.count("kubelet_volume_stats_used_bytes{") == 1
    labels = '{namespace="ns",persistentvolumeclaim="c"}'
    assert f"\nkubelet_volume_stats_used_bytes{labels} 9\n" in text
    assert f"\nkubelet_volume_stats_inodes_used{labels} 40\n" in text
    assert volume_stats.exposed([]) == ""
