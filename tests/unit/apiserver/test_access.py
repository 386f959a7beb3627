"""Who may do what: authentication, RBAC, nodes, impersonation, escalation, reviews."""

import base64
import json

import jwt
import pytest

from pinnace.apiserver import users
from pinnace.apiserver.authz import attributes as authz
from pinnace.apiserver.authz import rules
from pinnace.testing import api_server
from pinnace.web import messages

PODS = "/api/v1/namespaces/default/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
JOE = api_server.user("joe", "devs")
NODE = users.UserInfo("system:node:n1", groups=(users.NODES, users.AUTHENTICATED))


async def grant(api: api_server.Api, name: str, *granted: api_server.Object, to: str = "joe") -> None:
    """A role in the namespace default, bound to a user."""
    await api.create(f"{RBAC}/namespaces/default/roles", {"metadata": {"name": name}, "rules": list(granted)})
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": to}
    reference = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": name}
    await api.create(
        f"{RBAC}/namespaces/default/rolebindings",
        {"metadata": {"name": name}, "subjects": [subject], "roleRef": reference},
    )


def rule(verbs: str, resources: str, groups: str = "") -> api_server.Object:
    return {"verbs": verbs.split(), "apiGroups": groups.split() or [""], "resources": resources.split()}


def test_unknown_is_denied_in_upstreams_words() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("GET", PODS, who=JOE)
        assert (answer.code, answer.reason) == (403, "Forbidden")
        assert answer.message == (
            'pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "default"'
        )
        named = await api.call("GET", "/api/v1/nodes/n/status", who=JOE)
        assert named.message == (
            'nodes "n" is forbidden: User "joe" cannot get resource "nodes/status" in API group "" at the cluster scope'
        )
        path = await api.call("GET", "/metrics", who=JOE)
        assert path.message == 'forbidden: User "joe" cannot get path "/metrics"'
        nothing = await api.call("GET", "/no/such/path", who=JOE)
        assert nothing.code == 403
        assert (await api.call("GET", "/no/such/path")).code == 404

    api_server.run(scenario)


def test_a_role_allows_what_it_says_where_it_is_bound_and_no_longer_than_it_is() -> None:
    async def scenario(api: api_server.Api) -> None:
        await grant(api, "readers", rule("get list", "pods pods/log"))
        assert (await api.call("GET", PODS, who=JOE)).code == 200
        assert (await api.call("GET", "/api/v1/namespaces/kube-system/pods", who=JOE)).code == 403
        assert (await api.call("GET", "/api/v1/pods", who=JOE)).code == 403
        assert (await api.call("DELETE", f"{PODS}/x", who=JOE)).code == 403
        assert (await api.call("GET", f"{PODS}?watch=1", who=JOE)).code == 403
        await api.call("DELETE", f"{RBAC}/namespaces/default/rolebindings/readers")
        assert (await api.call("GET", PODS, who=JOE)).code == 403

    api_server.run(scenario)


def test_resource_names_limit_a_rule_also_for_lists_of_one_name() -> None:
    async def scenario(api: api_server.Api) -> None:
        secrets = "/api/v1/namespaces/default/secrets"
        await grant(api, "one", {**rule("get list watch", "secrets"), "resourceNames": ["a"]})
        assert (await api.call("GET", f"{secrets}/a", who=JOE)).code == 404
        assert (await api.call("GET", f"{secrets}/b", who=JOE)).code == 403
        assert (await api.call("GET", secrets, who=JOE)).code == 403
        assert (await api.call("GET", f"{secrets}?fieldSelector=metadata.name%3Da", who=JOE)).code == 200

    api_server.run(scenario)


def test_nobody_reads_health_and_version_and_nothing_else() -> None:
    async def scenario(api: api_server.Api) -> None:
        for path in ("/livez", "/readyz", "/healthz", "/version"):
            assert (await api.call("GET", path, who=None)).code == 200
        for path in ("/api", "/metrics", PODS):
            answer = await api.call("GET", path, who=None)
            assert answer.code == 403
            assert users.ANONYMOUS in answer.message

    api_server.run(scenario)


def test_the_parts_of_the_control_plane_are_listed_with_what_is_wrong_with_them() -> None:
    async def scenario(api: api_server.Api) -> None:
        problem = ""
        api.server.services.components["scheduler"] = lambda: problem
        verbose = (await api.call("GET", "/livez?verbose", who=None)).body.decode()
        assert verbose == "[+]ping ok\n[+]etcd ok\n[+]scheduler ok\nlivez check passed\n"
        statuses = await api.get("/api/v1/componentstatuses")
        assert [each["metadata"]["name"] for each in statuses["items"]] == ["scheduler", "etcd-0"]
        problem = "scheduler failed and is started again"
        assert (await api.call("GET", "/livez", who=None)).code == 500
        condition = (await api.get("/api/v1/componentstatuses/scheduler"))["conditions"][0]
        assert (condition["status"], condition["message"]) == ("False", problem)

    api_server.run(scenario)


def test_a_certificate_names_its_user_and_groups() -> None:
    async def scenario(api: api_server.Api) -> None:
        peer = messages.Peer("192.0.2.9:1", "kim", (users.MASTERS,))
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        shown = (await api.create(path, {}, who=None, peer=peer))["status"]["userInfo"]
        assert shown == {"username": "kim", "groups": [users.MASTERS, users.AUTHENTICATED]}

    api_server.run(scenario)


def test_a_certificate_that_names_two_is_a_wrong_credential() -> None:
    async def scenario(api: api_server.Api) -> None:
        peer = messages.Peer("192.0.2.9:1", organizations=(users.MASTERS,), is_ambiguous=True)
        assert (await api.call("GET", "/version", who=None, peer=peer)).code == 401

    api_server.run(scenario)


async def a_token(api: api_server.Api, spec: api_server.Object | None = None) -> str:
    await api.call("POST", ACCOUNTS, {"metadata": {"name": "default"}})
    made = await api.create(f"{ACCOUNTS}/default/token", {"spec": spec or {}})
    return str(made["status"]["token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_service_account_token_is_that_account_until_the_account_goes() -> None:
    async def scenario(api: api_server.Api) -> None:
        token = await a_token(api)
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        shown = (await api.create(path, {}, who=None, headers=bearer(token)))["status"]["userInfo"]
        assert shown["username"] == "system:serviceaccount:default:default"
        assert shown["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", users.AUTHENTICATED]
        await api.call("DELETE", f"{ACCOUNTS}/default")
        await api.create(ACCOUNTS, {"metadata": {"name": "default"}})
        assert (await api.call("GET", "/api", who=None, headers=bearer(token))).code == 401

    api_server.run(scenario)


def test_a_token_dies_with_the_pod_that_it_is_bound_to() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_token(api)
        pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        made = await api.create(PODS, pod)
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
        token = await a_token(api, {"boundObjectRef": reference, "expirationSeconds": 3607})
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": made["metadata"]["uid"]}
        assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607
        assert (await api.call("GET", "/api", who=None, headers=bearer(token))).code == 200
        await api.call("DELETE", f"{PODS}/p?gracePeriodSeconds=0")
        assert (await api.call("GET", "/api", who=None, headers=bearer(token))).code == 401
        stale = await api.call("POST", f"{ACCOUNTS}/default/token", {"spec": {"boundObjectRef": reference}})
        assert stale.code == 404

    api_server.run(scenario)


def test_tokens_that_are_forged_for_others_or_nonsense_are_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        token = await a_token(api)
        head, body, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims["sub"] = "system:serviceaccount:kube-system:admin"
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        unsigned = jwt.encode(claims, "", algorithm="none")
        other_audience = await a_token(api, {"audiences": ["elsewhere"]})
        for bad in (f"{head}.{forged}.{signature}", unsigned, other_audience, "x", "a.b.c", f"{token}x"):
            assert (await api.call("GET", "/api", who=None, headers=bearer(bad))).code == 401
        assert (await api.call("GET", "/api", who=None, headers={"authorization": "Basic eDp5"})).code == 401
        short = await api.call("POST", f"{ACCOUNTS}/default/token", {"spec": {"expirationSeconds": 10}})
        assert (short.code, short.causes) == (422, [("FieldValueInvalid", "spec.expirationSeconds")])

    api_server.run(scenario)


def test_token_review_tells_whose_a_token_is_for_the_audience_asked() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        token = await a_token(api, {"audiences": ["elsewhere"]})
        good = await api.create(path, {"spec": {"token": token, "audiences": ["elsewhere", "other"]}})
        assert good["status"]["authenticated"]
        assert good["status"]["audiences"] == ["elsewhere"]
        bad = await api.create(path, {"spec": {"token": token}})
        assert "authenticated" not in bad["status"]

    api_server.run(scenario)


def test_impersonation_needs_the_right_to_be_each_of_user_and_groups() -> None:
    async def scenario(api: api_server.Api) -> None:
        as_joe = {"impersonate-user": "joe", "impersonate-group": "devs\nops"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        shown = (await api.create(path, {}, headers=as_joe))["status"]["userInfo"]
        assert shown == {"username": "joe", "groups": ["devs", "ops", users.AUTHENTICATED]}
        refused = await api.call("POST", path, {}, who=JOE, headers={"impersonate-user": "kim"})
        assert refused.code == 403
        assert 'cannot impersonate resource "users"' in refused.message
        alone = await api.call("POST", path, {}, headers={"impersonate-group": "devs"})
        assert alone.code == 400

    api_server.run(scenario)


def test_nobody_grants_what_they_do_not_have() -> None:
    async def scenario(api: api_server.Api) -> None:
        everything = {
            "verbs": ["*"],
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings"],
        }
        everything["verbs"] = ["create", "get", "update", "patch"]
        await grant(api, "own", everything, rule("get", "pods"))
        roles = f"{RBAC}/namespaces/default/roles"
        mine = {"metadata": {"name": "mine"}, "rules": [rule("get", "pods")]}
        assert (await api.call("POST", roles, mine, who=JOE)).code == 201
        more = {"metadata": {"name": "more"}, "rules": [rule("get list", "pods secrets")]}
        refused = await api.call("POST", roles, more, who=JOE)
        assert refused.code == 403
        assert "is attempting to grant RBAC permissions not currently held" in refused.message
        assert '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}' in refused.message
        widened = await api.patch(f"{roles}/mine", {"rules": [rule("*", "*")]}, who=JOE)
        assert widened.code == 403
        binding = {
            "metadata": {"name": "up"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "joe"}],
            "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "cluster-admin"},
        }
        assert (await api.call("POST", f"{RBAC}/namespaces/default/rolebindings", binding, who=JOE)).code == 403

    api_server.run(scenario)


def test_reviews_answer_what_the_authoriser_would() -> None:
    async def scenario(api: api_server.Api) -> None:
        await grant(api, "readers", rule("get", "pods"))
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        asked = {"verb": "get", "resource": "pods", "namespace": "default"}
        yes = await api.create(path, {"spec": {"user": "joe", "resourceAttributes": asked}})
        assert yes["status"]["allowed"] is True
        assert yes["status"]["reason"] == (
            'RBAC: allowed by RoleBinding "readers/default" of Role "readers" to User "joe"'
        )
        no = await api.create(path, {"spec": {"user": "joe", "resourceAttributes": {**asked, "verb": "list"}}})
        assert no["status"] == {"allowed": False}
        mine = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        assert (await api.create(mine, {"spec": {"resourceAttributes": asked}}, who=JOE))["status"]["allowed"]
        rules_path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        found = (await api.create(rules_path, {"spec": {"namespace": "default"}}, who=JOE))["status"]
        assert {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]} in found["resourceRules"]
        empty = await api.call("POST", path, {"spec": {"user": "joe"}})
        assert empty.code == 422

    api_server.run(scenario)


def test_a_node_reads_what_its_own_pods_refer_to() -> None:
    async def scenario(api: api_server.Api) -> None:
        await a_token(api)
        secrets = "/api/v1/namespaces/default/secrets"
        for name in ("mine", "other"):
            await api.create(secrets, {"metadata": {"name": name}})
        volume = {"name": "v", "secret": {"secretName": "mine"}}
        spec = {"nodeName": "n1", "volumes": [volume], "containers": [{"name": "c", "image": "i"}]}
        await api.create(PODS, {"metadata": {"name": "p"}, "spec": spec})
        assert (await api.call("GET", f"{secrets}/mine", who=NODE)).code == 200
        assert (await api.call("GET", f"{secrets}/other", who=NODE)).code == 403
        assert (await api.call("GET", secrets, who=NODE)).code == 403
        other = users.UserInfo("system:node:n2", groups=(users.NODES, users.AUTHENTICATED))
        assert (await api.call("GET", f"{secrets}/mine", who=other)).code == 403
        assert (await api.call("GET", f"{PODS}?fieldSelector=spec.nodeName%3Dn1", who=NODE)).code == 200

    api_server.run(scenario)


def test_a_node_changes_its_own_things_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        nodes = "/api/v1/nodes"
        assert (await api.call("POST", nodes, {"metadata": {"name": "n1"}}, who=NODE)).code == 201
        assert (await api.call("POST", nodes, {"metadata": {"name": "n2"}}, who=NODE)).code == 403
        status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        assert (await api.patch(f"{nodes}/n1/status", status, "strategic", who=NODE)).code == 200
        label = {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}
        assert (await api.patch(f"{nodes}/n1", label, who=NODE)).code == 403
        assert (await api.patch(f"{nodes}/n1", {"spec": {"taints": None}}, who=NODE)).code == 403
        await a_token(api)
        pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n2", "containers": [{"name": "c", "image": "i"}]}}
        await api.create(PODS, pod)
        answer = await api.patch(f"{PODS}/p/status", {"status": {"phase": "Failed"}}, who=NODE)
        assert answer.code == 403
        token = await api.call("POST", f"{ACCOUNTS}/default/token", {"spec": {}}, who=NODE)
        assert token.code == 403

    api_server.run(scenario)


def test_impossible_paths_reach_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        for path in (
            "/api/v1/namespaces/default/nodes/x",
            "/api/v1/pods/x",
            "/apis/apps/v1/namespaces/default/deployments/d/exec",
            "/api/v1/namespaces/default/configmaps/a/status",
            "/apis/nothing/v1/things",
            "/api/v2/pods",
        ):
            assert (await api.call("GET", path)).code == 404, path
        assert (await api.call("POST", f"{PODS}/x", {})).code == 405
        assert (await api.call("DELETE", "/api/v1/namespaces")).code == 405

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("granted", "asked", "is_allowed"),
    [
        (rule("get", "pods"), authz.Attributes("get", "", "v1", "pods"), True),
        (rule("get", "pods"), authz.Attributes("get", "", "v1", "pods", "log"), False),
        (rule("get", "pods/log"), authz.Attributes("get", "", "v1", "pods", "log"), True),
        (rule("get", "*/scale", "apps"), authz.Attributes("get", "apps", "v1", "deployments", "scale"), True),
        (rule("get", "*/scale", "apps"), authz.Attributes("get", "apps", "v1", "deployments"), False),
        (rule("*", "*", "*"), authz.Attributes("list", "batch", "v1", "jobs", "status"), True),
        (rule("get", "pods"), authz.Attributes("get", path="/metrics"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz*"]}, authz.Attributes("get", path="/healthz/ping"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}, authz.Attributes("get", path="/healthz/ping"), False),
    ],
)
def test_what_a_rule_allows(granted: api_server.Object, asked: authz.Attributes, is_allowed: bool) -> None:
    assert rules.Rule.parse(granted).allows(asked) is is_allowed


def test_a_rule_is_covered_only_by_rules_that_are_as_wide() -> None:
    wide, narrow = rules.Rule.parse(rule("*", "*", "*")), rules.Rule.parse(rule("get list", "pods secrets"))
    one = rules.Rule.parse({**rule("get", "secrets"), "resourceNames": ["a"]})
    assert rules.uncovered([wide], [narrow, one]) == []
    assert len(rules.uncovered([rules.Rule.parse(rule("get", "pods"))], [narrow])) == 3
    assert rules.uncovered([narrow], [one]) == []
    assert rules.uncovered([one], [rules.Rule.parse(rule("get", "secrets"))]) != []
    assert rules.uncovered([rules.Rule.parse(rule("*", "*"))], [wide]) != []
