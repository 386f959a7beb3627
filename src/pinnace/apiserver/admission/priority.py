"""Priority: the number behind a pod's priority class; at most one class is the default."""

from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

_PODS = ("", "pods")


class Priority:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def mutate(self, attributes: admission.Attributes) -> None:
        if attributes.resource != _PODS or attributes.obj is None:
            return
        spec = attributes.obj.setdefault("spec", {})
        if attributes.old is not None:
            before = attributes.old.get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and before.get(field) is not None:
                    spec[field] = before[field]
            return
        name = spec.get("priorityClassName") or ""
        chosen = self._named(attributes, name) if name else self._default()
        value, policy = (chosen["value"], chosen.get("preemptionPolicy")) if chosen else (0, None)
        if chosen and not name:
            spec["priorityClassName"] = chosen["metadata"]["name"]
        policy = policy or "PreemptLowerPriority"
        _check_agrees(attributes, spec.get("priority"), value)
        _check_policy(attributes, spec.get("preemptionPolicy"), policy)
        spec["priority"], spec["preemptionPolicy"] = value, policy

    async def validate(self, attributes: admission.Attributes) -> None:
        """Of a PriorityClass that wants to be the default."""
        if attributes.resource == _PODS or attributes.obj is None or not attributes.obj.get("globalDefault"):
            return
        found = self._default()
        if found is not None and found["metadata"]["name"] != attributes.name:
            raise errors.forbidden(
                attributes.kind.group,
                attributes.kind.plural,
                attributes.name,
                f"PriorityClass {found['metadata']['name']} is already marked as default. Only one default can exist",
            )

    def _named(self, attributes: admission.Attributes, name: str) -> Object:
        found = self._objects.get(resources.PRIORITY_CLASSES, "", name)
        if found is None:
            raise errors.forbidden("", "pods", attributes.name, f"no PriorityClass with name {name} was found")
        return found

    def _default(self) -> Object | None:
        """Of several the lowest, as upstream breaks the tie."""
        found = [item for item in self._objects.all(resources.PRIORITY_CLASSES) if item.get("globalDefault")]
        return min(found, key=lambda item: item["value"], default=None)


def _check_agrees(attributes: admission.Attributes, given: int | None, computed: int) -> None:
    if given is not None and given != computed:
        raise errors.forbidden(
            "",
            "pods",
            attributes.name,
            f"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller "
            f"computed {computed} from the given PriorityClass name",
        )


def _check_policy(attributes: admission.Attributes, given: str | None, computed: str) -> None:
    if given is not None and given != computed:
        raise errors.forbidden(
            "",
            "pods",
            attributes.name,
            f"the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission "
            f"controller computed {computed} from the given PriorityClass name",
        )
