"""ComponentStatus: what the first versions of the API said of the control plane; still listed by old clients."""

from typing import Any

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import views
from pinnace.web import messages

Object = dict[str, Any]


def _statuses(context: contexts.Context) -> dict[str, Object]:
    """Those whose state this process knows at first hand: its store, and what else of the control plane runs in it."""
    problems = {name: check() for name, check in context.services.components.items()}
    return {name: _status(name, problem) for name, problem in {**problems, "etcd-0": ""}.items()}


def _status(name: str, problem: str) -> Object:
    condition = {"type": "Healthy", "status": "False" if problem else "True", "message": problem or "ok"}
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name, "creationTimestamp": None},
        "conditions": [condition],
    }


async def list_(context: contexts.Context) -> messages.Answer:
    body = {
        "kind": "ComponentStatusList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": ""},
        "items": list(_statuses(context).values()),
    }
    return views.made(context, body)


async def get(context: contexts.Context) -> messages.Answer:
    found = _statuses(context).get(context.name)
    if found is None:
        raise context.not_found()
    return views.made(context, found)
