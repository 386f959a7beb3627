"""DefaultIngressClass: ingresses that name no class get the one that is marked as the default."""

from typing import Any

from pinnace.api import resources
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.storage import objects

Object = dict[str, Any]

IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
_OLD_CLASS = "kubernetes.io/ingress.class"


class DefaultIngressClass:
    def __init__(self, stored: objects.Objects) -> None:
        self._objects = stored

    async def mutate(self, attributes: admission.Attributes) -> None:
        ingress = attributes.obj
        assert ingress is not None
        spec = ingress.setdefault("spec", {})
        # An empty name asks for no class at all.
        if spec.get("ingressClassName") is not None or _OLD_CLASS in (ingress["metadata"].get("annotations") or {}):
            return
        default = self._default()
        if default is not None:
            spec["ingressClassName"] = default["metadata"]["name"]

    def _default(self) -> Object | None:
        """Of several the newest, then the first by name."""
        found = [item for item in self._objects.all(resources.INGRESS_CLASSES) if _is_default(item)]
        found.sort(key=lambda item: str(item["metadata"]["name"]))
        return max(found, key=lambda item: str(item["metadata"].get("creationTimestamp")), default=None)


def _is_default(item: Object) -> bool:
    return (item["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true"
