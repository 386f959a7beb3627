"""Which row of the route table is served by what: special resources, and paths that are no resource."""

from pinnace.apiserver import settings
from pinnace.apiserver.authn import reviews as authn_reviews
from pinnace.apiserver.authn import tokens
from pinnace.apiserver.authz import authorizer
from pinnace.apiserver.authz import reviews as authz_reviews
from pinnace.apiserver.endpoints import discovery, health, metrics, openapi, openid
from pinnace.apiserver.routing import routes
from pinnace.apiserver.subresources import binding, component_statuses, eviction, token, tunnels

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"


def special(
    decide: authorizer.Authorizer,
    issuer: tokens.Issuer,
    bearer: tokens.Authenticator,
    options: settings.Settings,
    tunnel: tunnels.Tunnels,
) -> routes.Rows:
    authn = authn_reviews.Reviews(bearer, options.api_audiences)
    authz = authz_reviews.Reviews(decide)
    route, place = routes.Route, routes.Place
    return _tunnelled(tunnel) | {
        place(_AUTHENTICATION, "tokenreviews"): {"POST": route("create", authn.token_review)},
        place(_AUTHENTICATION, "selfsubjectreviews"): {"POST": route("create", authn.self_subject_review)},
        place(_AUTHORIZATION, "subjectaccessreviews"): {"POST": route("create", authz.subject)},
        place(_AUTHORIZATION, "localsubjectaccessreviews"): {"POST": route("create", authz.local)},
        place(_AUTHORIZATION, "selfsubjectaccessreviews"): {"POST": route("create", authz.myself)},
        place(_AUTHORIZATION, "selfsubjectrulesreviews"): {"POST": route("create", authz.my_rules)},
        place("", "bindings"): {"POST": route("create", binding.bind)},
        place("", "componentstatuses"): {"GET": route("list", component_statuses.list_)},
        place("", "componentstatuses", is_object=True): {"GET": route("get", component_statuses.get)},
        place("", "serviceaccounts", "token"): {"POST": route("create", token.TokenRequests(issuer).create)},
        place("", "pods", "binding"): {"POST": route("create", binding.bind)},
        place("", "pods", "eviction"): {"POST": route("create", eviction.evict)},
    }


def _tunnelled(tunnel: tunnels.Tunnels) -> dict[routes.Place, routes.Methods]:
    route, place = routes.Route, routes.Place
    return {
        place("", "pods", "log"): {"GET": route("get", tunnel.log, is_long=True)},
        place("", "pods", "exec"): _connect(tunnel.exec),
        place("", "pods", "attach"): _connect(tunnel.attach),
        place("", "pods", "portforward"): _connect(tunnel.port_forward),
        place("", "pods", "proxy"): _proxied(tunnel.pod_proxy),
        place("", "services", "proxy"): _proxied(tunnel.service_proxy),
        place("", "nodes", "proxy"): _proxied(tunnel.node_proxy),
    }


def _connect(handler: routes.Handler) -> routes.Methods:
    return {
        "GET": routes.Route("get", handler, is_long=True),
        "POST": routes.Route("create", handler, is_long=True),
    }


def _proxied(handler: routes.Handler) -> routes.Methods:
    # OPTIONS has no verb of its own: whoever may do everything may ask it.
    verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "OPTIONS": ""}
    return {method: routes.Route(verb, handler, is_long=True) for method, verb in verbs.items()}


def plain(checks: health.Health, counters: metrics.Metrics, keys: openid.OpenId) -> dict[str, routes.Route]:
    found = {
        "/api": routes.Route("get", discovery.core_versions),
        "/apis": routes.Route("get", discovery.groups),
        "/version": routes.Route("get", health.version),
        "/livez": routes.Route("get", checks.livez, is_exempt=True),
        "/readyz": routes.Route("get", checks.readyz, is_exempt=True),
        "/healthz": routes.Route("get", checks.healthz, is_exempt=True),
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
        "/livez/": routes.Route("get", checks.livez, is_exempt=True),
        "/readyz/": routes.Route("get", checks.readyz, is_exempt=True),
        "/healthz/": routes.Route("get", checks.healthz, is_exempt=True),
        "/openapi/v3/": routes.Route("get", openapi.v3_document),
    }
