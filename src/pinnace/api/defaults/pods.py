"""Defaults of pod templates: everything below a PodSpec, wherever one is."""

from collections.abc import Iterable
from typing import Any

from pinnace.api import pods as facts
from pinnace.api import quantity

Fields = dict[str, Any]

FILE_MODE = 0o644
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")


def template(owner: Fields) -> None:
    """`owner["template"]`, a PodTemplateSpec."""
    found = owner.get("template")
    if found is not None:
        spec(found.setdefault("spec", {}))


def spec(pod: Fields) -> None:
    for volume in pod.get("volumes", ()):
        volume_source(volume)
    for container in facts.containers(pod):
        _container(container)
    for item in pod.get("ephemeralContainers", ()):
        _container(item)
    service_account(pod)
    pod.setdefault("dnsPolicy", "ClusterFirst")
    pod.setdefault("restartPolicy", "Always")
    pod.setdefault("securityContext", {})
    pod.setdefault("terminationGracePeriodSeconds", 30)
    pod.setdefault("schedulerName", "default-scheduler")
    resource_list(pod, "overhead")
    _resources(pod.get("resources", {}))


def service_account(pod: Fields) -> None:
    """The deprecated `serviceAccount` always says what `serviceAccountName` says."""
    name = pod.get("serviceAccountName") or pod.get("serviceAccount")
    if name:
        pod["serviceAccountName"] = pod["serviceAccount"] = name


def resource_list(owner: Fields, name: str) -> None:
    """Amounts are rounded up to thousandths."""
    amounts = owner.get(name)
    if not amounts:
        return
    for key, amount in amounts.items():
        if amount.endswith(("n", "u")):
            amounts[key] = quantity.canonical(f"{quantity.milli(amount)}m")


def _resources(requirements: Fields) -> None:
    resource_list(requirements, "limits")
    resource_list(requirements, "requests")


def _container(container: Fields) -> None:
    container.setdefault("imagePullPolicy", pull_policy(container.get("image", "")))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", ()):
        _field_references((variable.get("valueFrom") or {},))
    _resources(container.setdefault("resources", {}))
    for name in PROBES:
        if name in container:
            _probe(container[name])
    for name in HOOKS:
        _http_get(container.get("lifecycle", {}).get(name, {}))


def pull_policy(image: str) -> str:
    """`Always` for what has the tag `latest`, in words or for want of any tag or digest."""
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    return "Always" if tag == "latest" or (image and not tag and not digest) else "IfNotPresent"


def _probe(probe: Fields) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    _http_get(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _http_get(handler: Fields) -> None:
    action = handler.get("httpGet")
    if action is not None:
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def _field_references(items: Iterable[Fields]) -> None:
    for item in items:
        if "fieldRef" in item:
            item["fieldRef"].setdefault("apiVersion", "v1")


def volume_source(volume: Fields) -> None:
    if not any(value is not None for name, value in volume.items() if name != "name"):
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", FILE_MODE)
    _field_references(volume.get("downwardAPI", {}).get("items", ()))
    for source in volume.get("projected", {}).get("sources") or ():
        _field_references(source.get("downwardAPI", {}).get("items", ()))
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    if "image" in volume:
        volume["image"].setdefault("pullPolicy", pull_policy(volume["image"].get("reference", "")))
    claim = volume.get("ephemeral", {}).get("volumeClaimTemplate", {}).get("spec")
    if claim is not None:
        claim_spec(claim)
    shared_source(volume)


def shared_source(volume: Fields) -> None:
    """What pod volumes and persistent volumes have in common."""
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "iscsi" in volume:
        volume["iscsi"].setdefault("iscsiInterface", "default")
    if "rbd" in volume:
        _fill(volume["rbd"], pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if "azureDisk" in volume:
        _fill(volume["azureDisk"], cachingMode="ReadWrite", fsType="ext4", readOnly=False, kind="Shared")
    if "scaleIO" in volume:
        _fill(volume["scaleIO"], fsType="xfs", storageMode="ThinProvisioned")


def claim_spec(claim: Fields) -> None:
    claim.setdefault("volumeMode", "Filesystem")
    _resources(claim.setdefault("resources", {}))


def _fill(target: Fields, **values: Any) -> None:
    for name, value in values.items():
        target.setdefault(name, value)
