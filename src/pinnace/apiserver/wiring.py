"""Which row of the route table is served by what: special resources, and paths that are no resource."""

from collections.abc import Mapping

from pinnace.apiserver import discovery, health, metrics, routes, settings
from pinnace.apiserver.authn import reviews as authn_reviews
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.authz import reviews as authz_reviews

Rows = dict[tuple[str, str, str], Mapping[str, routes.Route]]


def special(decide: authorizer.Authorizer, bearer: tokens.Authenticator, options: settings.Settings) -> Rows:
    authn = authn_reviews.Reviews(bearer, options.api_audiences)
    authz = authz_reviews.Reviews(decide)
    return {
        ("authentication.k8s.io", "tokenreviews", ""): {"POST": routes.Route("create", authn.token_review)},
        ("authentication.k8s.io", "selfsubjectreviews", ""): {
            "POST": routes.Route("create", authn.self_subject_review)
        },
        ("authorization.k8s.io", "subjectaccessreviews", ""): {"POST": routes.Route("create", authz.subject)},
        ("authorization.k8s.io", "localsubjectaccessreviews", ""): {"POST": routes.Route("create", authz.local)},
        ("authorization.k8s.io", "selfsubjectaccessreviews", ""): {"POST": routes.Route("create", authz.myself)},
        ("authorization.k8s.io", "selfsubjectrulesreviews", ""): {"POST": routes.Route("create", authz.my_rules)},
    }


def plain(checks: health.Health, counters: metrics.Metrics) -> dict[str, routes.Route]:
    return {
        "/api": routes.Route("get", discovery.core_versions),
        "/apis": routes.Route("get", discovery.groups),
        "/version": routes.Route("get", health.version),
        "/livez": routes.Route("get", checks.livez),
        "/readyz": routes.Route("get", checks.readyz),
        "/healthz": routes.Route("get", checks.healthz),
        "/metrics": routes.Route("get", health.Exposition(counters).metrics),
    }


def below(checks: health.Health) -> dict[str, routes.Route]:
    return {
        "/api/": routes.Route("get", discovery.below),
        "/apis/": routes.Route("get", discovery.below),
        "/livez/": routes.Route("get", checks.livez),
        "/readyz/": routes.Route("get", checks.readyz),
        "/healthz/": routes.Route("get", checks.healthz),
    }
