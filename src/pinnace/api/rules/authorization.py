"""`authorization.k8s.io`: may somebody do something. Nothing here is stored."""

from pinnace.api.rules import base

V1: base.Rows = (
    base.review("LocalSubjectAccessReview", base.NAMESPACED),
    base.review("SelfSubjectAccessReview"),
    base.review("SelfSubjectRulesReview"),
    base.review("SubjectAccessReview"),
)
