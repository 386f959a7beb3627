"""Who may use the node's endpoint: the API server, and whom the API server allows.

Delegated as upstream does: a client certificate or a token (TokenReview) says who it is, a SubjectAccessReview whether it may.
"""

import dataclasses
import logging

from pinnace.api import resources
from pinnace.client import client
from pinnace.web import messages

log = logging.getLogger(__name__)

API_SERVER = "kube-apiserver-kubelet-client"
"""The common name of the API server's own client certificate, which the cluster's CA gives to nobody else."""

TOKEN_REVIEWS = resources.Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = resources.Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


def subresources(path: str) -> tuple[str, ...]:
    """The node's subresources, any of which opens `path`: the fine one first, then the one for everything (KEP-2862)."""
    first = path.strip("/").split("/", 1)[0]
    fine = {
        "stats": "stats",
        "metrics": "metrics",
        "logs": "log",
        "pods": "pods",
        "healthz": "healthz",
        "configz": "configz",
    }.get(first)
    if fine in ("stats", "metrics", "log"):
        return (fine,)
    return ("proxy",) if fine is None else (fine, "proxy")


class Guard:
    def __init__(self, api: client.Client, node_name: str) -> None:
        self._api = api
        self._node_name = node_name

    async def check(self, request: messages.Request) -> tuple[int, str] | None:
        """None: go on. Otherwise the status and text of the refusal."""
        if request.peer.common_name == API_SERVER:
            return None
        try:
            user = await self._authenticate(request)
            if user is None:
                return 401, "Unauthorized"
            verb = _VERBS.get(request.method, "")
            for name in subresources(request.path):
                if await self._may(user, verb, name):
                    return None
        except client.ApiError as error:
            log.warning("the API server could not say who may use %s: %s", request.path, error)
            return 500, f"Authorization error: {error}"
        names = ",".join(subresources(request.path))
        return 403, (f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{names}])")

    async def _authenticate(self, request: messages.Request) -> User | None:
        if request.peer.is_ambiguous:
            return None
        if request.peer.common_name:
            return User(request.peer.common_name, request.peer.organizations)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        review = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "metadata": {},
            "spec": {"token": token.strip()},
        }
        status = (await self._api.create(TOKEN_REVIEWS, None, review)).get("status") or {}
        if not status.get("authenticated"):
            return None
        user = status.get("user") or {}
        return User(str(user.get("username", "")), tuple(user.get("groups") or ()), str(user.get("uid", "")))

    async def _may(self, user: User, verb: str, subresource: str) -> bool:
        review = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "metadata": {},
            "spec": {
                "user": user.name,
                "groups": list(user.groups),
                "uid": user.uid,
                "resourceAttributes": {
                    "verb": verb,
                    "version": "v1",
                    "resource": "nodes",
                    "subresource": subresource,
                    "name": self._node_name,
                },
            },
        }
        status = (await self._api.create(ACCESS_REVIEWS, None, review)).get("status") or {}
        return bool(status.get("allowed")) and not status.get("denied")
