"""ServiceCIDRs: ranges of Services' addresses are ready when they are seen, and stay until nobody needs them.

The API server gives out addresses of ready ranges alone. A range that is being deleted first stops being ready; it is let go when
every address of it that is in use is also in another range, or when there is none.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from pinnace.api import conditions, resources
from pinnace.client import client
from pinnace.controllers.framework import actions, loop, objects
from pinnace.controllers.framework import lister as views
from pinnace.kit import clock

Object = dict[str, Any]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
READY = "Ready"
BETWEEN_LOOKS = 2.0
"""Seconds until a range that is in use is looked at again: nobody watches the addresses, which are as many as Services."""
_IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


def networks(cidr: Object) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in cidr["spec"].get("cidrs") or ())


async def observe(api: client.Client, view: views.View, key: objects.Key) -> bool:
    """Whether an address of a range that is being deleted has no other range."""
    cidr = view.get(resources.SERVICE_CIDRS, *key)
    if cidr is None or not objects.is_deleting(cidr):
        return False
    others = [each for each in view.list(resources.SERVICE_CIDRS) if not objects.is_deleting(each)]
    kept = [network for each in others for network in networks(each)]
    names = [objects.name_of(each) for each in (await api.list(resources.IP_ADDRESSES)).items]
    return has_orphans(networks(cidr), kept, names)


def has_orphans(going: Iterable[Network], kept: Iterable[Network], names: Iterable[str]) -> bool:
    """Whether one of the addresses `names` is in a range that goes and in none that is kept."""
    going, kept = tuple(going), tuple(kept)
    addresses = (ipaddress.ip_address(name) for name in names)
    return any(
        any(address in network for network in going) and not any(address in network for network in kept)
        for address in addresses
    )


def plan(view: views.View, key: objects.Key, now: datetime.datetime) -> Sequence[actions.Action]:
    cidr = view.get(resources.SERVICE_CIDRS, *key)
    if cidr is None:
        return []
    finalizers = objects.finalizers_of(cidr)
    if not objects.is_deleting(cidr):
        if FINALIZER not in finalizers:
            return [_set_finalizers(cidr, [*finalizers, FINALIZER])]
        return _set_ready(cidr, now, "True", "", "Kubernetes Service CIDR is ready")
    if FINALIZER not in finalizers:
        return []
    if conditions.is_true(cidr, READY):
        # Nothing more is given out of it: what is in use can be counted from now on.
        return _set_ready(cidr, now, "False", "Terminating", _IN_USE)
    if view.live:
        return [*_set_ready(cidr, now, "False", "Terminating", _IN_USE), actions.Requeue(BETWEEN_LOOKS)]
    return [_set_finalizers(cidr, [each for each in finalizers if each != FINALIZER])]


def _set_finalizers(cidr: Object, finalizers: Sequence[str]) -> actions.Update:
    changed = {**cidr, "metadata": {**cidr["metadata"], "finalizers": list(finalizers)}}
    return actions.Update(resources.SERVICE_CIDRS, changed)


def _set_ready(cidr: Object, now: datetime.datetime, value: str, reason: str, message: str) -> list[actions.Action]:
    status = objects.status_of(cidr)
    present = objects.condition(cidr, READY)
    if present is not None and (present["status"], present.get("reason", "")) == (value, reason):
        return []
    wanted = {"type": READY, "status": value, "reason": reason, "message": message}
    made = conditions.with_condition(status.get("conditions"), wanted, clock.rfc3339(now))
    changed = {**cidr, "status": {**status, "conditions": made}}
    return [actions.Update(resources.SERVICE_CIDRS, changed, subresource="status")]


def controller() -> loop.Controller:
    return loop.Controller(
        name="service-cidr",
        user="service-cidrs-controller",
        watches=(loop.Watch(resources.SERVICE_CIDRS, loop.own_key),),
        observe=observe,
        plan=plan,
        workers=1,
    )
