"""CustomResourceDefinition: names, scope and versions."""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes


def create(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    spec = field.part(obj, "spec")
    group, names = spec.get("group") or "", field.part(spec, "names")
    plural, name = names.get("plural") or "", field.part(obj, "metadata").get("name") or ""
    if name != f"{plural}.{group}":
        found.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        found.required("spec.group")
    else:
        found.messages("spec.group", group, formats.dns_subdomain(group))
        if "." not in group:
            found.invalid("spec.group", group, "should be a domain with at least one dot")
    found.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key) or ""
        if not value:
            found.required(f"spec.names.{key}")
        else:
            found.messages(f"spec.names.{key}", value, formats.dns_1035_label(value.lower()))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        found.invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    _versions(found, field.items(spec, "versions"))


def _versions(found: Causes, versions: list[Fields]) -> None:
    path = "spec.versions"
    stored = [version for version in versions if version.get("storage")]
    if len(stored) != 1:
        found.invalid(path, versions, "must have exactly one version marked as storage version")
    seen: set[str] = set()
    for index, version in enumerate(versions):
        name = version.get("name") or ""
        found.messages(f"{path}[{index}].name", name, formats.dns_1035_label(name))
        if name in seen:
            found.invalid(path, versions, "must contain unique version names")
        seen.add(name)
        if field.part(version, "schema").get("openAPIV3Schema") is None:
            found.required(f"{path}[{index}].schema.openAPIV3Schema", "schemas are required")


def update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    create(found, new)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    for name in ("group", "scope"):
        found.unchanged(f"spec.{name}", after.get(name), before.get(name))
    for name in ("kind", "plural"):
        now, then = (field.part(spec, "names").get(name) for spec in (after, before))
        found.unchanged(f"spec.names.{name}", now, then)
