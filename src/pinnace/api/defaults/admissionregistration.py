"""Defaults of `admissionregistration.k8s.io`."""

from typing import Any

Object = dict[str, Any]

GROUP = "admissionregistration.k8s.io"


def validating_webhooks(obj: Object) -> None:
    for webhook in obj.get("webhooks", ()):
        _webhook(webhook)


def mutating_webhooks(obj: Object) -> None:
    for webhook in obj.get("webhooks", ()):
        _webhook(webhook)
        webhook.setdefault("reinvocationPolicy", "Never")


def _webhook(webhook: Object) -> None:
    webhook.setdefault("failurePolicy", "Fail")
    webhook.setdefault("matchPolicy", "Equivalent")
    webhook.setdefault("namespaceSelector", {})
    webhook.setdefault("objectSelector", {})
    webhook.setdefault("timeoutSeconds", 10)
    for rule in webhook.get("rules", ()):
        rule.setdefault("scope", "*")
    service = webhook.get("clientConfig", {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.get("matchConstraints"))


def policy_binding(obj: Object) -> None:
    _match_resources(obj.setdefault("spec", {}).get("matchResources"))


def _match_resources(match: Object | None) -> None:
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    for rule in (*match.get("resourceRules", ()), *match.get("excludeResourceRules", ())):
        rule.setdefault("scope", "*")


TABLE = {
    (GROUP, "v1", "ValidatingWebhookConfiguration"): validating_webhooks,
    (GROUP, "v1", "MutatingWebhookConfiguration"): mutating_webhooks,
    **{
        (GROUP, version, kind): policy
        for version in ("v1", "v1beta1", "v1alpha1")
        for kind in ("ValidatingAdmissionPolicy", "MutatingAdmissionPolicy")
    },
    **{
        (GROUP, version, kind): policy_binding
        for version in ("v1", "v1beta1", "v1alpha1")
        for kind in ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding")
    },
}
