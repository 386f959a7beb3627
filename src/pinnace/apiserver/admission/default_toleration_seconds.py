"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable, unless it says otherwise."""

from pinnace.apiserver.admission import attributes as admission

SECONDS = 300
_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds:
    async def mutate(self, attributes: admission.Attributes) -> None:
        assert attributes.obj is not None
        spec = attributes.obj.setdefault("spec", {})
        present = spec.get("tolerations") or []
        missing = [key for key in _KEYS if not any(_tolerates(toleration, key) for toleration in present)]
        if missing:
            spec["tolerations"] = [
                *present,
                *(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
                    for key in missing
                ),
            ]


def _tolerates(toleration: admission.Object, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
