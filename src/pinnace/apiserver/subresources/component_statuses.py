"""ComponentStatus: what the first versions of the API said of the control plane; still listed by old clients."""

from typing import Any

from pinnace.apiserver import context as contexts
from pinnace.apiserver.http import views
from pinnace.web import messages

Object = dict[str, Any]


def _statuses(context: contexts.Context) -> dict[str, Object]:
    """The one component whose state this process knows at first hand: its store."""
    message = f"ok, revision {context.services.store.revision}"
    return {
        "etcd-0": {
            "kind": "ComponentStatus",
            "apiVersion": "v1",
            "metadata": {"name": "etcd-0", "creationTimestamp": None},
            "conditions": [{"type": "Healthy", "status": "True", "message": message}],
        }
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
