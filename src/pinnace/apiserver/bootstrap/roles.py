"""The default roles and bindings, and how they are kept: what is missing is added, what a user has added stays.

A role or binding whose annotation `rbac.authorization.kubernetes.io/autoupdate` is "false" is left as it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pinnace.api import resources
from pinnace.apiserver.authz import rules
from pinnace.apiserver.bootstrap import role_table

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_LABEL = "kubernetes.io/bootstrapping"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"


def _metadata(name: str, namespace: str, labels: Sequence[str] = ()) -> Object:
    found: Object = {
        "name": name,
        "labels": {_LABEL: "rbac-defaults", **{_AGGREGATE + target: "true" for target in labels}},
        "annotations": {AUTO_UPDATE: "true"},
    }
    if namespace:
        found["namespace"] = namespace
    return found


def _rule(text: str) -> Object:
    parts = [part.split() for part in text.split("|")]
    if len(parts) == 2:
        return {"verbs": parts[0], "nonResourceURLs": parts[1]}
    made: Object = {
        "verbs": parts[0],
        "apiGroups": ["" if group == "core" else group for group in parts[1]],
        "resources": parts[2],
    }
    if len(parts) > 3:
        made["resourceNames"] = parts[3]
    return made


def _role(row: role_table.Role, rows: Mapping[str, role_table.Role]) -> Object:
    made: Object = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Role" if row.namespace else "ClusterRole",
        "metadata": _metadata(row.name, row.namespace, row.aggregated_to),
    }
    made["rules"] = [_rule(text) for text in _all_rules(row, rows)]
    if row.aggregates:
        made["aggregationRule"] = {
            "clusterRoleSelectors": [{"matchLabels": {_AGGREGATE + target: "true"}} for target in row.aggregates]
        }
    return made


def _all_rules(row: role_table.Role, rows: Mapping[str, role_table.Role]) -> list[str]:
    """A role's own rules, and those that are aggregated into it: a server must be whole before its controllers run."""
    found = dict.fromkeys(row.rules)
    for target in row.aggregates:
        for other in rows.values():
            if target in other.aggregated_to and other.name != row.name:
                found |= dict.fromkeys(_all_rules(other, rows))
    return list(found)


def _binding(row: role_table.Binding) -> Object:
    kind, _, name = row.role.partition(" ")
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "RoleBinding" if row.namespace else "ClusterRoleBinding",
        "metadata": _metadata(row.name, row.namespace),
        "subjects": [_subject(text) for text in row.subjects],
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
    }


def _subject(text: str) -> Object:
    kind, _, name = text.partition(" ")
    if kind == "ServiceAccount":
        namespace, _, name = name.partition("/")
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"apiGroup": GROUP, "kind": kind, "name": name}


def wanted() -> Iterator[tuple[resources.Resource, Object]]:
    """Every default role and binding, as objects."""
    cluster = {row.name: row for row in (*role_table.CLUSTER_ROLES, *role_table.CONTROLLER_ROLES)}
    for row in cluster.values():
        yield resources.CLUSTER_ROLES, _role(row, cluster)
    for row in role_table.ROLES:
        yield resources.ROLES, _role(row, {})
    for binding in role_table.CLUSTER_ROLE_BINDINGS:
        yield resources.CLUSTER_ROLE_BINDINGS, _binding(binding)
    for binding in role_table.ROLE_BINDINGS:
        yield resources.ROLE_BINDINGS, _binding(binding)


def reconciled(found: Object, default: Object) -> Object | None:
    """`found` with what it lacks of `default`; None when it lacks nothing or wants to be left alone."""
    metadata = found["metadata"]
    if (metadata.get("annotations") or {}).get(AUTO_UPDATE) == "false":
        return None
    merged = {**found, "metadata": {**metadata}}
    for field in ("labels", "annotations"):
        merged["metadata"][field] = {**default["metadata"][field], **(metadata.get(field) or {})}
    if "roleRef" in default:
        merged["subjects"] = _with_missing(found.get("subjects") or [], default["subjects"])
        merged["roleRef"] = default["roleRef"]
    elif "aggregationRule" not in default:
        have = rules.parse_all(found.get("rules"))
        lacking = rules.uncovered(have, rules.parse_all(default["rules"]))
        merged["rules"] = [*(found.get("rules") or []), *(rule.to_json() for rule in lacking)]
    elif found.get("aggregationRule") is None:
        merged["aggregationRule"] = default["aggregationRule"]
    return None if merged == found else merged


def _with_missing(have: list[Object], default: list[Object]) -> list[Object]:
    return [*have, *(subject for subject in default if subject not in have)]
