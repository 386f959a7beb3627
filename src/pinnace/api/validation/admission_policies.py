"""Admission policies and their bindings (pkg/apis/admissionregistration/validation). Expressions are not compiled."""

from pinnace.api.validation import field, formats, metadata, webhooks

Fields = field.Fields
Causes = field.Causes

_NEITHER = "validations or auditAnnotations must be non-empty"
_TWICE = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and "
    "headers serves no purpose)"
)
_SELECTORS = ("namespaceSelector", "objectSelector")


def validating(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _validating_spec(found, field.part(obj, "spec"))


def validating_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _validating_spec(found, field.part(new, "spec"))


def mutating(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _mutating_spec(found, field.part(obj, "spec"))


def mutating_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _mutating_spec(found, field.part(new, "spec"))


def validating_binding(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _validating_binding_spec(found, field.part(obj, "spec"))


def validating_binding_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _validating_binding_spec(found, field.part(new, "spec"))


def mutating_binding(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _binding_spec(found, field.part(obj, "spec"))


def mutating_binding_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _binding_spec(found, field.part(new, "spec"))


def _validating_spec(found: Causes, spec: Fields) -> None:
    _policy_spec(found, spec)
    validations, annotations = field.items(spec, "validations"), field.items(spec, "auditAnnotations")
    if not validations and not annotations:
        found.required("spec.validations", _NEITHER)
        found.required("spec.auditAnnotations", _NEITHER)
    for index, validation in enumerate(validations):
        path = f"spec.validations[{index}]"
        if not (validation.get("expression") or "").strip():
            found.required(f"{path}.expression", "expression is not specified")
        message = validation.get("message") or ""
        if message and not message.strip():
            found.invalid(f"{path}.message", message, "message must be non-empty if specified")
        elif "\n" in message:
            found.invalid(f"{path}.message", message, "message must not contain line breaks")
        reason = validation.get("reason")
        found.maybe_one_of(f"{path}.reason", reason, ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"))
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        _audit_annotation(found, annotation, f"spec.auditAnnotations[{index}]", seen)


def _audit_annotation(found: Causes, annotation: Fields, path: str, seen: set[str]) -> None:
    key = annotation.get("key") or ""
    if not key:
        found.required(f"{path}.key")
    else:
        found.messages(f"{path}.key", key, formats.qualified_name(key))
    if not (annotation.get("valueExpression") or "").strip():
        found.required(f"{path}.valueExpression", "valueExpression is not specified")
    if key in seen:
        found.duplicate(f"{path}.key", key)
    seen.add(key)


def _mutating_spec(found: Causes, spec: Fields) -> None:
    _policy_spec(found, spec)
    found.one_of("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), ("IfNeeded", "Never"))
    mutations = field.items(spec, "mutations")
    if not mutations:
        found.required("spec.mutations", "mutations must contain at least one item")
    ways = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
    for index, mutation in enumerate(mutations):
        path, kind = f"spec.mutations[{index}]", mutation.get("patchType") or ""
        found.one_of(f"{path}.patchType", kind, tuple(ways))
        for name, member in ways.items():
            given = mutation.get(member)
            if name == kind and given is None:
                found.required(f"{path}.{member}", f"must be specified when patchType is {name}")
            elif name == kind and not (given.get("expression") or "").strip():
                found.required(f"{path}.{member}.expression", "expression is not specified")
            elif name != kind and given is not None and kind in ways:
                found.invalid(f"{path}.{member}", "{" + member + "}", f"must not be specified when patchType is {kind}")


def _policy_spec(found: Causes, spec: Fields) -> None:
    found.one_of("spec.failurePolicy", spec.get("failurePolicy"), ("Fail", "Ignore"))
    kind = spec.get("paramKind")
    if kind is not None:
        for name in ("apiVersion", "kind"):
            if not kind.get(name):
                found.required(f"spec.paramKind.{name}")
    constraints = spec.get("matchConstraints")
    if constraints is None:
        found.required("spec.matchConstraints")
    else:
        _match_resources(found, constraints, "spec.matchConstraints")
        if not field.items(constraints, "resourceRules"):
            found.required("spec.matchConstraints.resourceRules")
    names: set[str] = set()
    for index, condition in enumerate(field.items(spec, "matchConditions")):
        path, name = f"spec.matchConditions[{index}]", condition.get("name") or ""
        if not (condition.get("expression") or "").strip():
            found.required(f"{path}.expression")
        if not name:
            found.required(f"{path}.name")
        else:
            found.messages(f"{path}.name", name, formats.qualified_name(name))
            if name in names:
                found.duplicate(f"{path}.name", name)
        names.add(name)


def _match_resources(found: Causes, match: Fields, path: str) -> None:
    found.maybe_one_of(f"{path}.matchPolicy", match.get("matchPolicy"), ("Equivalent", "Exact"))
    for name in _SELECTORS:
        metadata.label_selector(found, match.get(name), f"{path}.{name}")
    for name in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(field.items(match, name)):
            webhooks.admission_rule(found, rule, f"{path}.{name}[{index}]")


def _binding_spec(found: Causes, spec: Fields) -> None:
    name = spec.get("policyName") or ""
    if not name:
        found.required("spec.policyName")
    else:
        found.messages("spec.policyName", name, formats.dns_subdomain(name))
    reference = spec.get("paramRef")
    if reference is not None:
        _param_reference(found, reference)
    if spec.get("matchResources") is not None:
        _match_resources(found, spec["matchResources"], "spec.matchResources")


def _param_reference(found: Causes, reference: Fields) -> None:
    path = "spec.paramRef"
    name, selector = reference.get("name") or "", reference.get("selector")
    if name:
        found.messages(f"{path}.name", name, formats.path_segment(name))
    if name and selector is not None:
        found.forbidden(f"{path}.name", "name and selector are mutually exclusive")
    elif not name and selector is None:
        found.required(path, "one of name or selector must be specified")
    if selector is not None:
        metadata.label_selector(found, selector, f"{path}.selector")
    found.one_of(f"{path}.parameterNotFoundAction", reference.get("parameterNotFoundAction"), ("Allow", "Deny"))


def _validating_binding_spec(found: Causes, spec: Fields) -> None:
    _binding_spec(found, spec)
    actions = field.items(spec, "validationActions")
    if not actions:
        found.required("spec.validationActions", "at least one validation action is required")
    for index, action in enumerate(actions):
        path = f"spec.validationActions[{index}]"
        found.maybe_one_of(path, action, ("Audit", "Deny", "Warn"))
        if action in actions[:index]:
            found.duplicate(path, action)
    if "Deny" in actions and "Warn" in actions:
        found.invalid("spec.validationActions", actions, _TWICE)
