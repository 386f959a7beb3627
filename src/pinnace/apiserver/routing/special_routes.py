"""Which row of the route table is served by what: special resources, and paths that are no resource."""

from collections.abc import Mapping

from pinnace.apiserver import settings
from pinnace.apiserver.authn import reviews as authn_reviews
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.authz import reviews as authz_reviews
from pinnace.apiserver.endpoints import discovery, health, metrics, openapi, openid
from pinnace.apiserver.routing import routes
from pinnace.apiserver.subresources import binding, component_statuses, eviction, scale, token, tunnels

Rows = dict[tuple[str, str, str], Mapping[str, routes.Route]]

_SCALE = {
    "GET": routes.Route("get", scale.get),
    "PUT": routes.Route("update", scale.update),
    "PATCH": routes.Route("patch", scale.patch),
}
_SCALED = (
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
)
_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"


def special(
    decide: authorizer.Authorizer,
    issuer: tokens.Issuer,
    bearer: tokens.Authenticator,
    options: settings.Settings,
    tunnel: tunnels.Tunnels,
) -> Rows:
    authn = authn_reviews.Reviews(bearer, options.api_audiences)
    authz = authz_reviews.Reviews(decide)
    route = routes.Route
    rows: Rows = {
        (_AUTHENTICATION, "tokenreviews", ""): {"POST": route("create", authn.token_review)},
        (_AUTHENTICATION, "selfsubjectreviews", ""): {"POST": route("create", authn.self_subject_review)},
        (_AUTHORIZATION, "subjectaccessreviews", ""): {"POST": route("create", authz.subject)},
        (_AUTHORIZATION, "localsubjectaccessreviews", ""): {"POST": route("create", authz.local)},
        (_AUTHORIZATION, "selfsubjectaccessreviews", ""): {"POST": route("create", authz.myself)},
        (_AUTHORIZATION, "selfsubjectrulesreviews", ""): {"POST": route("create", authz.my_rules)},
        ("", "bindings", ""): {"POST": route("create", binding.bind)},
        ("", "componentstatuses", ""): {
            "GET": route("list", component_statuses.list_),
            "GET object": route("get", component_statuses.get),
        },
        ("", "serviceaccounts", "token"): {"POST": route("create", token.TokenRequests(issuer).create)},
        ("", "pods", "binding"): {"POST": route("create", binding.bind)},
        ("", "pods", "eviction"): {"POST": route("create", eviction.evict)},
    }
    for resource in _SCALED:
        rows[(*resource, "scale")] = _SCALE
    return rows | _tunnelled(tunnel)


def _tunnelled(tunnel: tunnels.Tunnels) -> Rows:
    route = routes.Route
    return {
        ("", "pods", "log"): {"GET": route("get", tunnel.log, is_long=True)},
        ("", "pods", "exec"): _connect(tunnel.exec),
        ("", "pods", "attach"): _connect(tunnel.attach),
        ("", "pods", "portforward"): _connect(tunnel.port_forward),
        ("", "pods", "proxy"): _proxied(tunnel.pod_proxy),
        ("", "services", "proxy"): _proxied(tunnel.service_proxy),
        ("", "nodes", "proxy"): _proxied(tunnel.node_proxy),
    }


def _connect(handler: routes.Handler) -> Mapping[str, routes.Route]:
    return {
        "GET": routes.Route("get", handler, is_long=True),
        "POST": routes.Route("create", handler, is_long=True),
    }


def _proxied(handler: routes.Handler) -> Mapping[str, routes.Route]:
    # OPTIONS has no verb of its own: whoever may do everything may ask it.
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "OPTIONS": ""}
    return {method: routes.Route(verb, handler, is_long=True) for method, verb in verbs.items()}


def plain(checks: health.Health, counters: metrics.Metrics, keys: openid.OpenId) -> dict[str, routes.Route]:
    found = {
        "/api": routes.Route("get", discovery.core_versions),
        "/apis": routes.Route("get", discovery.groups),
        "/version": routes.Route("get", health.version),
        "/livez": routes.Route("get", checks.livez),
        "/readyz": routes.Route("get", checks.readyz),
        "/healthz": routes.Route("get", checks.healthz),
        "/metrics": routes.Route("get", health.Exposition(counters).metrics),
        "/openapi/v2": routes.Route("get", openapi.v2),
        "/openapi/v3": routes.Route("get", openapi.v3_index),
        "/.well-known/openid-configuration": routes.Route("get", keys.configuration),
        "/openid/v1/jwks": routes.Route("get", keys.keys),
    }
    return {"/": routes.Route("get", discovery.Root(found).paths), **found}


def below(checks: health.Health) -> dict[str, routes.Route]:
    return {
        "/api/": routes.Route("get", discovery.below),
        "/apis/": routes.Route("get", discovery.below),
        "/livez/": routes.Route("get", checks.livez),
        "/readyz/": routes.Route("get", checks.readyz),
        "/healthz/": routes.Route("get", checks.healthz),
        "/openapi/v3/": routes.Route("get", openapi.v3_document),
    }
