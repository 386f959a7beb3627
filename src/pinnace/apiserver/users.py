"""Who makes a request, as authentication found out."""

import dataclasses
from collections.abc import Mapping

from pinnace.api.validation import formats

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"
ANONYMOUS = "system:anonymous"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclasses.dataclass(frozen=True, slots=True)
class UserInfo:
    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, object]:
        """The form of authentication.k8s.io/v1 UserInfo."""
        out: dict[str, object] = {"username": self.name}
        if self.uid:
            out["uid"] = self.uid
        if self.groups:
            out["groups"] = list(self.groups)
        if self.extra:
            out["extra"] = {key: list(values) for key, values in self.extra.items()}
        return out


def anonymous() -> UserInfo:
    return UserInfo(ANONYMOUS, groups=(UNAUTHENTICATED,))


def service_account_name(namespace: str, name: str) -> str:
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def split_service_account(username: str) -> tuple[str, str] | None:
    """(namespace, name) of `system:serviceaccount:<namespace>:<name>`, else None."""
    if not username.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    parts = username[len(SERVICE_ACCOUNT_PREFIX) :].split(":")
    if len(parts) != 2 or formats.dns_label(parts[0]) or formats.dns_subdomain(parts[1]):
        # A name like any other: it is nobody's account, and not of that namespace.
        return None
    return parts[0], parts[1]


_COMPONENTS = frozenset({"system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"})
_COMPONENT_PREFIXES = ("system:pinnace:", f"{SERVICE_ACCOUNT_PREFIX}kube-system:")


def is_system(user: UserInfo) -> bool:
    """A node, or a part of the cluster itself: what must go on when a tenant is busy."""
    return is_node(user) or user.name in _COMPONENTS or user.name.startswith(_COMPONENT_PREFIXES)


def is_node(user: UserInfo) -> bool:
    return NODES in user.groups and user.name.startswith(NODE_PREFIX)


def node_name(user: UserInfo) -> str:
    """The node that `user` is, or ""."""
    return user.name[len(NODE_PREFIX) :] if is_node(user) else ""
