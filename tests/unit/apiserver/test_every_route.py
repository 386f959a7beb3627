"""Every route, every method, every kind of stranger: who is let in is what RBAC and the node authoriser say, read a second time.

The second reading is the whole of this file: roles and bindings as the JSON that the server stores, the few things that a node may do
as a table, and verbs by the rules of upstream's RequestInfo. It uses nothing of what it judges.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pinnace.api import kinds
from pinnace.apiserver import users
from pinnace.apiserver.http import query
from pinnace.apiserver.routing import routes
from pinnace.testing import api_server
from pinnace.web import messages

Object = dict[str, Any]

RBAC = "/apis/rbac.authorization.k8s.io/v1"
HOME, LEASES, CLUSTER = "default", "kube-node-lease", ""
NAMES = ("node-a", "node-b", "node-c")
"""Of everything: what is called as a node belongs to it. Nobody is `node-c`, and its pod waits to be scheduled."""

PEOPLE: Mapping[str, users.UserInfo | None] = {
    "anonymous": None,
    "nobody": api_server.user("nobody"),
    **{name: api_server.user(name) for name in ("view", "edit", "admin", "onlooker", "narrow")},
    "masters": api_server.ADMIN,
    **{name: api_server.user(f"system:node:{name}", "system:nodes") for name in ("node-a", "node-b")},
    "account": api_server.user(
        "system:serviceaccount:default:plain", "system:serviceaccounts", "system:serviceaccounts:default"
    ),
}
OWN_ROLES: Mapping[str, list[Object]] = {
    "onlooker": [{"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]}],
    "narrow": [
        {"verbs": ["*"], "apiGroups": ["", "apps"], "resources": ["*/status", "nodes/proxy"]},
        {
            "verbs": ["get", "list", "deletecollection"],
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["node-b"],
        },
        {"verbs": ["get", "post"], "nonResourceURLs": ["/metrics", "/readyz/*"]},
    ],
}


class Asked(NamedTuple):
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    on_node: str = ""
    """The node that the request's field selector says."""


class Cell(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str]
    asked: Asked

    @property
    def url(self) -> str:
        options = {**self.query} if self.method in ("GET", "HEAD") else {**self.query, "dryRun": "All"}
        return f"{self.path}?{'&'.join(f'{name}={value}' for name, value in options.items())}" if options else self.path


# ---------------------------------------------------------------- what there is to ask

METHODS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
OF_MANY = {"get": "list", "delete": "deletecollection"}
CONNECTING = ("exec", "attach", "portforward")
NODE_SELECTED = ("pods", "resourceslices")

PAGES = (
    *(
        "/",
        "/api",
        "/api/",
        "/api/v1",
        "/apis",
        "/apis/",
        "/version",
        "/version/",
        "/metrics",
        "/nothing",
        "/debug/pprof",
        "/logs/",
    ),
    *(
        f"/{check}{below}"
        for check in ("healthz", "livez", "readyz")
        for below in ("", "/", "/ping", "/etcd", "/nothing")
    ),
    *("/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/apis/apps/v1", "/openapi/v3/nothing"),
    *("/.well-known/openid-configuration", "/openid/v1/jwks", "/openid", "/apis/nothing", "/apis/nothing/v1"),
)


def page_cells(served: Iterable[kinds.Kind]) -> Iterator[Cell]:
    groups = {f"/apis/{kind.group}{version}" for kind in served if kind.group for version in ("", f"/{kind.version}")}
    for path, method in itertools.product((*PAGES, *sorted(groups)), METHODS):
        # HEAD is GET here, for pages as for resources.
        verb = "get" if method == "HEAD" else method.lower()
        yield Cell(method, path, {}, Asked(verb, path=path))


def kind_cells(kind: kinds.Kind) -> Iterator[Cell]:
    base = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    # Also where the kind is not: a namespace in front of what has none, no namespace where there must be one.
    for namespace in (CLUSTER, HOME, LEASES):
        if namespace and kind.plural == "namespaces":
            continue
        inside = f"namespaces/{namespace}/" if namespace else ""
        what = Asked("", kind.group, kind.version, kind.plural, namespace=namespace)
        yield from collection_cells(f"{base}/{inside}{kind.plural}", what)
        yield from watch_cells(f"{base}/watch/{inside}{kind.plural}", what)
        for name in (*NAMES, *([HOME] if kind.plural == "namespaces" else [])):
            # A namespace is inside itself.
            one = what._replace(name=name, namespace=name if kind.plural == "namespaces" else namespace)
            yield from watch_cells(f"{base}/watch/{inside}{kind.plural}/{name}", one)
            yield from object_cells(f"{base}/{inside}{kind.plural}/{name}", one)
            for part in kind.subresources:
                path = f"{base}/{inside}{kind.plural}/{name}/{part.name}"
                yield from object_cells(path, one._replace(subresource=part.name))
                if part.name == "proxy":
                    yield from object_cells(f"{path}/metrics/", one._replace(subresource=part.name))
                    yield Cell("OPTIONS", path, {}, one._replace(subresource=part.name))


def collection_cells(path: str, what: Asked) -> Iterator[Cell]:
    for method, verb in METHODS.items():
        yield Cell(method, path, {}, what._replace(verb=OF_MANY.get(verb, verb)))
    for verb, options in (("list", {}), ("watch", {"watch": "1"})):
        yield Cell("GET", path, options, what._replace(verb=verb))
        for name in NAMES[:2]:
            if fits(what):
                selector = {**options, "fieldSelector": f"metadata.name%3D{name}"}
                yield Cell("GET", path, selector, what._replace(verb=verb, name=name))
            if what.resource in NODE_SELECTED and fits(what):
                selector = {**options, "fieldSelector": f"spec.nodeName%3D{name}"}
                yield Cell("GET", path, selector, what._replace(verb=verb, on_node=name))
    if fits(what):
        selector = {"fieldSelector": "metadata.name%3Dnode-b"}
        yield Cell("DELETE", path, selector, what._replace(verb="deletecollection"))


def fits(what: Asked) -> bool:
    """Selectors are read by kinds, where a kind is."""
    return not (what.namespace and SERVED[what.group, what.version, what.resource].namespaced is False)


def watch_cells(path: str, what: Asked) -> Iterator[Cell]:
    for method in METHODS:
        yield Cell(method, path, {}, what._replace(verb="watch"))


def object_cells(path: str, what: Asked) -> Iterator[Cell]:
    for method, verb in METHODS.items():
        yield Cell(method, path, {}, what._replace(verb=verb))


# ---------------------------------------------------------------- RBAC, from what is stored


@dataclasses.dataclass
class Stored:
    """Roles and bindings as the API gives them."""

    cluster_roles: dict[str, Object]
    roles: dict[tuple[str, str], Object]
    bindings: list[Object]

    def rules(self, who: users.UserInfo | None, namespace: str) -> list[Object]:
        """What `who` may do in `namespace`, in the cluster when it is ""."""
        found: list[Object] = []
        for binding in self.bindings:
            home = binding["metadata"].get("namespace", "")
            if home in ("", namespace) and any(
                is_meant(subject, who, home) for subject in binding.get("subjects") or []
            ):
                found += self._of(binding["roleRef"], home)
        return found

    def _of(self, reference: Object, home: str) -> list[Object]:
        name = reference["name"]
        role = self.cluster_roles.get(name) if reference["kind"] == "ClusterRole" else self.roles.get((home, name))
        return (role or {}).get("rules") or []


def is_meant(subject: Object, who: users.UserInfo | None, home: str) -> bool:
    name, groups = ("system:anonymous", ("system:unauthenticated",)) if who is None else (who.name, who.groups)
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == name)
        case "Group":
            return subject["name"] in groups
    return name == f"system:serviceaccount:{subject.get('namespace') or home}:{subject['name']}"


def is_granted(rule: Object, asked: Asked) -> bool:
    if not {"*", asked.verb} & set(rule["verbs"]):
        return False
    if not asked.resource:
        return any(
            url == "*" or url == asked.path or (url.endswith("*") and asked.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs", [])
        )
    wanted = {"*", asked.resource}
    if asked.subresource:
        wanted = {"*", f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}"}
    names = rule.get("resourceNames", [])
    return (
        bool({"*", asked.group} & set(rule.get("apiGroups", [])))
        and bool(wanted & set(rule.get("resources", [])))
        and (not names or asked.name in names)
    )


# ---------------------------------------------------------------- what a node may do

NODE_GRANTS = """
    get list watch              secrets configmaps                                      own-in-namespace
    get                         persistentvolumeclaims serviceaccounts pods             own-in-namespace
    list watch                  pods                                                    own-in-namespace selected
    update patch                persistentvolumeclaims/status                           own-in-namespace
    create                      serviceaccounts/token                                   own-in-namespace
    create delete               pods                                                    any
    update patch                pods/status                                             any
    create                      pods/eviction                                           any
    get list watch              nodes                                                   own
    create update patch         nodes                                                   any
    update patch                nodes/status                                            any
    get                         persistentvolumes volumeattachments.storage.k8s.io      own
    create                      csinodes.storage.k8s.io resourceslices.resource.k8s.io  any
    get update patch delete     csinodes.storage.k8s.io resourceslices.resource.k8s.io  own
    list watch deletecollection resourceslices.resource.k8s.io                          selected
    get                         resourceclaims.resource.k8s.io                          own-in-namespace
    get update patch delete     leases.coordination.k8s.io                              own-lease
    create                      leases.coordination.k8s.io                              lease
    get list watch              services csidrivers.storage.k8s.io runtimeclasses.node.k8s.io   any
    get                         endpoints                                               any
    create update patch         events events.events.k8s.io                             any
    create get list watch       certificatesigningrequests.certificates.k8s.io          any
    create                      tokenreviews.authentication.k8s.io                      any
    create                      subjectaccessreviews.authorization.k8s.io               any
    create                      localsubjectaccessreviews.authorization.k8s.io          any
"""
CONDITIONS = {"any", "own", "own-in-namespace", "selected", "lease", "own-lease"}


def node_grants() -> dict[tuple[str, str], set[str]]:
    """(verb, `plural[/subresource][.group]`) -> conditions, any of which is enough."""
    found: dict[tuple[str, str], set[str]] = {}
    for line in NODE_GRANTS.strip().splitlines():
        words = line.split()
        verbs = list(itertools.takewhile(lambda word: word in {*METHODS.values(), *OF_MANY.values(), "watch"}, words))
        conditions = CONDITIONS & set(words)
        for verb, what in itertools.product(verbs, [word for word in words[len(verbs) :] if word not in conditions]):
            found.setdefault((verb, what), set()).update(conditions)
    return found


GRANTS = node_grants()


def is_nodes_own(node: str, asked: Asked) -> bool:
    what = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    allowed = GRANTS.get((asked.verb, what + (f".{asked.group}" if asked.group else "")), set())
    holds = {
        "any": True,
        "own": asked.name == node,
        "own-in-namespace": asked.name == node and asked.namespace == HOME,
        "selected": asked.on_node == node,
        "lease": asked.namespace == LEASES,
        "own-lease": asked.namespace == LEASES and asked.name == node,
    }
    return any(holds[condition] for condition in allowed)


# ---------------------------------------------------------------- the cluster


async def populate(api: api_server.Api) -> None:
    """A pod of each node with all that a pod may refer to, and one that waits; people with the roles of their names."""
    for name in NAMES:
        node = {"nodeName": name} if name != "node-c" else {}
        await api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
        await api.create(
            "/api/v1/namespaces/default/pods", {"metadata": {"name": name}, "spec": {**pod_spec(name), **node}}
        )
        if name != "node-c":
            await api.create("/apis/resource.k8s.io/v1/resourceslices", slice_of(name))
            spec = {"attacher": "a", "nodeName": name, "source": {"persistentVolumeName": name}}
            await api.create("/apis/storage.k8s.io/v1/volumeattachments", {"metadata": {"name": name}, "spec": spec})
        await api.create("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume_spec(name)})
    for name, rules in OWN_ROLES.items():
        await api.create(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    for name in ("view", "edit", "admin", "onlooker"):
        await api.create(f"{RBAC}/namespaces/{HOME}/rolebindings", binding_to(name))
    await api.create(f"{RBAC}/clusterrolebindings", binding_to("narrow"))


def binding_to(name: str) -> Object:
    group = "rbac.authorization.k8s.io"
    subject = {"apiGroup": group, "kind": "User", "name": name}
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    return {"metadata": {"name": f"of-{name}"}, "roleRef": reference, "subjects": [subject]}


def pod_spec(name: str) -> Object:
    volumes = [
        {"name": "s", "secret": {"secretName": name}},
        {"name": "c", "configMap": {"name": name}},
        {"name": "p", "persistentVolumeClaim": {"claimName": name}},
    ]
    return {
        "containers": [{"name": "c", "image": "i"}],
        "serviceAccountName": name,
        "volumes": volumes,
        "resourceClaims": [{"name": "d", "resourceClaimName": name}],
    }


def volume_spec(name: str) -> Object:
    claim = {"namespace": HOME, "name": name}
    size = {"storage": "1Gi"}
    return {"capacity": size, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, "claimRef": claim}


def slice_of(node: str) -> Object:
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {
        "metadata": {"name": node},
        "spec": {"driver": "d.example.com", "pool": pool, "nodeName": node, "devices": []},
    }


async def stored(api: api_server.Api) -> Stored:
    async def items(plural: str) -> list[Object]:
        return list((await api.get(f"{RBAC}/{plural}"))["items"])

    return Stored(
        {role["metadata"]["name"]: role for role in await items("clusterroles")},
        {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in await items("roles")},
        [*await items("clusterrolebindings"), *await items("rolebindings")],
    )


# ---------------------------------------------------------------- the walk

SERVED = {(kind.group, kind.version, kind.plural): kind for kind in kinds.builtin().all()}
CELLS = [*page_cells(SERVED.values()), *(cell for kind in SERVED.values() for cell in kind_cells(kind))]


class Expectation:
    def __init__(self, found: Stored) -> None:
        self._rules = {
            (person, namespace): found.rules(who, namespace)
            for person, who in PEOPLE.items()
            for namespace in (CLUSTER, HOME, LEASES, *NAMES)
        }

    def is_allowed(self, person: str, asked: Asked) -> bool:
        if person == "masters":
            return True
        if person in NAMES and is_nodes_own(person, asked):
            return True
        return any(is_granted(rule, asked) for rule in self._rules[person, asked.namespace])


def flatten(cell: Cell) -> query.Query:
    return query.Query({name: [value.replace("%3D", "=")] for name, value in cell.query.items()})


def all_routes(table: routes.Table) -> set[tuple[str, routes.Handler]]:
    """(verb, who answers) of everything that is served."""
    methods = [routes.COLLECTION, routes.OBJECT, routes.PARTS, routes.SCALE, {"GET": routes.WATCH}]
    for link in table._links:
        match link:
            case routes.Kinds():
                methods += link._special.values()
            case routes.Pages() | routes.PagesBelow():
                methods.append(link._rows)
            case _:
                raise AssertionError(f"a link that nobody walks: {link}")
    return {(route.verb, route.handler) for rows in methods for route in rows.values()}


def test_whoever_is_let_in_anywhere_may_do_what_is_done_there() -> None:
    wrong: list[str] = []
    counted = {True: 0, False: 0}

    async def scenario(api: api_server.Api) -> None:
        await populate(api)
        expectation = Expectation(await stored(api))
        seen: set[tuple[str, routes.Handler]] = set()
        for cell in CELLS:
            match = api.server._routes.match(cell.method, cell.path, flatten(cell))
            seen.add((match.route.verb, match.route.handler))
            if tuple(match.attributes[:8]) != tuple(cell.asked[:8]):
                wrong.append(f"{cell.method} {cell.url} is asked as {match.attributes}, not {cell.asked}")
                continue
            for person, who in PEOPLE.items():
                expected = expectation.is_allowed(person, cell.asked)
                counted[expected] += 1
                decision = api.server.authorizer.decide(who or users.anonymous(), match.attributes)
                if decision.is_allowed is not expected:
                    wrong.append(f"{person}: {cell.method} {cell.url} should be {expected}: {decision}")
        assert all_routes(api.server._routes) <= seen

    api_server.run(scenario)
    assert wrong == [], "\n".join(wrong[:40])
    assert counted[False] >= 60_000
    assert counted[True] >= 10_000


def test_the_answer_is_the_verdict() -> None:
    """The same through the front door: refused exactly where it is denied. A prime stride meets every kind, method and person."""
    wrong: list[str] = []
    counted = {True: 0, False: 0}

    async def scenario(api: api_server.Api) -> None:
        await populate(api)
        expectation = Expectation(await stored(api))
        for cell, person in itertools.islice(itertools.product(CELLS, PEOPLE), 0, None, 101):
            expected = expectation.is_allowed(person, cell.asked)
            counted[expected] += 1
            if (problem := await differs(api, cell, person, expected)) is not None:
                wrong.append(problem)

    api_server.run(scenario)
    assert wrong == [], "\n".join(wrong[:40])
    assert counted[False] >= 600
    assert counted[True] >= 150


async def differs(
    api: api_server.Api, cell: Cell, person: str, expected: bool, headers: Mapping[str, str] | None = None
) -> str | None:
    answer = await api.send(cell.method, cell.url, who=PEOPLE[person], headers=headers)
    assert isinstance(answer, messages.Response)
    body = answer.body
    if not isinstance(body, (bytes, list, tuple)):
        await body.aclose()  # type: ignore[attr-defined]
        body = b""
    text = body if isinstance(body, bytes) else b"".join(body)
    # Who may write may still be told by admission what not to write.
    is_refused = answer.status == 401 or (answer.status == 403 and b" cannot " in text)
    if is_refused is not expected and (expected or answer.status == 403):
        return None
    return f"{person}: {cell.method} {cell.url} should be {expected}: {answer.status} {text[:300]!r}"


def test_a_socket_into_a_pod_needs_the_right_to_create_it_too() -> None:
    """It begins with a GET: who may only read may not run commands (AuthorizePodWebsocketUpgradeCreatePermission)."""
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    counted = {True: 0, False: 0}
    wrong: list[str | None] = []

    async def scenario(api: api_server.Api) -> None:
        await populate(api)
        expectation = Expectation(await stored(api))
        connecting = [cell for cell in CELLS if cell.method == "GET" and cell.asked.subresource in CONNECTING]
        for cell, person in itertools.product(connecting, PEOPLE):
            if not cell.asked.namespace:
                continue  # Nothing is there.
            both = (expectation.is_allowed(person, cell.asked._replace(verb=verb)) for verb in ("get", "create"))
            expected = all(both)
            counted[expected] += 1
            wrong.append(await differs(api, cell, person, expected, upgrade))

    api_server.run(scenario)
    assert [problem for problem in wrong if problem] == []
    assert min(counted.values()) >= 20


def test_aggregated_roles_hold_what_is_aggregated_into_them() -> None:
    """The second reading of RBAC takes their stored rules for the whole of them."""

    async def scenario(api: api_server.Api) -> None:
        roles = (await stored(api)).cluster_roles
        aggregated = {name: role for name, role in roles.items() if role.get("aggregationRule")}
        assert {"view", "edit", "admin"} <= aggregated.keys()
        for name, role in aggregated.items():
            wanted = [selector["matchLabels"] for selector in role["aggregationRule"]["clusterRoleSelectors"]]
            parts = [
                other
                for other in roles.values()
                if other is not role
                and any(labels.items() <= (other["metadata"].get("labels") or {}).items() for labels in wanted)
            ]
            assert parts
            rules = {str(rule) for part in parts for rule in part["rules"]}
            assert {str(rule) for rule in role["rules"]} == rules, name

    api_server.run(scenario)
