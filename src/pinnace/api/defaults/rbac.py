"""Defaults of `rbac.authorization.k8s.io/v1`."""

from typing import Any

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"


def binding(obj: Object) -> None:
    role = obj.setdefault("roleRef", {})
    if not role.get("apiGroup"):
        role["apiGroup"] = GROUP
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = GROUP


TABLE = {(GROUP, "v1", "RoleBinding"): binding, (GROUP, "v1", "ClusterRoleBinding"): binding}
