"""Pods and pod templates of the core group."""

from collections.abc import Mapping
from typing import Any

from pinnace.api import pods as facts
from pinnace.api import selectable
from pinnace.api.defaults import core as defaults
from pinnace.api.defaults import pods as pod_defaults
from pinnace.api.rules import base
from pinnace.api.tables import pods as tables
from pinnace.api.validation import core, pods
from pinnace.api.warnings import pods as warnings
from pinnace.api.warnings import workloads as workload_warnings

Object = base.Object

_DEFAULT_GRACE = 30


def _new_pod(obj: Object) -> None:
    spec = obj["spec"]
    pod_defaults.service_account(spec)
    _positive_grace(spec)
    status: Object = {"phase": "Pending", "qosClass": facts.qos_class(spec)}
    if spec.get("schedulingGates"):
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "lastTransitionTime": obj["metadata"].get("creationTimestamp"),
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]
    obj["status"] = status


def _pod_update(new: Object, old: Object) -> None:
    pod_defaults.service_account(new["spec"])
    _positive_grace(new["spec"])


def _positive_grace(spec: Object) -> None:
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1


def _pod_status(new: Object, old: Object) -> None:
    base.status_alone(new, old)
    base.keep(new["metadata"], old["metadata"], "ownerReferences")
    status = new.setdefault("status", {})
    _one_and_many(status, "podIP", "podIPs")
    _one_and_many(status, "hostIP", "hostIPs")
    if not status.get("qosClass") and "qosClass" in old.get("status", {}):
        status["qosClass"] = old["status"]["qosClass"]


def _one_and_many(status: Object, one: str, many: str) -> None:
    """An address that is given alone is also the first of the list, and the first of the list is the one."""
    if status.get(one) and not status.get(many):
        status[many] = [{"ip": status[one]}]
    elif status.get(many) and not status.get(one):
        status[one] = status[many][0]["ip"]


def _resize(new: Object, old: Object) -> None:
    wanted = new.get("spec") or {}
    base.keep_all_but(new, old)
    spec = new["spec"] = dict(new["spec"])
    for name in ("containers", "initContainers"):
        if name in spec:
            known = {container.get("name"): container for container in spec[name]}
            # What was renamed, added, left out or put in another order stays so: validation refuses it.
            spec[name] = [
                _resized(known[given.get("name")], given) if given.get("name") in known else given
                for given in wanted.get(name, ())
            ]
    base.keep(spec, wanted, "resources")


def _resized(container: Object, given: Object) -> Object:
    made = dict(container)
    for name in ("resources", "resizePolicy"):
        base.keep(made, given, name)
    return made


def _grace(obj: Object, asked: int | None) -> int:
    """Pods take time to stop, once a node has them; a grace period that runs is only ever made shorter."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    stated = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
    seconds = int(stated if asked is None else asked)
    seconds = 1 if seconds < 0 else seconds
    running = obj["metadata"].get("deletionGracePeriodSeconds")
    if obj["metadata"].get("deletionTimestamp") is not None and running is not None:
        return min(seconds, running) if asked is not None else int(running)
    return seconds


def _first_address(pod: Mapping[str, Any]) -> str:
    status = pod.get("status") or {}
    addresses = status.get("podIPs")
    return selectable.text(addresses[0].get("ip") if addresses else status.get("podIP"))


_FIELDS = selectable.Fields(
    {
        **selectable.paths(
            "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "status.phase"
        ),
        "spec.hostNetwork": selectable.at("spec.hostNetwork", "false"),
        "status.podIP": _first_address,
        "status.nominatedNodeName": selectable.at("status.nominatedNodeName"),
    },
    aliases={"spec.host": "spec.nodeName", "status.podIPs": "status.podIPs"},
)

POD = base.Rules(
    defaults=defaults.pod,
    prepare_create=_new_pod,
    generation_of=base.but_status,
    validate_create=pods.create,
    update=base.Part(_pod_update, pods.update),
    status=base.Part(_pod_status, pods.update_status),
    parts={
        "ephemeralcontainers": base.Part(
            base.one_field("spec", "ephemeralContainers"), pods.update_ephemeral_containers
        ),
        "resize": base.Part(_resize, pods.update_resize),
    },
    warnings=warnings.pod,
    are_alike=True,
    deletion=base.Deletion(returns_object=True, grace=_grace),
    printer=tables.POD,
    fields=_FIELDS,
)

POD_TEMPLATE = base.Rules(
    warnings=workload_warnings.pod_template,
    defaults=defaults.pod_template,
    generation_of=base.but_status,
    validate_create=core.pod_template,
    update=base.Part(validate=base.as_new(core.pod_template)),
    deletion=base.Deletion(returns_object=True),
    printer=tables.POD_TEMPLATE,
)

POD_ROW = base.Row(
    "Pod",
    "pods",
    base.NAMESPACED,
    "po",
    "all",
    (
        base.Sub("attach", base.CONNECT, "PodAttachOptions"),
        base.Sub("binding", base.CREATE, "Binding"),
        base.Sub("ephemeralcontainers"),
        base.Sub("eviction", base.CREATE, "Eviction", "policy", "v1"),
        base.Sub("exec", base.CONNECT, "PodExecOptions"),
        base.Sub("log", ("get",)),
        base.Sub("portforward", base.CONNECT, "PodPortForwardOptions"),
        base.Sub("proxy", base.PROXY, "PodProxyOptions"),
        base.Sub("resize"),
        base.Sub("status"),
    ),
    POD,
)
POD_TEMPLATE_ROW = base.Row("PodTemplate", "podtemplates", base.NAMESPACED, rules=POD_TEMPLATE)
