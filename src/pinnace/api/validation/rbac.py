"""Roles and their bindings."""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

GROUP = "rbac.authorization.k8s.io"


def role(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.path_segment)
    _rules(found, obj, namespaced=True)


def role_update(found: Causes, new: Fields, old: Fields) -> None:
    role(found, new)
    metadata.update(found, new, old)


def cluster_role(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.path_segment)
    _rules(found, obj, namespaced=False)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        selectors = field.items(aggregation, "clusterRoleSelectors")
        path = "aggregationRule.clusterRoleSelectors"
        if not selectors:
            found.required(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
        for index, selector in enumerate(selectors):
            metadata.label_selector(found, selector, f"{path}[{index}]")


def cluster_role_update(found: Causes, new: Fields, old: Fields) -> None:
    cluster_role(found, new)
    metadata.update(found, new, old)


def _rules(found: Causes, obj: Fields, *, namespaced: bool) -> None:
    for index, rule in enumerate(field.items(obj, "rules")):
        _rule(found, rule, f"rules[{index}]", namespaced=namespaced)


def _rule(found: Causes, rule: Fields, path: str, *, namespaced: bool) -> None:
    if not rule.get("verbs"):
        found.required(f"{path}.verbs", "verbs must contain at least one value")
    urls = field.items(rule, "nonResourceURLs")
    if urls:
        if namespaced:
            found.invalid(f"{path}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            found.invalid(
                f"{path}.nonResourceURLs", urls, "rules cannot apply to both regular resources and non-resource URLs"
            )
        return
    if not rule.get("apiGroups"):
        found.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        found.required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.path_segment)
    _binding(found, obj, ("Role", "ClusterRole"), namespaced=True)


def cluster_role_binding(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.path_segment)
    _binding(found, obj, ("ClusterRole",), namespaced=False)


def _binding(found: Causes, obj: Fields, kinds: tuple[str, ...], *, namespaced: bool) -> None:
    reference = field.part(obj, "roleRef")
    group, kind, name = (reference.get(key) or "" for key in ("apiGroup", "kind", "name"))
    if group != GROUP:
        found.not_supported("roleRef.apiGroup", group, (GROUP,))
    if kind not in kinds:
        found.not_supported("roleRef.kind", kind, kinds)
    if not name:
        found.required("roleRef.name")
    else:
        found.messages("roleRef.name", name, formats.path_segment(name))
    for index, subject in enumerate(field.items(obj, "subjects")):
        _subject(found, subject, f"subjects[{index}]")


def _subject(found: Causes, subject: Fields, path: str) -> None:
    kind, name, group = (subject.get(key) or "" for key in ("kind", "name", "apiGroup"))
    if not name:
        found.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            found.messages(f"{path}.name", name, formats.dns_subdomain(name))
        if group:
            found.not_supported(f"{path}.apiGroup", group, ("",))
        if not subject.get("namespace"):
            found.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != GROUP:
            found.not_supported(f"{path}.apiGroup", group, (GROUP,))
    else:
        found.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def role_binding_update(found: Causes, new: Fields, old: Fields) -> None:
    role_binding(found, new)
    _role_unchanged(found, new, old)


def cluster_role_binding_update(found: Causes, new: Fields, old: Fields) -> None:
    cluster_role_binding(found, new)
    _role_unchanged(found, new, old)


def _role_unchanged(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    if new.get("roleRef") != old.get("roleRef"):
        found.invalid("roleRef", new.get("roleRef"), "cannot change roleRef")
