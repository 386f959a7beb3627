"""`networking.k8s.io`: ingresses, network policies, addresses of Services."""

from pinnace.api.rules import base
from pinnace.api.tables import network
from pinnace.api.validation import addresses, networking
from pinnace.api.warnings import network as warnings

Object = base.Object
Part = base.Part


def _network_policy_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    # Upstream's podSelector is no pointer: absent means every pod, and is printed so.
    spec.setdefault("podSelector", {})
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


NETWORK_POLICY = base.Rules(
    warnings=warnings.network_policy,
    defaults=_network_policy_defaults,
    generation_of=base.but_status,
    validate_create=networking.network_policy,
    update=Part(validate=networking.network_policy_update),
    printer=network.NETWORK_POLICY,
)


def _ingress_class_defaults(obj: Object) -> None:
    parameters = obj.get("spec", {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")


INGRESS_CLASS = base.Rules(
    defaults=_ingress_class_defaults,
    generation_of=base.but_status,
    validate_create=networking.ingress_class,
    update=Part(validate=networking.ingress_class_update),
    printer=network.INGRESS_CLASS,
)


def _ingress_defaults(obj: Object) -> None:
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


INGRESS = base.Rules(
    warnings=warnings.ingress,
    defaults=_ingress_defaults,
    generation_of=base.but_status,
    validate_create=networking.ingress,
    update=Part(validate=networking.ingress_update),
    printer=network.INGRESS,
)
IP_ADDRESS = base.Rules(
    generation_of=base.but_status,
    validate_create=addresses.ip_address,
    update=Part(validate=addresses.ip_address_update),
    is_conditional_only=True,
    printer=network.IP_ADDRESS,
)
SERVICE_CIDR = base.Rules(
    generation_of=base.but_status,
    validate_create=addresses.service_cidr,
    update=Part(validate=addresses.service_cidr_update),
    is_conditional_only=True,
    printer=network.SERVICE_CIDR,
)

_IP_ADDRESS = base.Row("IPAddress", "ipaddresses", base.CLUSTER, "ip", rules=IP_ADDRESS)
_SERVICE_CIDR = base.Row("ServiceCIDR", "servicecidrs", base.CLUSTER, subs=base.STATUS, rules=SERVICE_CIDR)

V1: base.Rows = (
    base.Row("IngressClass", "ingressclasses", base.CLUSTER, rules=INGRESS_CLASS),
    base.Row("Ingress", "ingresses", base.NAMESPACED, "ing", subs=base.STATUS, rules=INGRESS, folder="ingress"),
    _IP_ADDRESS,
    base.Row("NetworkPolicy", "networkpolicies", base.NAMESPACED, "netpol", rules=NETWORK_POLICY),
    _SERVICE_CIDR,
)
V1BETA1: base.Rows = (_IP_ADDRESS, _SERVICE_CIDR)
