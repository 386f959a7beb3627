"""Validating and mutating webhook configurations, and the rules that say which requests a webhook or a policy sees."""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes


def create(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _webhooks(found, obj)


def update(found: Causes, new: Fields, old: Fields) -> None:
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
