"""Where a pod may run: affinity, tolerations, topology spread, node selectors."""

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def affinity(found: Causes, given: Fields | None, path: str) -> None:
    if given is None:
        return
    nodes = field.part(given, "nodeAffinity")
    if _REQUIRED in nodes:
        node_selector(found, nodes[_REQUIRED], f"{path}.nodeAffinity.{_REQUIRED}")
    for index, term in enumerate(field.items(nodes, _PREFERRED)):
        here = f"{path}.nodeAffinity.{_PREFERRED}[{index}]"
        _weight(found, term, here)
        _node_term(found, field.part(term, "preference"), f"{here}.preference", any_values=True)
    for name in ("podAffinity", "podAntiAffinity"):
        pods = field.part(given, name)
        for index, term in enumerate(field.items(pods, _REQUIRED)):
            _pod_term(found, term, f"{path}.{name}.{_REQUIRED}[{index}]")
        for index, weighted in enumerate(field.items(pods, _PREFERRED)):
            here = f"{path}.{name}.{_PREFERRED}[{index}]"
            _weight(found, weighted, here)
            _pod_term(found, field.part(weighted, "podAffinityTerm"), f"{here}.podAffinityTerm")


def _weight(found: Causes, term: Fields, path: str) -> None:
    weight = term.get("weight") or 0
    if not 1 <= weight <= 100:
        found.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def node_selector(found: Causes, selector: Fields, path: str) -> None:
    terms = field.items(selector, "nodeSelectorTerms")
    if not terms:
        found.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        _node_term(found, term, f"{path}.nodeSelectorTerms[{index}]", any_values=False)


def _node_term(found: Causes, term: Fields, path: str, *, any_values: bool) -> None:
    for index, requirement in enumerate(field.items(term, "matchExpressions")):
        _node_requirement(found, requirement, f"{path}.matchExpressions[{index}]", any_values=any_values)
    for index, requirement in enumerate(field.items(term, "matchFields")):
        _node_field(found, requirement, f"{path}.matchFields[{index}]")


def _node_requirement(found: Causes, requirement: Fields, path: str, *, any_values: bool) -> None:
    operator, values = requirement.get("operator") or "", field.items(requirement, "values")
    match operator:
        case "In" | "NotIn":
            if not values:
                found.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        case "Exists" | "DoesNotExist":
            if values:
                found.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        case "Gt" | "Lt":
            if len(values) != 1:
                found.required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        case _:
            found.invalid(f"{path}.operator", operator, "not a valid selector operator")
    metadata.label_name(found, requirement.get("key") or "", f"{path}.key")
    if not any_values:
        for index, value in enumerate(values):
            found.messages(f"{path}.values[{index}]", value, formats.label_value(value))


def _node_field(found: Causes, requirement: Fields, path: str) -> None:
    operator, values = requirement.get("operator") or "", field.items(requirement, "values")
    if operator in ("In", "NotIn"):
        if len(values) != 1:
            found.required(
                f"{path}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
    else:
        found.invalid(f"{path}.operator", operator, "not a valid selector operator")
    key = requirement.get("key") or ""
    if key != "metadata.name":
        found.invalid(f"{path}.key", key, "not a valid field selector key")
    else:
        for index, value in enumerate(values):
            found.messages(f"{path}.values[{index}]", value, formats.dns_subdomain(value))


def _pod_term(found: Causes, term: Fields, path: str) -> None:
    for name in ("labelSelector", "namespaceSelector"):
        metadata.label_selector(found, term.get(name), f"{path}.{name}")
    for namespace in field.items(term, "namespaces"):
        found.messages(f"{path}.namespace", namespace, formats.dns_label(namespace))
    for name in ("matchLabelKeys", "mismatchLabelKeys"):
        _label_keys(found, term, name, path)
    both = set(field.items(term, "mismatchLabelKeys"))
    for index, key in enumerate(field.items(term, "matchLabelKeys")):
        if key in both:
            found.invalid(f"{path}.matchLabelKeys[{index}]", key, "exists in both matchLabelKeys and mismatchLabelKeys")
    topology = term.get("topologyKey") or ""
    if not topology:
        found.required(f"{path}.topologyKey", "can not be empty")
    metadata.label_name(found, topology, f"{path}.topologyKey")


def _label_keys(found: Causes, term: Fields, name: str, path: str) -> None:
    keys = field.items(term, name)
    if keys and term.get("labelSelector") is None:
        found.forbidden(f"{path}.{name}", "must not be specified when labelSelector is not set")
        return
    for index, key in enumerate(keys):
        metadata.label_name(found, key, f"{path}.{name}[{index}]")


def tolerations(found: Causes, given: list[Fields], path: str) -> None:
    for index, toleration in enumerate(given):
        here = f"{path}[{index}]"
        key, operator, effect = (toleration.get(name) or "" for name in ("key", "operator", "effect"))
        value = toleration.get("value") or ""
        if key:
            metadata.label_name(found, key, f"{here}.key")
        elif operator != "Exists":
            found.invalid(
                f"{here}.operator",
                operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            found.invalid(f"{here}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        match operator:
            case "" | "Equal":
                messages = formats.label_value(value)
                if messages:
                    found.invalid(f"{here}.operator", value, ";".join(messages))
            case "Exists":
                if value:
                    found.invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'")
            case _:
                found.not_supported(f"{here}.operator", operator, ("Equal", "Exists"))
        if effect:
            found.maybe_one_of(f"{here}.effect", effect, TAINT_EFFECTS, is_sorted=False)


def only_added_tolerations(found: Causes, new: list[Fields], old: list[Fields], path: str) -> None:
    """Tolerations may be added and their seconds changed, nothing else."""
    known = [_without_seconds(toleration) for toleration in new]
    if any(_without_seconds(toleration) not in known for toleration in old):
        found.forbidden(path, "existing toleration can not be modified except its tolerationSeconds")
        return
    tolerations(found, new, path)


def _without_seconds(toleration: Fields) -> Fields:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def spread(found: Causes, constraints: list[Fields], path: str) -> None:
    for index, constraint in enumerate(constraints):
        here = f"{path}[{index}]"
        skew = constraint.get("maxSkew") or 0
        if skew <= 0:
            found.invalid(f"{here}.maxSkew", skew, field.POSITIVE)
        topology, action = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if not topology:
            found.required(f"{here}.topologyKey", "can not be empty")
        found.maybe_one_of(f"{here}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        for other in constraints[index + 1 :]:
            if (other.get("topologyKey") or "", other.get("whenUnsatisfiable") or "") == (topology, action):
                found.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{topology}, {action}}}")
                break
        _min_domains(found, constraint.get("minDomains"), action, f"{here}.minDomains")
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            found.maybe_one_of(f"{here}.{name}", constraint.get(name), ("Honor", "Ignore"))
        _spread_label_keys(found, constraint, f"{here}.matchLabelKeys")
        metadata.label_selector(found, constraint.get("labelSelector"), f"{here}.labelSelector")


def _min_domains(found: Causes, value: int | None, action: str, path: str) -> None:
    if value is None:
        return
    if value <= 0:
        found.invalid(path, value, field.POSITIVE)
    if action != "DoNotSchedule":
        found.invalid(path, value, f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}")


def _spread_label_keys(found: Causes, constraint: Fields, path: str) -> None:
    keys, selector = field.items(constraint, "matchLabelKeys"), constraint.get("labelSelector")
    if not keys:
        return
    if selector is None:
        found.forbidden(path, "must not be specified when labelSelector is not set")
    known = {*field.part(selector, "matchLabels")} | {
        requirement.get("key") for requirement in field.items(selector, "matchExpressions")
    }
    for index, key in enumerate(keys):
        metadata.label_name(found, key, f"{path}[{index}]")
        if key in known:
            found.invalid(f"{path}[{index}]", key, "exists in both matchLabelKeys and labelSelector")


def taints(found: Causes, given: list[Fields], path: str) -> None:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(given):
        here = f"{path}[{index}]"
        key, value, effect = (taint.get(name) or "" for name in ("key", "value", "effect"))
        metadata.label_name(found, key, f"{here}.key")
        messages = formats.label_value(value)
        if messages:
            found.invalid(f"{here}.value", value, ";".join(messages))
        found.one_of(f"{here}.effect", effect, TAINT_EFFECTS, is_sorted=False)
        if (key, effect) in seen:
            found.duplicate(here, taint, "taints must be unique by key and effect pair")
        seen.add((key, effect))
