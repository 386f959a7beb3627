"""Which pods stand behind a Service, on which ports: what Endpoints and EndpointSlices have in common. Pure."""

from collections.abc import Iterable
from typing import Any

from pinnace.api import resources, selectors
from pinnace.controllers.framework import labelled, loop, objects
from pinnace.controllers.framework import lister as views

Object = dict[str, Any]

HEADLESS_LABEL = "service.kubernetes.io/headless"


def has_managed_backends(service: Object) -> bool:
    """A Service without a selector has backends that somebody else writes; an ExternalName has none."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def publishes_not_ready(service: Object) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses"))


def pods_of(view: views.View, service: Object) -> Iterable[Object]:
    """Every pod that the selector matches and that has an address and is not finished."""
    selector = selectors.from_labels(service["spec"]["selector"])
    for pod in labelled.pods_of(view, objects.namespace_of(service), selector):
        if addresses_of(pod) and not objects.is_pod_terminal(pod):
            yield pod


def addresses_of(pod: Object) -> list[str]:
    status = objects.status_of(pod)
    found = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]
    return found or ([status["podIP"]] if status.get("podIP") else [])


def ports_of(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as this pod serves them: named target ports may differ from pod to pod, and one that the pod
    does not have is left out."""
    result = []
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol", "TCP")
        number = target_port(port, protocol, pod)
        if number is None:
            continue
        entry = {"name": port.get("name", ""), "port": number, "protocol": protocol}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        result.append(entry)
    return result


def target_port(port: Object, protocol: str, pod: Object) -> int | None:
    wanted = port.get("targetPort", port["port"])
    if isinstance(wanted, int):
        return wanted or int(port["port"])
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*spec["containers"], *sidecars]:
        for exposed in container.get("ports") or ():
            if exposed.get("name") == wanted and exposed.get("protocol", "TCP") == protocol:
                return int(exposed["containerPort"])
    return None


def target_reference(pod: Object) -> Object:
    return {
        "kind": "Pod",
        "namespace": objects.namespace_of(pod),
        "name": objects.name_of(pod),
        "uid": objects.uid_of(pod),
    }


def hostname_of(pod: Object, service: Object) -> str:
    """The name under which DNS finds this pod below the Service; "" when it asks for none."""
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == objects.name_of(service):
        return str(spec["hostname"])
    return ""


def service_keys_of_pod(view: views.View, pod: Object) -> Iterable[objects.Key]:
    namespace, labels = objects.namespace_of(pod), objects.labels_of(pod)
    for key, text in labels.items():
        for service in view.by_index(resources.SERVICES, "selector", labelled.value(namespace, key, text)):
            if service["spec"]["selector"].items() <= labels.items():
                yield objects.key_of(service)


def _index_by_selector(service: Object) -> Iterable[str]:
    """By one of the labels that it wants: a pod that has them all has that one."""
    wanted = service["spec"].get("selector")
    return [labelled.value(objects.namespace_of(service), *min(wanted.items()))] if wanted else ()


WATCHES = (
    loop.Watch(resources.SERVICES, loop.own_key),
    loop.Watch(resources.PODS, service_keys_of_pod),
)
INDEXES: tuple[views.Index, ...] = (labelled.PODS, (resources.SERVICES, "selector", _index_by_selector))
