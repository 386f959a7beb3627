"""What a node that was broken into can reach: its own pods' things, and nothing of another node's."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pinnace.apiserver import users
from pinnace.testing import api_server

NODE = users.UserInfo("system:node:n1", groups=(users.NODES, users.AUTHENTICATED))
NAMELESS = users.UserInfo("system:node:", groups=(users.NODES, users.AUTHENTICATED))
BASE = "/api/v1/namespaces/default"
PODS = f"{BASE}/pods"
SLICES = "/apis/resource.k8s.io/v1/resourceslices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
CSI_NODES = "/apis/storage.k8s.io/v1/csinodes"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
SIGNING = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
UNRELATED = "no relationship found between node 'n1' and this object"


def pod(name: str, node: str, *volumes: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [*volumes], **({"nodeName": node} if node else {})}
    return {"metadata": {"name": name, **more}, "spec": spec}


async def cluster(api: api_server.Api) -> None:
    """Two nodes, each with a pod, and a pod that waits."""
    for node in ("n1", "n2"):
        await api.create("/api/v1/nodes", {"metadata": {"name": node}})
        await api.call("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
        await api.create(PODS, pod(f"on-{node}", node, {"name": "s", "secret": {"secretName": f"of-{node}"}}))
        await api.create(f"{BASE}/secrets", {"metadata": {"name": f"of-{node}"}})
        await api.create(CSI_NODES, {"metadata": {"name": node}, "spec": {"drivers": []}})
        await api.create(LEASES, {"metadata": {"name": node}, "spec": {"holderIdentity": node}})
        source = {"persistentVolumeName": "v"}
        await api.create(
            ATTACHMENTS,
            {"metadata": {"name": f"at-{node}"}, "spec": {"attacher": "a", "nodeName": node, "source": source}},
        )
        await api.create(SLICES, a_slice(f"of-{node}", node))
    await api.create(PODS, pod("waiting", ""))


def a_slice(name: str, node: str) -> dict[str, Any]:
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "d.example.com", "pool": pool, "nodeName": node, "devices": []}
    return {"metadata": {"name": name}, "spec": spec}


ASKED = [
    ("GET", "/api/v1/nodes/n1", 200, ""),
    ("GET", "/api/v1/nodes/n2", 403, "node 'n1' cannot read 'n2', only its own Node object"),
    ("GET", "/api/v1/nodes/nobody", 403, "node 'n1' cannot read 'nobody', only its own Node object"),
    ("GET", "/api/v1/nodes", 403, "node 'n1' cannot read all nodes, only its own Node object"),
    ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1", 200, ""),
    ("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn2", 403, ""),
    ("GET", "/api/v1/watch/nodes/n2", 403, ""),
    ("GET", "/api/v1/nodes/n1/status", 403, ""),
    ("GET", "/api/v1/nodes/n1/proxy/", 403, ""),
    ("DELETE", "/api/v1/nodes/n1", 403, ""),
    ("DELETE", "/api/v1/nodes", 403, ""),
    ("GET", f"{PODS}/on-n1", 200, ""),
    ("GET", f"{PODS}/on-n2", 403, UNRELATED),
    ("GET", f"{PODS}/waiting", 403, UNRELATED),
    ("GET", f"{PODS}/absent", 403, UNRELATED),
    ("GET", PODS, 403, "can only list/watch pods with spec.nodeName field selector"),
    ("GET", "/api/v1/pods", 403, "can only list/watch pods with spec.nodeName field selector"),
    ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200, ""),
    ("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403, ""),
    ("GET", "/api/v1/pods?fieldSelector=spec.nodeName!%3Dn1", 403, ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name!%3Dx%5C,spec.nodeName%3Dn1", 403, ""),
    ("GET", "/api/v1/watch/pods?fieldSelector=spec.nodeName%3Dn1", 403, ""),
    ("GET", "/api/v1/watch/pods", 403, ""),
    ("GET", f"{PODS}?fieldSelector=metadata.name%3Don-n1", 200, ""),
    ("GET", f"{PODS}?fieldSelector=metadata.name%3Don-n2", 403, ""),
    ("GET", f"{PODS}/on-n1/log", 403, ""),
    ("GET", f"{PODS}/on-n1/status", 403, ""),
    ("POST", f"{PODS}/on-n1/exec", 403, ""),
    ("POST", f"{PODS}/waiting/binding", 403, ""),
    ("PUT", f"{PODS}/on-n1", 403, ""),
    ("DELETE", PODS, 403, ""),
    ("DELETE", f"{PODS}/on-n2", 403, 'node "n1" can only delete pods with spec.nodeName set to itself'),
    ("DELETE", f"{PODS}/waiting", 403, 'node "n1" can only delete pods with spec.nodeName set to itself'),
    ("DELETE", f"{PODS}/absent", 404, ""),
    ("POST", f"{PODS}/on-n2/eviction", 403, "node n1 can only evict pods with spec.nodeName set to itself"),
    ("POST", f"{PODS}/absent/eviction", 404, ""),
    ("GET", f"{BASE}/secrets/of-n1", 200, ""),
    ("GET", f"{BASE}/secrets/of-n2", 403, UNRELATED),
    ("GET", f"{BASE}/secrets", 403, "No Object name found"),
    ("GET", "/api/v1/watch/namespaces/default/secrets/of-n2", 403, ""),
    ("GET", "/api/v1/secrets?fieldSelector=metadata.name%3Dof-n1", 403, ""),
    ("DELETE", f"{BASE}/secrets/of-n1", 403, "can only read resources of this type"),
    ("GET", f"{ATTACHMENTS}/at-n1", 200, ""),
    ("GET", f"{ATTACHMENTS}/at-n2", 403, UNRELATED),
    ("GET", ATTACHMENTS, 403, "can only get individual resources of this type"),
    ("GET", f"{SLICES}/of-n1", 200, ""),
    ("GET", f"{SLICES}/of-n2", 403, UNRELATED),
    ("GET", SLICES, 403, "can only list/watch/deletecollection resourceslices with nodeName field selector"),
    ("DELETE", SLICES, 403, "can only list/watch/deletecollection resourceslices with nodeName field selector"),
    ("DELETE", f"{SLICES}?fieldSelector=spec.nodeName%3Dn2", 403, ""),
    ("DELETE", f"{SLICES}?fieldSelector=spec.nodeName%3Dn1", 200, ""),
    ("DELETE", f"{SLICES}/of-n2", 403, UNRELATED),
    ("GET", f"{CSI_NODES}/n1", 200, ""),
    ("GET", f"{CSI_NODES}/n2", 403, "can only access CSINode with the same name as the requesting node"),
    ("GET", CSI_NODES, 403, "can only get, create, update, patch, or delete a CSINode"),
    ("GET", f"{LEASES}/n1", 200, ""),
    ("GET", f"{LEASES}/n2", 403, "can only access node lease with the same name as the requesting node"),
    ("GET", LEASES, 403, "can only get, create, update, patch, or delete a node lease"),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/n1", 403, ""),
    ("GET", f"{BASE}/serviceaccounts/default", 200, ""),
    ("GET", f"{BASE}/serviceaccounts/other", 403, UNRELATED),
    ("GET", f"{BASE}/serviceaccounts", 403, ""),
    ("POST", f"{BASE}/serviceaccounts/other/token", 403, UNRELATED),
    ("GET", "/api/v1/namespaces", 403, ""),
    ("GET", "/api/v1/services", 200, ""),
    ("GET", "/apis/apps/v1/daemonsets", 403, ""),
]


def test_a_node_is_told_of_its_own_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        wrong = []
        for method, path, code, why in ASKED:
            name = path.split("/pods/")[-1].split("/")[0]
            bodies: dict[str, Any] = {"eviction": {"metadata": {"name": name}}, "token": {"spec": {}}}
            body = bodies.get(path.rpartition("/")[2], None if method in ("GET", "DELETE") else {})
            answer = await api.call(method, path, body, who=NODE)
            if answer.code != code or (why and not answer.message.endswith(f": {why}")):
                wrong.append((method, path, code, answer.body))
        assert not wrong

    api_server.run(scenario)


def test_a_nameless_node_may_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        for path in ("/api/v1/nodes/n1", f"{PODS}/on-n1", "/api/v1/pods?fieldSelector=spec.nodeName%3D"):
            assert (await api.call("GET", path, who=NAMELESS)).code == 403
        assert (await api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n9"}}, who=NAMELESS)).code == 403

    api_server.run(scenario)


def mirror(**changes: Any) -> dict[str, Any]:
    made = pod("static-n1", "n1", annotations={"kubernetes.io/config.mirror": "x"})
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": True, **changes.pop("owner", {})}
    made["metadata"]["ownerReferences"] = [owner, *changes.pop("owners", [])]
    made["spec"] |= changes
    return made


MIRRORS: list[tuple[dict[str, Any], str]] = [
    ({"nodeName": "n2"}, 'node "n1" can only create pods with spec.nodeName set to itself'),
    ({"owner": {"name": "n2"}}, 'node "n1" can only create pods with an owner reference set to itself'),
    ({"owner": {"kind": "Pod"}}, 'node "n1" can only create pods with an owner reference set to itself'),
    (
        {"owner": {"controller": False}},
        'node "n1" can only create pods with a controller owner reference set to itself',
    ),
    ({"owner": {"blockOwnerDeletion": True}}, 'node "n1" must not set blockOwnerDeletion on an owner reference'),
    ({"owner": {"uid": "other"}}, "node n1 UID mismatch: expected other got OWN"),
    (
        {"owners": [{"apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u"}]},
        'node "n1" can only create pods with a single owner reference set to itself',
    ),
    (
        {"volumes": [{"name": "v", "secret": {"secretName": "of-n2"}}]},
        'node "n1" can not create pods that reference secrets',
    ),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "m"}}]},
        'node "n1" can not create pods that reference configmaps',
    ),
    (
        {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
        'node "n1" can not create pods that reference persistentvolumeclaims',
    ),
    ({"serviceAccountName": "default"}, 'node "n1" can not create pods that reference a service account'),
    (
        {"resourceClaims": [{"name": "r", "resourceClaimName": "of-n2"}]},
        'node "n1" can not create pods that reference resourceclaims',
    ),
]


def test_a_node_makes_mirror_pods_that_reach_nothing() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        uid = (await api.get("/api/v1/nodes/n1"))["metadata"]["uid"]
        for changes, why in MIRRORS:
            wanted = {**changes, "owner": {"uid": uid, **changes.get("owner", {})}}
            answer = await api.call("POST", PODS, mirror(**wanted), who=NODE)
            assert answer.code == 403, changes
            assert answer.message.endswith(": " + why.replace("OWN", uid))
        assert (await api.call("POST", PODS, mirror(owner={"uid": uid}), who=NODE)).code == 201

    api_server.run(scenario)


def test_a_mirror_pod_opens_nothing() -> None:
    """Even one that an administrator made."""

    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        made = pod("m", "n1", {"name": "s", "configMap": {"name": "m"}})
        made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
        await api.create(PODS, made)
        assert (await api.call("GET", f"{BASE}/configmaps/m", who=NODE)).code == 403

    api_server.run(scenario)


def test_an_ordinary_pod_is_not_a_nodes_to_make() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        answer = await api.call("POST", PODS, pod("p", "n1"), who=NODE)
        assert answer.message.endswith('annotation, node "n1" can only create mirror pods')

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("metadata", "status", "why"),
    [
        ({}, {"phase": "Running"}, ""),
        ({"labels": {"a": "b"}}, {}, 'node "n1" cannot update labels through pod status'),
        (
            {},
            {"resourceClaimStatuses": [{"name": "r", "resourceClaimName": "of-n2"}]},
            'node "n1" cannot update resource claim statues',
        ),
    ],
)
def test_a_pods_status_gives_its_node_nothing(metadata: dict[str, Any], status: dict[str, Any], why: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        made = pod("claiming", "n1")
        made["spec"]["resourceClaims"] = [{"name": "r", "resourceClaimTemplateName": "t"}]
        await api.create(PODS, made)
        answer = await api.patch(f"{PODS}/claiming/status", {"metadata": metadata, "status": status}, who=NODE)
        assert answer.code == (403 if why else 200), answer.body
        assert not why or answer.message.endswith(f": {why}")
        other = await api.patch(f"{PODS}/on-n2/status", {"status": {"phase": "Failed"}}, who=NODE)
        assert other.message.endswith('node "n1" can only update pod status for pods with spec.nodeName set to itself')

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("audiences", "code"),
    [([], 201), (["vault"], 201), (["csi.example.com"], 201), (["other"], 403), (["vault", "other"], 403)],
)
def test_a_node_gets_tokens_for_the_audiences_that_its_pods_ask_for(audiences: list[str], code: int) -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        sources = [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]
        driver = {"metadata": {"name": "csi.example.com"}, "spec": {"tokenRequests": [{"audience": "csi.example.com"}]}}
        await api.create("/apis/storage.k8s.io/v1/csidrivers", driver)
        volumes = (
            {"name": "t", "projected": {"sources": sources}},
            {"name": "c", "csi": {"driver": "csi.example.com"}},
        )
        uid = (await api.create(PODS, pod("asking", "n1", *volumes)))["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "asking", "uid": uid}
        spec = {"audiences": audiences, "boundObjectRef": bound}
        answer = await api.call("POST", f"{BASE}/serviceaccounts/default/token", {"spec": spec}, who=NODE)
        assert answer.code == code, answer.body

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"uid": "wrong"}, "does not match the UID in record. The object might have been deleted and then recreated"),
        ({"uid": ""}, "node requested token with a pod binding without a uid"),
        ({"kind": "Secret"}, "node requested token not bound to a pod"),
        ({"name": "on-n2"}, "does not match the UID in record. The object might have been deleted and then recreated"),
    ],
)
def test_a_node_gets_no_token_of_anothers_pod(change: dict[str, str], why: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        uid = (await api.get(f"{PODS}/on-n1"))["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "on-n1", "uid": uid, **change}
        path = f"{BASE}/serviceaccounts/default/token"
        answer = await api.call("POST", path, {"spec": {"boundObjectRef": bound}}, who=NODE)
        assert answer.code == 403
        assert answer.message.endswith(why)
        uid = (await api.get(f"{PODS}/on-n2"))["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "on-n2", "uid": uid}
        elsewhere = await api.call("POST", path, {"spec": {"boundObjectRef": bound}}, who=NODE)
        assert elsewhere.message.endswith("node requested token bound to a pod scheduled on a different node")

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}, "is not allowed to modify labels"),
        ({"metadata": {"labels": {"x.node-restriction.kubernetes.io/a": ""}}}, "is not allowed to modify labels"),
        ({"metadata": {"labels": {"sub.node.kubernetes.io/a": "b"}}}, ""),
        ({"metadata": {"labels": {"own": "b"}}}, ""),
        ({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}, "is not allowed to modify taints"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}]}},
            "is not allowed to modify ownerReferences",
        ),
    ],
)
def test_a_node_steers_nothing_to_itself(change: dict[str, Any], why: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        answer = await api.patch("/api/v1/nodes/n1", change, who=NODE)
        assert answer.code == (403 if why else 200), answer.body
        assert why in (answer.message if why else "")
        assert (await api.patch("/api/v1/nodes/n2", change, who=NODE)).code == 403

    api_server.run(scenario)


def test_a_node_makes_what_is_called_after_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        for path, obj in (
            (LEASES, {"metadata": {"name": "n3"}}),
            (CSI_NODES, {"metadata": {"name": "n3"}, "spec": {"drivers": []}}),
            (SLICES, a_slice("x", "n2")),
            ("/api/v1/nodes", {"metadata": {"name": "n3"}}),
        ):
            assert (await api.call("POST", path, obj, who=NODE)).code == 403, path
        assert (await api.call("POST", SLICES, a_slice("x", "n1"), who=NODE)).code == 201

    api_server.run(scenario)


def test_a_node_asks_for_certificates_in_its_own_name() -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def request(*names: str) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()

    async def scenario(api: api_server.Api) -> None:
        for number, (names, signer, code) in enumerate(
            (
                (["system:node:n1"], "kubernetes.io/kubelet-serving", 201),
                (["system:node:n2"], "kubernetes.io/kubelet-serving", 403),
                (["system:node:n2"], "kubernetes.io/kube-apiserver-client-kubelet", 403),
                (["system:node:n1", "system:node:n2"], "kubernetes.io/kubelet-serving", 403),
                ([], "kubernetes.io/kubelet-serving", 403),
                (["anybody"], "example.com/own", 201),
            )
        ):
            spec = {"request": request(*names), "signerName": signer, "usages": ["digital signature"]}
            answer = await api.call("POST", SIGNING, {"metadata": {"name": f"c{number}"}, "spec": spec}, who=NODE)
            assert answer.code == code, answer.body

    api_server.run(scenario)


def test_a_node_says_of_claims_what_mounting_shows_and_no_more() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        claims = f"{BASE}/persistentvolumeclaims"
        resources = {"requests": {"storage": "1Gi"}}
        await api.create(
            claims, {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}
        )
        capacity = {"status": {"capacity": {"storage": "2Gi"}}}
        assert (await api.patch(f"{claims}/c/status", capacity, who=NODE)).code == 403
        await api.create(PODS, pod("user", "n1", {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}))
        assert (await api.patch(f"{claims}/c/status", capacity, who=NODE)).code == 200
        for change in (
            {"status": {"phase": "Lost"}},
            {"metadata": {"labels": {"a": "b"}}},
            {"metadata": {"finalizers": ["a/b"]}},
        ):
            answer = await api.patch(f"{claims}/c/status", change, who=NODE)
            assert "is not allowed to update fields other than status.capacity" in answer.message
        assert (await api.patch(f"{claims}/c", capacity, who=NODE)).code == 403

    api_server.run(scenario)


def test_a_volume_opens_the_secrets_that_it_is_mounted_with() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        await api.create(PODS, pod("user", "n1", {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}))
        references = {
            "nodePublishSecretRef": {"name": "publish", "namespace": "default"},
            "controllerExpandSecretRef": {"name": "expand", "namespace": "default"},
        }
        for name, claim in (("mine", "c"), ("theirs", "d")):
            driver = {
                field: {**reference, "name": f"{name}-{reference['name']}"} for field, reference in references.items()
            }
            spec = {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "csi": {"driver": "d.example.com", "volumeHandle": "h", **driver},
                "claimRef": {"name": claim, "namespace": "default"},
            }
            await api.create("/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": spec})
        for path, code in (
            (f"{BASE}/secrets/mine-publish", 404),
            (f"{BASE}/secrets/mine-expand", 403),
            (f"{BASE}/secrets/theirs-publish", 403),
            ("/api/v1/persistentvolumes/mine", 200),
            ("/api/v1/persistentvolumes/theirs", 403),
        ):
            assert (await api.call("GET", path, who=NODE)).code == code, path

    api_server.run(scenario)


def test_no_budget_is_spent_for_an_eviction_that_may_not_be() -> None:
    async def scenario(api: api_server.Api) -> None:
        await cluster(api)
        await api.patch(f"{PODS}/on-n2", {"metadata": {"labels": {"app": "a"}}})
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await api.patch(f"{PODS}/on-n2/status", {"status": status})
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        spec = {"minAvailable": 0, "selector": {"matchLabels": {"app": "a"}}}
        await api.create(budgets, {"metadata": {"name": "b"}, "spec": spec})
        await api.patch(f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1, "observedGeneration": 1}})
        refused = await api.call("POST", f"{PODS}/on-n2/eviction", {"metadata": {"name": "on-n2"}}, who=NODE)
        assert refused.code == 403
        assert (await api.get(f"{budgets}/b"))["status"]["disruptionsAllowed"] == 1

    api_server.run(scenario)
