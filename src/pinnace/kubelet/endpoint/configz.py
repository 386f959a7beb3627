"""What the endpoint says of the agent itself: its settings in upstream's names, and the pods that the engine runs. Pure."""

from collections.abc import Sequence
from typing import Any

from pinnace.engine import interface
from pinnace.kubelet import settings as settings_module
from pinnace.kubelet.pod import model, podspec


def document(settings: settings_module.Settings) -> dict[str, Any]:
    """The part of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that has a meaning here."""
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "port": settings.port,
        "clusterDomain": settings.cluster_domain,
        "clusterDNS": list(settings.cluster_dns),
        "maxPods": settings.max_pods,
        "podPidsLimit": settings.pod_pids_limit or -1,
        "enforceNodeAllocatable": ["pods"],
        "cgroupsPerQOS": True,
        "cgroupDriver": "cgroupfs",
        "resolvConf": "/etc/resolv.conf",
        "podLogsDir": str(settings.logs_dir),
        "containerLogMaxSize": f"{settings.log_bytes >> 20}Mi",
        "containerLogMaxFiles": settings.log_files,
        "imageGCHighThresholdPercent": round(settings.image_gc_high * 100),
        "imageGCLowThresholdPercent": round(settings.image_gc_low * 100),
        "nodeStatusUpdateFrequency": _seconds(settings.status_seconds),
        "nodeStatusReportFrequency": _seconds(settings.report_seconds),
        "nodeLeaseDurationSeconds": round(settings.lease_seconds * 4),
        "evictionHard": {
            "memory.available": f"{settings.eviction_memory_bytes >> 20}Mi",
            "nodefs.available": f"{round(settings.eviction_disk * 100)}%",
        },
        "authentication": {"x509": {}, "webhook": {"enabled": True}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook", "webhook": {}},
        "enableServer": True,
        "makeIPTablesUtilChains": False,
        "failSwapOn": False,
        "serializeImagePulls": False,
    }


def _seconds(amount: float) -> str:
    """As Go prints a duration of whole seconds."""
    minutes, seconds = divmod(round(amount), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def running_pod(pod: podspec.Object, containers: Sequence[interface.Container]) -> dict[str, Any]:
    """A pod as far as the engine knows it."""
    return {
        "metadata": {
            "name": podspec.name(pod),
            "namespace": podspec.namespace(pod),
            "uid": podspec.uid(pod),
        },
        "spec": {
            "containers": [
                {
                    "name": each.spec.labels.get(model.CONTAINER_NAME_LABEL, ""),
                    "image": each.spec.labels.get(model.HASH_LABEL, each.spec.image),
                    "resources": {},
                }
                for each in containers
            ]
        },
        "status": {},
    }
