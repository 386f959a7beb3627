"""`rbac.authorization.k8s.io`: roles and their bindings."""

import dataclasses

from pinnace.api.rules import base
from pinnace.api.tables import access
from pinnace.api.validation import rbac

Object = base.Object


def _binding_defaults(obj: Object) -> None:
    role = obj.setdefault("roleRef", {})
    if not role.get("apiGroup"):
        role["apiGroup"] = rbac.GROUP
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = rbac.GROUP


ROLE = base.Rules(validate_create=rbac.role, update=base.Part(validate=rbac.role_update), creates_on_update=True)
CLUSTER_ROLE = dataclasses.replace(
    ROLE, validate_create=rbac.cluster_role, update=base.Part(validate=rbac.cluster_role_update)
)
ROLE_BINDING = base.Rules(
    defaults=_binding_defaults,
    validate_create=rbac.role_binding,
    update=base.Part(validate=rbac.role_binding_update),
    creates_on_update=True,
    printer=access.ROLE_BINDING,
)
CLUSTER_ROLE_BINDING = dataclasses.replace(
    ROLE_BINDING,
    validate_create=rbac.cluster_role_binding,
    update=base.Part(validate=rbac.cluster_role_binding_update),
)

V1: base.Rows = (
    base.Row("ClusterRoleBinding", "clusterrolebindings", base.CLUSTER, rules=CLUSTER_ROLE_BINDING),
    base.Row("ClusterRole", "clusterroles", base.CLUSTER, rules=CLUSTER_ROLE),
    base.Row("RoleBinding", "rolebindings", base.NAMESPACED, rules=ROLE_BINDING),
    base.Row("Role", "roles", base.NAMESPACED, rules=ROLE),
)
