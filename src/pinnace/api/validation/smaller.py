"""Groups with few rules: leases, priority and runtime classes, admission configuration, API registration."""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

HIGHEST_USER_PRIORITY = 1_000_000_000
_SYSTEM_PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_MAX_TOKEN_SECONDS = 1 << 32


def lease(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=True, name_rule=formats.dns_subdomain)
    _lease_spec(found, field.part(obj, "spec"))


def lease_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _lease_spec(found, field.part(new, "spec"))


def _lease_spec(found: Causes, spec: Fields) -> None:
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        found.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    found.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))
    if spec.get("preferredHolder") and not spec.get("strategy"):
        found.forbidden("spec.preferredHolder", "may only be specified when `strategy` is defined")
    if spec.get("strategy"):
        found.messages("spec.strategy", spec["strategy"], formats.qualified_name(spec["strategy"]))


def priority_class(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    name, value = field.part(obj, "metadata").get("name") or "", obj.get("value") or 0
    if name.startswith("system-"):
        if _SYSTEM_PRIORITIES.get(name) != value:
            found.forbidden(
                "metadata.name",
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
                if name not in _SYSTEM_PRIORITIES
                else "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: value of {name} PriorityClass must be {_SYSTEM_PRIORITIES[name]}",
            )
    elif value > HIGHEST_USER_PRIORITY:
        found.forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
    policy = obj.get("preemptionPolicy")
    if policy is not None:
        found.one_of("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"), is_sorted=False)


def priority_class_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    if (new.get("value") or 0) != (old.get("value") or 0):
        found.forbidden("value", "may not be changed in an update.")
    found.unchanged("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


def runtime_class(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    handler = obj.get("handler") or ""
    found.messages("handler", handler, formats.dns_label(handler))
    selector = field.part(field.part(obj, "scheduling"), "nodeSelector")
    metadata.label_map(found, selector, "scheduling.nodeSelector")


def runtime_class_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    found.unchanged("handler", new.get("handler"), old.get("handler"))


def token_request(found: Causes, obj: Fields) -> None:
    seconds = field.part(obj, "spec").get("expirationSeconds") or 0
    if seconds < 600:
        found.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > _MAX_TOKEN_SECONDS:
        found.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")


def webhooks(found: Causes, obj: Fields) -> None:
    """Validating and mutating webhook configurations."""
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _webhooks(found, obj)


def webhooks_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _webhooks(found, new)


def _webhooks(found: Causes, obj: Fields) -> None:
    names: set[str] = set()
    for index, webhook in enumerate(field.items(obj, "webhooks")):
        path, name = f"webhooks[{index}]", webhook.get("name") or ""
        _fully_qualified(found, name, f"{path}.name")
        _webhook(found, webhook, path)
        if name in names:
            found.duplicate(f"{path}.name", name)
        names.add(name)


def _fully_qualified(found: Causes, name: str, path: str) -> None:
    messages = formats.dns_subdomain(name)
    if not name:
        found.required(path)
    elif messages:
        found.invalid(path, name, ",".join(messages))
    elif name.count(".") < 2:
        found.invalid(path, name, "should be a domain with at least three segments separated by dots")


def _webhook(found: Causes, webhook: Fields, path: str) -> None:
    for index, rule in enumerate(field.items(webhook, "rules")):
        admission_rule(found, rule, f"{path}.rules[{index}]")
    found.maybe_one_of(f"{path}.failurePolicy", webhook.get("failurePolicy"), ("Fail", "Ignore"))
    found.maybe_one_of(f"{path}.matchPolicy", webhook.get("matchPolicy"), ("Equivalent", "Exact"))
    effects = webhook.get("sideEffects")
    if effects is None:
        found.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    else:
        found.maybe_one_of(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun"))
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        found.invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for name in ("namespaceSelector", "objectSelector"):
        metadata.label_selector(found, webhook.get(name), f"{path}.{name}")
    _client(found, field.part(webhook, "clientConfig"), f"{path}.clientConfig")
    versions = field.items(webhook, "admissionReviewVersions")
    if not versions:
        found.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif not {"v1", "v1beta1"} & set(versions):
        found.invalid(f"{path}.admissionReviewVersions", versions, "must include at least one of v1, v1beta1")
    found.maybe_one_of(f"{path}.reinvocationPolicy", webhook.get("reinvocationPolicy"), ("IfNeeded", "Never"))


def _client(found: Causes, client: Fields, path: str) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        found.required(path, "exactly one of url or service is required")
    elif url is not None and not url.startswith("https://"):
        found.invalid(f"{path}.url", url, "'https' is the only allowed URL scheme; desired format: https://host[/path]")
    elif service is not None:
        for name in ("name", "namespace"):
            if not service.get(name):
                found.required(f"{path}.service.{name}", f"service {name} is required")
        port = service.get("port", 443)
        if not 1 <= port <= 65535:
            found.invalid(f"{path}.service.port", port, f"port is not valid: {field.between(1, 65535)}")


def admission_rule(found: Causes, rule: Fields, path: str) -> None:
    """Which requests a webhook or an admission policy sees."""
    for name in ("operations", "apiGroups", "apiVersions", "resources"):
        values = field.items(rule, name)
        if not values:
            found.required(f"{path}.{name}")
        if len(values) > 1 and "*" in values and name != "resources":
            found.invalid(
                f"{path}.{name}",
                values,
                "if '*' is present, must not specify other "
                + {
                    "operations": "operations",
                    "apiGroups": "API groups",
                    "apiVersions": "API versions",
                }[name],
            )
    operations = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
    for index, operation in enumerate(field.items(rule, "operations")):
        found.maybe_one_of(f"{path}.operations[{index}]", operation, operations)
    found.maybe_one_of(f"{path}.scope", rule.get("scope"), ("*", "Cluster", "Namespaced"))


def definition(found: Causes, obj: Fields) -> None:
    """CustomResourceDefinition: names, scope and versions."""
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
    _definition_versions(found, field.items(spec, "versions"))


def _definition_versions(found: Causes, versions: list[Fields]) -> None:
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


def definition_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    definition(found, new)
    after, before = field.part(new, "spec"), field.part(old, "spec")
    for name in ("group", "scope"):
        found.unchanged(f"spec.{name}", after.get(name), before.get(name))
    for name in ("kind", "plural"):
        now, then = (field.part(spec, "names").get(name) for spec in (after, before))
        found.unchanged(f"spec.names.{name}", now, then)


def api_service(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.path_segment)
    spec = field.part(obj, "spec")
    wanted = f"{spec.get('version') or ''}.{spec.get('group') or ''}"
    name = field.part(obj, "metadata").get("name") or ""
    if name != wanted:
        found.invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: {field.quoted(wanted)}')
    for key in ("groupPriorityMinimum", "versionPriority"):
        if not 0 < (spec.get(key) or 0) <= (20000 if key == "groupPriorityMinimum" else 1000):
            found.invalid(
                f"spec.{key}",
                spec.get(key) or 0,
                "must be positive and less than " + ("20000" if key == "groupPriorityMinimum" else "1000"),
            )
    service = spec.get("service")
    if service is not None:
        for key in ("name", "namespace"):
            if not service.get(key):
                found.required(f"spec.service.{key}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        found.invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def api_service_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    api_service(found, new)
