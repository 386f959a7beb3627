"""The default profile: upstream's plug-ins, in upstream's order and with its weights."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pinnace.api import selectors
from pinnace.scheduler import filters, framework, interpod, pods, scores, spreading, volumes

# Labels that tell the pods of one controller apart.
_OWN_LABELS = frozenset(
    (
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
    )
)
_SPREADING_CONTROLLERS = frozenset(("ReplicaSet", "ReplicationController", "StatefulSet"))

Services = Callable[[str], Iterable[Mapping[str, Any]]]
"""namespace -> its Services."""


def profile(
    catalog: volumes.Catalog, services: Services, bindings: tuple[framework.BindingPlugin, ...] = ()
) -> framework.Profile:
    volume_binding = volumes.VolumeBinding(catalog)
    return framework.Profile(
        pre_filters=(volume_binding,),
        filters=(
            filters.NodeUnschedulable(),
            filters.TaintToleration(),
            filters.NodeAffinity(),
            filters.NodePorts(),
            filters.NodeResourcesFit(),
            volumes.VolumeRestrictions(catalog),
            volume_binding,
            volumes.VolumeZone(catalog),
            spreading.TopologySpreadFilter(),
            interpod.InterPodAffinityFilter(),
        ),
        scores=(
            scores.PreferredTaints(),
            scores.PreferredAffinity(),
            scores.LeastAllocated(),
            spreading.TopologySpreadScore(lambda demand: default_selector(demand, services(demand.namespace))),
            interpod.InterPodAffinityScore(),
            scores.BalancedAllocation(),
            scores.ImageLocality(),
        ),
        bindings=bindings,
    )


def default_selector(demand: pods.Demand, services: Iterable[Mapping[str, Any]]) -> selectors.LabelSelector | None:
    """Which pods belong together with such a pod.

    Its controller's selector is taken to be the pod's own labels: they come from one template. Services narrow nothing then.
    """
    if demand.owner is not None and demand.owner[0] in _SPREADING_CONTROLLERS:
        shared = {key: value for key, value in demand.labels.items() if key not in _OWN_LABELS}
        return selectors.from_labels(shared) if shared else None
    chosen: dict[str, str] = {}
    for service in services:
        selector = service.get("spec", {}).get("selector")
        if selector and selectors.from_labels(selector).matches(demand.labels):
            chosen.update(selector)
    return selectors.from_labels(chosen) if chosen else None
