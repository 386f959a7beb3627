"""ResourceQuota: no namespace uses more than its quotas allow, however many writes come at once.

What a write uses is booked on the quota's status in the same transaction that writes the object, on the condition that nobody else booked
meanwhile: status and objects agree at every revision, however many servers there are, and nothing has to be given back. A quota that
nobody has counted yet is counted here, before its first booking. What deletions free is found by `quota_counts`.
"""

import decimal
import functools
from collections.abc import Iterable
from typing import Any

from pinnace.api import errors, kinds, quantity, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.admission import usage
from pinnace.apiserver.storage import envelope, objects

Object = dict[str, Any]

_ZERO = decimal.Decimal(0)
# A quota of these makes every container say how much it wants.
_MUST_SPECIFY = {
    "cpu": ("requests", "cpu"),
    "memory": ("requests", "memory"),
    "requests.cpu": ("requests", "cpu"),
    "requests.memory": ("requests", "memory"),
    "limits.cpu": ("limits", "cpu"),
    "limits.memory": ("limits", "memory"),
}


class ResourceQuota:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored
        self._quotas = stored.kind(resources.RESOURCE_QUOTAS)

    async def validate(self, attributes: admission.Attributes) -> None:
        """Where no quota limits the write, it stays the write of one key."""
        if self._bookings(attributes):
            attributes.claims.append(functools.partial(self._bookings, attributes))

    def _bookings(self, attributes: admission.Attributes) -> list[objects.Claim]:
        """What the quotas of the namespace are to say once the write has happened. Raises Forbidden."""
        if attributes.obj is None:
            return []
        group, plural = attributes.resource
        found = []
        for record in self._objects.records(resources.RESOURCE_QUOTAS, attributes.namespace):
            quota = envelope.parse(record)
            delta = _delta(quota, group, plural, attributes)
            if not delta:
                continue
            self._count(quota, attributes.namespace)
            _require_specified(attributes, quota)
            _require_room(attributes, quota, delta)
            _add(quota, delta)
            found.append(objects.Claim(self._quotas, record, quota))
        return found

    def _count(self, quota: Object, namespace: str) -> None:
        """Bring the status of a quota up to its spec, where no controller has yet."""
        hard = (quota.get("spec") or {}).get("hard") or {}
        status = quota.setdefault("status", {})
        known, used = status.setdefault("hard", {}), status.setdefault("used", {})
        missing = [name for name in hard if name not in known or name not in used]
        if missing:
            used |= counted(self._objects, quota, namespace, missing)
        status["hard"] = dict(hard)


def counted(stored: objects.Objects, quota: Object, namespace: str, names: Iterable[str]) -> dict[str, str]:
    """What the objects of `namespace` use of each of `names` that `quota` limits, as its status says it."""
    hard = quota["spec"]["hard"]
    totals = _totals(stored, quota, namespace, names)
    return {name: quantity.render(total, quantity.format_of(hard[name])) for name, total in totals.items()}


def _totals(stored: objects.Objects, quota: Object, namespace: str, names: Iterable[str]) -> usage.Usage:
    totals = dict.fromkeys(names, _ZERO)
    for kind in stored.registry.all():
        if not kind.namespaced or kind.is_virtual or not _may_use(kind, totals):
            continue
        for record in stored.list(kind, namespace).records:
            obj = envelope.parse(record)
            if not usage.in_scope(quota, kind.plural, obj):
                continue
            for name, amount in usage.of(kind.group, kind.plural, obj).items():
                if name in totals:
                    totals[name] += amount
    return totals


def _may_use(kind: kinds.Kind, names: usage.Usage) -> bool:
    if (f"count/{kind.plural}.{kind.group}" if kind.group else f"count/{kind.plural}") in names:
        return True
    plain = {name.rpartition("/")[2].partition(".")[0] for name in names if not name.startswith("count/")}
    if kind.group:
        return False
    if kind.plural == "pods":
        return bool(plain & {"pods", "cpu", "memory", "ephemeral-storage", "requests", "limits"})
    return kind.plural in plain or (kind.plural == "persistentvolumeclaims" and "requests" in plain)


def _delta(quota: Object, group: str, plural: str, attributes: admission.Attributes) -> usage.Usage:
    """What the write uses more of than before, of what the quota limits."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    assert attributes.obj is not None
    new = usage.of(group, plural, attributes.obj) if usage.in_scope(quota, plural, attributes.obj) else {}
    old: usage.Usage = {}
    if attributes.old is not None and usage.in_scope(quota, plural, attributes.old):
        old = usage.of(group, plural, attributes.old)
    found = {name: new.get(name, _ZERO) - old.get(name, _ZERO) for name in hard if name in new or name in old}
    return {name: amount for name, amount in found.items() if amount > 0}


def _require_specified(attributes: admission.Attributes, quota: Object) -> None:
    if attributes.resource != ("", "pods") or attributes.operation != "CREATE":
        return
    assert attributes.obj is not None
    hard = (quota.get("spec") or {}).get("hard") or {}
    spec = attributes.obj.get("spec") or {}
    missing: dict[str, list[str]] = {}
    for name in sorted(set(hard) & set(_MUST_SPECIFY)):
        field, resource = _MUST_SPECIFY[name]
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            if resource not in ((container.get("resources") or {}).get(field) or {}):
                missing.setdefault(name, []).append(str(container.get("name")))
    if missing:
        shown = "; ".join(f"{name} for: {','.join(names)}" for name, names in missing.items())
        raise errors.forbidden(
            "", "pods", attributes.name, f"failed quota: {quota['metadata']['name']}: must specify {shown}"
        )


def _require_room(attributes: admission.Attributes, quota: Object, delta: usage.Usage) -> None:
    hard, used = quota["status"]["hard"], quota["status"]["used"]
    exceeded = sorted(
        name
        for name, amount in delta.items()
        if quantity.parse(used.get(name, "0")) + amount > quantity.parse(hard[name])
    )
    if not exceeded:
        return

    def shown(amounts: dict[str, str]) -> str:
        return ",".join(f"{name}={amounts.get(name, '0')}" for name in exceeded)

    requested = {name: quantity.render(delta[name], quantity.format_of(hard[name])) for name in exceeded}
    raise errors.forbidden(
        attributes.kind.group,
        attributes.kind.plural,
        attributes.name,
        f"exceeded quota: {quota['metadata']['name']}, requested: {shown(requested)}, used: {shown(used)}, "
        f"limited: {shown(hard)}",
    )


def _add(quota: Object, delta: usage.Usage) -> None:
    used, hard = quota["status"]["used"], quota["status"]["hard"]
    for name, amount in delta.items():
        total = max(quantity.parse(used.get(name, "0")) + amount, _ZERO)
        used[name] = quantity.render(total, quantity.format_of(hard.get(name, "1")))
