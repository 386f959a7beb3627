"""RuntimeClass: a pod of a runtime class carries its overhead, and goes only to nodes that have it."""

from typing import Any

from pinnace.api import errors, resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

Object = dict[str, Any]


class RuntimeClass:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def mutate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        spec = attributes.obj.setdefault("spec", {})
        name = spec.get("runtimeClassName")
        if not name:
            if spec.get("overhead"):
                raise _refuse(
                    attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
                )
            return
        found = self._objects.get(resources.RUNTIME_CLASSES, "", name)
        if found is None:
            raise _refuse(attributes, f'pod rejected: RuntimeClass "{name}" not found')
        self._set_overhead(attributes, spec, (found.get("overhead") or {}).get("podFixed"))
        self._set_scheduling(attributes, spec, found.get("scheduling") or {})

    def _set_overhead(self, attributes: admission.Attributes, spec: Object, fixed: Object | None) -> None:
        if spec.get("overhead") and spec["overhead"] != fixed:
            raise _refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        if fixed:
            spec["overhead"] = dict(fixed)

    def _set_scheduling(self, attributes: admission.Attributes, spec: Object, scheduling: Object) -> None:
        selector = scheduling.get("nodeSelector") or {}
        own = spec.get("nodeSelector") or {}
        if any(key in own and own[key] != value for key, value in selector.items()):
            raise _refuse(
                attributes, "conflict: runtimeClass.scheduling.nodeSelector conflicts with pod.spec.nodeSelector"
            )
        if selector:
            spec["nodeSelector"] = {**own, **selector}
        present = spec.get("tolerations") or []
        added = [toleration for toleration in scheduling.get("tolerations") or () if toleration not in present]
        if added:
            spec["tolerations"] = [*present, *added]


def _refuse(attributes: admission.Attributes, why: str) -> errors.StatusError:
    return errors.forbidden("", "pods", attributes.name, why)
