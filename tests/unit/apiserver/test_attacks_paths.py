"""Requests that are authorised for one thing and would do another."""

from typing import Any

import pytest

from pinnace.apiserver import users
from pinnace.testing import api_server

SECRETS = "/api/v1/namespaces/default/secrets"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
EVE = users.UserInfo("eve", groups=(users.AUTHENTICATED,))


async def allow(api: api_server.Api, *rules: dict[str, Any], cluster: bool = False) -> None:
    """What eve may do, in her namespace or everywhere."""
    kind = "ClusterRole" if cluster else "Role"
    base = f"/apis/rbac.authorization.k8s.io/v1{'' if cluster else '/namespaces/default'}/{kind.lower()}"
    await api.create(f"{base}s", {"metadata": {"name": "eve"}, "rules": list(rules)})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "eve"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}
    await api.create(f"{base}bindings", {"metadata": {"name": "eve"}, "roleRef": reference, "subjects": [subject]})


def rule(verbs: str, resource: str, *names: str, group: str = "") -> dict[str, Any]:
    made = {"verbs": verbs.split(), "apiGroups": [group], "resources": [resource]}
    return {**made, "resourceNames": list(names)} if names else made


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/watch/namespaces/default/secrets/one?timeoutSeconds=1",
        "/api/v1/watch/namespaces/default/secrets/one?timeoutSeconds=1&fieldSelector=metadata.name%3Done",
        "/api/v1/watch/namespaces/default/secrets/one?timeoutSeconds=1&fieldSelector=type%3DOpaque,metadata.name%3Done",
        f"{SECRETS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Done",
        f"{SECRETS}?fieldSelector=metadata.name%3Done",
    ],
)
def test_who_may_see_one_object_sees_one_object(path: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("get list watch", "secrets", "one"))
        for name in ("one", "two"):
            await api.create(SECRETS, {"metadata": {"name": name}, "stringData": {"key": f"secret of {name}"}})
        answer = await api.call("GET", path, who=EVE)
        assert answer.code == 200
        assert b'"name":"one"' in answer.body
        assert b'"name":"two"' not in answer.body

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/watch/namespaces/default/secrets/one?fieldSelector=metadata.name%3Dtwo", 400),
        ("/api/v1/watch/namespaces/default/secrets/one?fieldSelector=metadata.name!%3Dtwo", 400),
        ("/api/v1/watch/namespaces/default/secrets/one?fieldSelector=type%3DOpaque", 400),
        ("/api/v1/watch/namespaces/default/secrets", 403),
        ("/api/v1/watch/secrets", 403),
        ("/api/v1/watch/namespaces/default/secrets/two", 403),
        (f"{SECRETS}?watch=1", 403),
        (f"{SECRETS}?watch=1&fieldSelector=metadata.name!%3Dx,metadata.name%3Dtwo", 403),
        (f"{SECRETS}?fieldSelector=metadata.name%3Dtwo", 403),
        (f"{SECRETS}?fieldSelector=metadata.name%3D%3Dtwo", 403),
        # One reading of escapes for the authoriser and for the filter.
        (f"{SECRETS}?fieldSelector=metadata.name%3Done%5C%2Cmetadata.name%3Dtwo", 403),
        (f"{SECRETS}?fieldSelector=metadata.name%3Done%5Cx", 403),
        # No name: it is about all of them.
        (f"{SECRETS}?fieldSelector=metadata.name%3D", 403),
    ],
)
def test_who_may_see_one_object_sees_no_other(path: str, code: int) -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("get list watch", "secrets", "one"))
        assert (await api.call("GET", path, who=EVE)).code == code

    api_server.run(scenario)


def test_a_rule_for_the_empty_name_is_no_rule_for_every_name() -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("get list watch", "secrets", ""))
        await api.create(SECRETS, {"metadata": {"name": "two"}})
        assert (await api.call("GET", SECRETS, who=EVE)).code == 200
        assert (await api.call("GET", f"{SECRETS}/two", who=EVE)).code == 403

    api_server.run(scenario)


def test_a_watch_of_one_namespace_shows_one_namespace() -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("watch", "namespaces", "default"), cluster=True)
        answer = await api.call("GET", "/api/v1/watch/namespaces/default?timeoutSeconds=1", who=EVE)
        assert answer.code == 200
        assert b'"name":"default"' in answer.body
        assert b"kube-system" not in answer.body
        assert (await api.call("GET", "/api/v1/watch/namespaces", who=EVE)).code == 403

    api_server.run(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["", "/one"])
def test_old_watch_paths_only_watch(method: str, name: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(SECRETS, {"metadata": {"name": "one"}})
        path = f"/api/v1/watch/namespaces/default/secrets{name}"
        assert (await api.call(method, path, {"metadata": {"name": "one"}})).code == 405
        assert (await api.call(method, path, {"metadata": {"name": "one"}}, who=EVE)).code == 403
        assert (await api.call("GET", f"{SECRETS}/one")).code == 200
        assert (await api.call("GET", "/api/v1/watch/namespaces/default/pods/p/log")).code == 404

    api_server.run(scenario)


def test_whoever_may_delete_collections_by_name_alone_deletes_none() -> None:
    """As upstream, which reads no name out of the selector of a deletion."""

    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("deletecollection", "secrets", "one"))
        for name in ("one", "two"):
            await api.create(SECRETS, {"metadata": {"name": name}})
        assert (await api.call("DELETE", SECRETS, who=EVE)).code == 403
        assert (await api.call("DELETE", f"{SECRETS}?fieldSelector=metadata.name%3Done", who=EVE)).code == 403
        assert (await api.call("GET", f"{SECRETS}/one")).code == 200

    api_server.run(scenario)


RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.mark.parametrize(("kind", "plural"), [("Role", "roles"), ("ClusterRole", "clusterroles")])
def test_a_role_that_is_to_come_cannot_be_bound(kind: str, plural: str) -> None:
    """Whoever makes it one day would not know whom it serves already."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "later"}
    binding = {"metadata": {"name": "trap"}, "roleRef": reference, "subjects": [{"kind": "User", "name": "eve"}]}

    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("create", "rolebindings", group="rbac.authorization.k8s.io"))
        path = f"{RBAC}/namespaces/default/rolebindings"
        refused = await api.call("POST", path, binding, who=EVE)
        assert (refused.code, refused.message) == (404, f'{plural}.rbac.authorization.k8s.io "later" not found')
        # Who holds `bind` may.
        mary = users.UserInfo("mary", groups=(users.AUTHENTICATED,))
        rules = [rule("create", "rolebindings", group="rbac.authorization.k8s.io")]
        rules.append(rule("bind", plural, "later", group="rbac.authorization.k8s.io"))
        await api.create(f"{RBAC}/clusterroles", {"metadata": {"name": "binder"}, "rules": rules})
        to = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "binder"}
        bound = {"metadata": {"name": "mary"}, "roleRef": to, "subjects": [{"kind": "User", "name": "mary"}]}
        await api.create(f"{RBAC}/clusterrolebindings", bound)
        assert (await api.call("POST", path, binding, who=mary)).code == 201

    api_server.run(scenario)


def test_what_is_missing_is_told_in_few_sorted_lines() -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("create", "roles", group="rbac.authorization.k8s.io"))
        asked = [rule("get list watch", "secrets"), rule("delete", "pods"), rule("create", "pods")]
        role = {"metadata": {"name": "more"}, "rules": asked}
        refused = await api.call("POST", f"{RBAC}/namespaces/default/roles", role, who=EVE)
        assert refused.code == 403
        assert refused.message.splitlines()[1:] == [
            '{APIGroups:[""], Resources:["pods"], Verbs:["create" "delete"]}',
            '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list" "watch"]}',
        ]

    api_server.run(scenario)


LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "mine"}, "spec": {}}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "mine"}, "rules": []}
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"


@pytest.mark.parametrize(
    ("group", "resource", "path", "obj"),
    [
        ("coordination.k8s.io", "leases", LEASES, LEASE),
        ("rbac.authorization.k8s.io", "roles", ROLES, ROLE),
    ],
)
def test_an_update_that_would_create_needs_create(group: str, resource: str, path: str, obj: dict[str, Any]) -> None:
    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("update get", resource, group=group))
        refused = await api.call("PUT", f"{path}/mine", obj, who=EVE)
        assert (refused.code, refused.reason) == (403, "Forbidden")
        assert f'cannot create resource "{resource}"' in refused.message
        assert (await api.call("GET", f"{path}/mine")).code == 404
        assert (await api.call("PUT", f"{path}/mine", obj)).code == 201

    api_server.run(scenario)


def test_an_apply_that_would_create_needs_create() -> None:
    """A token of another's account, by `patch` alone."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "stolen", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }

    async def scenario(api: api_server.Api) -> None:
        await allow(api, rule("patch", "secrets"))
        path = f"{SECRETS}/stolen?fieldManager=eve"
        refused = await api.patch(path, secret, "apply", who=EVE)
        assert refused.code == 403
        assert 'cannot create resource "secrets"' in refused.message
        assert (await api.call("GET", f"{SECRETS}/stolen")).code == 404
        # What is there may be patched, and who may create may apply.
        await api.create(SECRETS, {"metadata": {"name": "there"}})
        there = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "there", "labels": {"a": "b"}}}
        assert (await api.patch(f"{SECRETS}/there?fieldManager=eve", there, "apply", who=EVE)).code == 200
        assert (await api.patch(path, secret, "apply")).code == 201

    api_server.run(scenario)
