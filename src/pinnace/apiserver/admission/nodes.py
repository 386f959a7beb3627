"""TaintNodesByCondition: a new node takes no pods before it has said that it is ready."""

from pinnace.apiserver.admission import attributes as admission

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition:
    async def mutate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        spec = attributes.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(taint.get("key") == _NOT_READY["key"] and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, dict(_NOT_READY)]
