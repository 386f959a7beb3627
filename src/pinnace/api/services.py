"""Fields of a Service that depend on each other: `clusterIP` and `clusterIPs`, and what only some types have.

Pure. Who allocates addresses and ports calls `carry_over` first, so that an update which leaves allocated values out keeps them.
"""

from typing import Any

Fields = dict[str, Any]

HEADLESS = "None"


def needs_cluster_ip(spec: Fields) -> bool:
    """ExternalName services have none; the others have one, which may be `None`."""
    return spec.get("type", "ClusterIP") in ("ClusterIP", "NodePort", "LoadBalancer")


def needs_node_port(spec: Fields) -> bool:
    kind = spec.get("type", "ClusterIP")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_check_port(spec: Fields) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_headless(spec: Fields) -> bool:
    return spec.get("clusterIP") == HEADLESS or (spec.get("clusterIPs") or [""])[0] == HEADLESS


def is_externally_accessible(spec: Fields) -> bool:
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def carry_over(new: Fields, old: Fields) -> None:
    """Bring both specs into step: allocated values that `new` leaves out are those of `old`; what its type does not have goes."""
    _sync_cluster_ips(new, old)
    if needs_cluster_ip(old) and needs_cluster_ip(new):
        if not new.get("clusterIP") and old.get("clusterIP"):
            new["clusterIP"] = old["clusterIP"]
        if not new.get("clusterIPs") and old.get("clusterIPs") and new.get("clusterIP") == old.get("clusterIP"):
            new["clusterIPs"] = list(old["clusterIPs"])
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if name not in new and name in old:
                new[name] = old[name]
    if needs_node_port(old) and needs_node_port(new):
        known = {(port.get("protocol"), port.get("port")): port.get("nodePort") for port in old.get("ports") or ()}
        taken = {(port.get("protocol"), port["nodePort"]) for port in new.get("ports") or () if port.get("nodePort")}
        for port in new.get("ports") or ():
            number = known.get((port.get("protocol"), port.get("port")))
            if not port.get("nodePort") and number and (port.get("protocol"), number) not in taken:
                port["nodePort"] = number
    if needs_health_check_port(old) and needs_health_check_port(new) and not new.get("healthCheckNodePort"):
        number = old.get("healthCheckNodePort")
        if number:
            new["healthCheckNodePort"] = number
    _drop_type_dependent(new, old)


def normalize(spec: Fields) -> None:
    """On create: the one address that is given is also the first of the list."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]


def _sync_cluster_ips(new: Fields, old: Fields) -> None:
    """A client that knows only `clusterIP` may change it; the list follows."""
    was_one, was_list = old.get("clusterIP", ""), old.get("clusterIPs") or []
    one, many = new.get("clusterIP", ""), new.get("clusterIPs") or []
    if one and not was_one and not many:
        new["clusterIPs"] = [one]
    elif one != was_one and many == was_list:
        if one:
            new["clusterIPs"] = [one, *many[1:]]
        else:
            new.pop("clusterIPs", None)
    elif many and many != was_list and one == was_one and not one:
        new["clusterIP"] = many[0]


def _drop_type_dependent(new: Fields, old: Fields) -> None:
    if needs_cluster_ip(old) and not needs_cluster_ip(new):
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if new.get(name) == old.get(name):
                new.pop(name, None)
    if needs_node_port(old) and not needs_node_port(new):
        before = [port.get("nodePort") for port in old.get("ports") or ()]
        if [port.get("nodePort") for port in new.get("ports") or ()] == before:
            for port in new.get("ports") or ():
                port.pop("nodePort", None)
    if (
        needs_health_check_port(old)
        and not needs_health_check_port(new)
        and new.get("healthCheckNodePort") == old.get("healthCheckNodePort")
    ):
        new.pop("healthCheckNodePort", None)
    if old.get("type") == "LoadBalancer" and new.get("type") != "LoadBalancer":
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if new.get(name) == old.get(name):
                new.pop(name, None)
    if (
        is_externally_accessible(old)
        and not is_externally_accessible(new)
        and new.get("externalTrafficPolicy") == old.get("externalTrafficPolicy")
    ):
        new.pop("externalTrafficPolicy", None)
