"""Flow schemas and priority levels (pkg/apis/flowcontrol/validation)."""

import math
from typing import Any

from pinnace.api.validation import field, formats, metadata

Fields = field.Fields
Causes = field.Causes

EXEMPT, CATCH_ALL = "exempt", "catch-all"
_MOST_PRECEDENCE = 10_000
_MOST_QUEUES = 10_000_000
_MOST_ENTROPY = 60
"""Bits of one hash from which a hand of queues is dealt."""
_VERBS = frozenset(("get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy"))
_HTTP_VERBS = frozenset(("get", "head", "post", "put", "patch", "delete", "options"))
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}


def flow_schema(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _schema_spec(found, obj)


def flow_schema_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _schema_spec(found, new)


def _schema_spec(found: Causes, obj: Fields) -> None:
    spec, name = field.part(obj, "spec"), field.part(obj, "metadata").get("name")
    path, precedence = "spec.matchingPrecedence", spec.get("matchingPrecedence") or 0
    if precedence <= 0:
        found.invalid(path, precedence, "must be a positive value")
    if precedence > _MOST_PRECEDENCE:
        found.invalid(path, precedence, f"must not be greater than {_MOST_PRECEDENCE}")
    if precedence == 1 and name != EXEMPT:
        found.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        found.not_supported("spec.distinguisherMethod.type", method.get("type") or "", ("ByNamespace", "ByUser"))
    level = field.part(spec, "priorityLevelConfiguration").get("name") or ""
    if level:
        found.messages("spec.priorityLevelConfiguration.name", level, formats.dns_subdomain(level))
    else:
        found.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for index, rule in enumerate(field.items(spec, "rules")):
        _rules(found, rule, f"spec.rules[{index}]")


def _rules(found: Causes, rules: Fields, path: str) -> None:
    subjects = field.items(rules, "subjects")
    if not subjects:
        found.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        _subject(found, subject, f"{path}.subjects[{index}]")
    resource, other = field.items(rules, "resourceRules"), field.items(rules, "nonResourceRules")
    if not resource and not other:
        found.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, rule in enumerate(resource):
        _resource_rule(found, rule, f"{path}.resourceRules[{index}]")
    for index, rule in enumerate(other):
        _url_rule(found, rule, f"{path}.nonResourceRules[{index}]")


def _subject(found: Causes, subject: Fields, path: str) -> None:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        found.not_supported(f"{path}.kind", kind, sorted(_SUBJECTS))
        return
    own = _SUBJECTS[kind]
    for other_kind, other in _SUBJECTS.items():
        if other != own and subject.get(other) is not None:
            found.forbidden(f"{path}.{other}", f"{other} is forbidden when subject kind is not '{other_kind}'")
    named = subject.get(own)
    if named is None:
        found.required(f"{path}.{own}", f"{own} is required when subject kind is '{kind}'")
        return
    name = named.get("name") or ""
    if not name:
        found.required(f"{path}.{own}.name")
    elif kind == "ServiceAccount" and name != "*":
        found.messages(f"{path}.{own}.name", name, formats.dns_subdomain(name))
    if kind == "ServiceAccount":
        _account_namespace(found, named.get("namespace") or "", f"{path}.{own}.namespace")


def _account_namespace(found: Causes, namespace: str, path: str) -> None:
    if namespace:
        found.messages(path, namespace, formats.dns_label(namespace))
    else:
        found.required(path, "must specify namespace for service account")


def _verbs(found: Causes, rule: Fields, path: str, supported: frozenset[str]) -> None:
    verbs = field.items(rule, "verbs")
    if not verbs:
        found.required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" in verbs:
        _alone(found, verbs, f"{path}.verbs", "verbs")
    elif not supported.issuperset(verbs):
        found.not_supported(f"{path}.verbs", verbs, sorted(supported))


def _alone(found: Causes, values: list[Any], path: str, what: str) -> None:
    if "*" in values and len(values) > 1:
        found.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resource_rule(found: Causes, rule: Fields, path: str) -> None:
    _verbs(found, rule, path, _VERBS)
    for name, what in (("apiGroups", "api group"), ("resources", "resource")):
        values = field.items(rule, name)
        if not values:
            found.required(f"{path}.{name}", f"resource rules must supply at least one {what}")
        _alone(found, values, f"{path}.{name}", f"{what}s")
    namespaces = field.items(rule, "namespaces")
    if not namespaces and not rule.get("clusterScope"):
        found.required(
            f"{path}.namespaces", "resource rules that are not cluster scoped must supply at least one namespace"
        )
    elif "*" in namespaces:
        _alone(found, namespaces, f"{path}.namespaces", "namespaces")
    else:
        for index, namespace in enumerate(namespaces):
            found.messages(f"{path}.namespaces[{index}]", namespace, formats.dns_label(namespace))


def _url_rule(found: Causes, rule: Fields, path: str) -> None:
    _verbs(found, rule, path, _HTTP_VERBS)
    urls = field.items(rule, "nonResourceURLs")
    if not urls:
        found.required(f"{path}.nonResourceURLs", "nonResourceURLs must contain at least one value")
    elif "*" in urls:
        _alone(found, urls, f"{path}.nonResourceURLs", "non-resource URLs")
    else:
        for index, url in enumerate(urls):
            _url(found, url, f"{path}.nonResourceURLs[{index}]")


def _url(found: Causes, url: str, path: str) -> None:
    wildcards = url.count("*")
    if not url:
        found.invalid(path, url, "must not be empty")
    elif not url.startswith("/"):
        found.invalid(path, url, "must start with slash")
    elif " " in url:
        found.invalid(path, url, "must not contain white-space")
    elif "//" in url:
        found.invalid(path, url, "must not contain double slash")
    elif wildcards > 1 or (wildcards and not url.endswith("/*")):
        found.invalid(path, url, "wildcard can only do suffix matching")


def priority_level(found: Causes, obj: Fields) -> None:
    metadata.create(found, obj, namespaced=False, name_rule=formats.dns_subdomain)
    _level_spec(found, obj)


def priority_level_update(found: Causes, new: Fields, old: Fields) -> None:
    metadata.update(found, new, old)
    _level_spec(found, new)


def _level_spec(found: Causes, obj: Fields) -> None:
    spec, name = field.part(obj, "spec"), field.part(obj, "metadata").get("name")
    kind, exempt, limited = spec.get("type") or "", spec.get("exempt"), spec.get("limited")
    if (name == EXEMPT) != (kind == "Exempt"):
        found.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            found.forbidden("spec.limited", "must be nil if the type is not Limited")
        _shares(found, exempt or {}, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            found.forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            found.required("spec.limited", "must not be empty when type is Limited")
        else:
            _limited(found, limited)
    else:
        found.not_supported("spec.type", kind, ("Exempt", "Limited"))


def _shares(found: Causes, part: Fields, path: str) -> None:
    shares, lendable = part.get("nominalConcurrencyShares"), part.get("lendablePercent")
    if shares is not None and shares < 0:
        found.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if lendable is not None and not 0 <= lendable <= 100:
        found.invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _limited(found: Causes, limited: Fields) -> None:
    path = "spec.limited"
    _shares(found, limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        found.invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")
    response = field.part(limited, "limitResponse")
    kind, queuing = response.get("type") or "", response.get("queuing")
    path = f"{path}.limitResponse"
    if kind == "Reject":
        if queuing is not None:
            found.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            found.required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited")
        else:
            _queuing(found, queuing, f"{path}.queuing")
    else:
        found.not_supported(f"{path}.type", kind, ("Queue", "Reject"))


def _queuing(found: Causes, queuing: Fields, path: str) -> None:
    length, queues, hand = (queuing.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        found.invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        found.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _MOST_QUEUES:
        found.invalid(f"{path}.queues", queues, f"must not be greater than {_MOST_QUEUES}")
    if hand <= 0:
        found.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        found.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif queues <= _MOST_QUEUES and entropy_bits(queues, hand) > _MOST_ENTROPY:
        found.invalid(
            f"{path}.handSize",
            hand,
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_MOST_ENTROPY}",
        )


def entropy_bits(queues: int, hand: int) -> int:
    """How many random bits upstream takes to deal `hand` of `queues`."""
    return math.ceil(math.log2(queues) * hand)
