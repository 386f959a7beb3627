"""`admissionregistration.k8s.io`: webhooks and policies that see every write."""

import dataclasses

from pinnace.api.rules import base
from pinnace.api.tables import access
from pinnace.api.validation import admission_policies, webhooks
from pinnace.api.warnings import unserved

Object = base.Object


def _validating_webhook_defaults(obj: Object) -> None:
    for webhook in obj.get("webhooks", ()):
        _webhook(webhook)


def _mutating_webhook_defaults(obj: Object) -> None:
    for webhook in obj.get("webhooks", ()):
        _webhook(webhook)
        webhook.setdefault("reinvocationPolicy", "Never")


def _webhook(webhook: Object) -> None:
    webhook.setdefault("failurePolicy", "Fail")
    webhook.setdefault("matchPolicy", "Equivalent")
    webhook.setdefault("namespaceSelector", {})
    webhook.setdefault("objectSelector", {})
    webhook.setdefault("timeoutSeconds", 10)
    for rule in webhook.get("rules") or ():
        rule.setdefault("scope", "*")
    service = webhook.get("clientConfig", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


VALIDATING_WEBHOOKS = base.Rules(
    warnings=unserved.kind,
    defaults=_validating_webhook_defaults,
    generation_of=base.but_status,
    validate_create=webhooks.create,
    update=base.Part(validate=webhooks.update),
    is_conditional_only=True,
    printer=access.WEBHOOKS,
)
MUTATING_WEBHOOKS = dataclasses.replace(VALIDATING_WEBHOOKS, defaults=_mutating_webhook_defaults)


def _policy_defaults(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.get("matchConstraints"))


def _binding_defaults(obj: Object) -> None:
    _match_resources(obj.setdefault("spec", {}).get("matchResources"))


def _match_resources(match: Object | None) -> None:
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    for rule in (*(match.get("resourceRules") or ()), *match.get("excludeResourceRules", ())):
        rule.setdefault("scope", "*")


VALIDATING_POLICY = base.Rules(
    warnings=unserved.kind,
    defaults=_policy_defaults,
    generation_of=base.but_status,
    validate_create=admission_policies.validating,
    update=base.Part(validate=admission_policies.validating_update),
    is_conditional_only=True,
    printer=access.VALIDATING_ADMISSION_POLICY,
)
VALIDATING_BINDING = base.Rules(
    defaults=_binding_defaults,
    generation_of=base.but_status,
    validate_create=admission_policies.validating_binding,
    update=base.Part(validate=admission_policies.validating_binding_update),
    is_conditional_only=True,
    printer=access.POLICY_BINDING,
)
MUTATING_POLICY = base.Rules(
    warnings=unserved.kind,
    defaults=_policy_defaults,
    generation_of=base.but_status,
    validate_create=admission_policies.mutating,
    update=base.Part(validate=admission_policies.mutating_update),
    printer=access.MUTATING_ADMISSION_POLICY,
)
MUTATING_BINDING = base.Rules(
    defaults=_binding_defaults,
    generation_of=base.but_status,
    validate_create=admission_policies.mutating_binding,
    update=base.Part(validate=admission_policies.mutating_binding_update),
    printer=access.POLICY_BINDING,
)


def _row(kind: str, plural: str, rules: base.Rules, subs: tuple[base.Sub, ...] = ()) -> base.Row:
    return base.Row(kind, plural, base.CLUSTER, categories=base.EXTENSION, subs=subs, rules=rules)


PREVIEWS: base.Rows = (
    _row("MutatingAdmissionPolicy", "mutatingadmissionpolicies", MUTATING_POLICY),
    _row("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", MUTATING_BINDING),
)
V1: base.Rows = (
    *PREVIEWS,
    _row("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", MUTATING_WEBHOOKS),
    _row("ValidatingAdmissionPolicy", "validatingadmissionpolicies", VALIDATING_POLICY, base.STATUS),
    _row("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", VALIDATING_BINDING),
    _row("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", VALIDATING_WEBHOOKS),
)
