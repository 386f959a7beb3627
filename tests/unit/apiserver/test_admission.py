"""Admission: what is added to a write, and what is refused."""

import asyncio
import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pinnace.apiserver.admission import pod_standards
from pinnace.apiserver.storage import envelope
from pinnace.testing import api_server

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
JOE = api_server.user("joe")


def pod(name: str = "p", **spec: Any) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def service(name: str, **spec: Any) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def account(api: api_server.Api, **fields: Any) -> None:
    await api.create(ACCOUNTS, {"metadata": {"name": "default"}, **fields})


# ---------------------------------------------------------------- pods


def test_a_pod_gets_its_account_its_token_its_tolerations_and_its_priority() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api, imagePullSecrets=[{"name": "pull"}])
        spec = (await api.create(PODS, pod()))["spec"]
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
        volume = spec["volumes"][0]
        assert volume["name"].startswith("kube-api-access-")
        assert [next(iter(source)) for source in volume["projected"]["sources"]] == [
            "serviceAccountToken",
            "configMap",
            "downwardAPI",
        ]
        assert volume["projected"]["sources"][0]["serviceAccountToken"] == {"expirationSeconds": 3607, "path": "token"}
        assert volume["projected"]["defaultMode"] == 420
        assert spec["containers"][0]["volumeMounts"] == [
            {
                "name": volume["name"],
                "readOnly": True,
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            }
        ]
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        assert [(item["key"], item["tolerationSeconds"]) for item in spec["tolerations"]] == [
            ("node.kubernetes.io/not-ready", 300),
            ("node.kubernetes.io/unreachable", 300),
        ]
        assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")

    api_server.run(scenario)


def test_a_pod_of_an_account_that_is_not_there_is_refused() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("POST", PODS, pod(serviceAccountName="nobody"))
        assert answer.code == 403
        assert answer.message == (
            'pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found'
        )

    api_server.run(scenario)


@pytest.mark.parametrize(("by_account", "by_pod"), [(False, None), (True, False)])
def test_tokens_are_not_mounted_where_they_are_not_wanted(by_account: bool, by_pod: bool | None) -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api, automountServiceAccountToken=by_account)
        wanted = pod() if by_pod is None else pod(automountServiceAccountToken=by_pod)
        assert "volumes" not in (await api.create(PODS, wanted))["spec"]

    api_server.run(scenario)


def test_priority_classes_name_numbers() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
        await api.create(classes, {"metadata": {"name": "high"}, "value": 1000})
        assert (await api.create(PODS, pod(priorityClassName="high")))["spec"]["priority"] == 1000
        system = await api.create(PODS, pod("q", priorityClassName="system-node-critical"))
        assert system["spec"]["priority"] == 2000001000
        unknown = await api.call("POST", PODS, pod("r", priorityClassName="nope"))
        assert unknown.message == 'pods "r" is forbidden: no PriorityClass with name nope was found'
        assert (await api.call("POST", PODS, pod("r", priority=5))).code == 403
        await api.create(classes, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
        assert (await api.create(PODS, pod("s")))["spec"]["priorityClassName"] == "usual"
        second = await api.call("POST", classes, {"metadata": {"name": "other"}, "value": 8, "globalDefault": True})
        assert second.code == 403

    api_server.run(scenario)


def test_limit_ranges_fill_in_and_bound() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        limits = {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}}
        await api.create(
            "/api/v1/namespaces/default/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limits]}}
        )
        made = await api.create(PODS, pod())
        assert made["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}}
        assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
        )
        big = pod("q", containers=[{"name": "c", "image": "i", "resources": {"limits": {"cpu": "3"}}}])
        answer = await api.call("POST", PODS, big)
        assert answer.code == 403
        assert "maximum cpu usage per Container is 2, but limit is 3" in answer.message

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("containers", "total"),
    [
        ([("250m", False), ("100m", True)], "350m"),
        ([("250m", False), ("400m", None)], "400m"),
        ([("100m", False), ("150m", True), ("200m", None)], "350m"),
        ([("100m", False), ("150m", True)], ""),
    ],
)
def test_the_limits_of_a_pod_are_those_of_its_sidecars_too(
    containers: list[tuple[str, bool | None]], total: str
) -> None:
    """(limit, whether it is a container, a sidecar or, None, an init container that ends)."""

    async def scenario(api: api_server.Api) -> None:
        await account(api)
        limits = {"type": "Pod", "max": {"cpu": "300m"}}
        ranges = "/api/v1/namespaces/default/limitranges"
        await api.create(ranges, {"metadata": {"name": "l"}, "spec": {"limits": [limits]}})
        made: dict[str, list[Any]] = {"containers": [], "initContainers": []}
        for position, (cpu, role) in enumerate(containers):
            container = {"name": f"c{position}", "image": "i", "resources": {"limits": {"cpu": cpu}}}
            if role:
                container["restartPolicy"] = "Always"
            made["containers" if role is False else "initContainers"].append(container)
        answer = await api.call("POST", PODS, pod(**made))
        if total:
            assert answer.code == 403
            assert f"maximum cpu usage per Pod is 300m, but limit is {total}" in answer.message
        else:
            assert answer.code == 201

    api_server.run(scenario)


def test_pod_security_levels_of_a_namespace() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        enforce = {"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}
        await api.patch("/api/v1/namespaces/default", {"metadata": {"labels": enforce}})
        refused = await api.call("POST", PODS, pod(hostNetwork=True))
        assert refused.code == 403
        assert refused.message == (
            'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
        )
        warned = await api.call("POST", PODS, pod())
        assert warned.code == 201
        assert "would violate PodSecurity" in warned.warnings[0]

    api_server.run(scenario)


@pytest.mark.parametrize(
    ("level", "spec", "said"),
    [
        ("baseline", {"containers": [{"name": "a", "securityContext": {"privileged": True}}]}, "privileged ("),
        ("baseline", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
        ("baseline", {"containers": [{"name": "a", "ports": [{"hostPort": 80}]}]}, "hostPort ("),
        (
            "baseline",
            {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
            "non-default capabilities (",
        ),
        ("restricted", {"containers": [{"name": "a"}]}, "runAsNonRoot != true"),
        ("restricted", {"securityContext": {"runAsUser": 0}}, "runAsUser=0"),
        (
            "baseline",
            {"containers": [{"name": "a", "readinessProbe": {"httpGet": {"host": "h"}}}]},
            'probe or lifecycle host (container "a" uses probe or lifecycle host "h")',
        ),
        (
            "baseline",
            {
                "initContainers": [{"name": "b", "lifecycle": {"preStop": {"tcpSocket": {"host": "i"}}}}],
                "containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "h"}}}],
            },
            'probe or lifecycle host (containers "a", "b" use probe or lifecycle hosts "h", "i")',
        ),
        (
            "restricted",
            {"containers": [{"name": "a", "securityContext": {"capabilities": {"add": ["CHOWN"]}}}]},
            'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; '
            'container "a" must not include "CHOWN" in securityContext.capabilities.add)',
        ),
    ],
)
def test_what_a_level_forbids(level: str, spec: api_server.Object, said: str) -> None:
    assert any(text.startswith(said) for text in pod_standards.violations(level, {}, spec))
    assert list(pod_standards.violations("privileged", {}, spec)) == []


def test_a_level_is_that_of_its_version_and_the_stricter_check_stands_for_the_looser() -> None:
    spec = {"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h"}}}]}
    assert list(pod_standards.violations("baseline", {}, spec, 33)) == []
    assert len(list(pod_standards.violations("baseline", {}, spec, 34))) == 1
    sysctl = {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}
    assert list(pod_standards.violations("baseline", {}, sysctl, 31)) == ["forbidden sysctls (net.ipv4.tcp_rmem)"]
    assert list(pod_standards.violations("baseline", {}, sysctl)) == []
    volumes = {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}
    assert list(pod_standards.violations("restricted", {}, volumes)) == [
        'restricted volume types (volume "v" uses restricted volume type "hostPath")'
    ]


LEVEL = "pod-security.kubernetes.io/"


@pytest.mark.parametrize(
    ("label", "value", "why"),
    [
        ("enforce", "bogus", "must be one of privileged, baseline, restricted"),
        ("enforce", "", "must be one of privileged, baseline, restricted"),
        ("warn", "Baseline", "must be one of privileged, baseline, restricted"),
        ("audit-version", "v99x", 'must be "latest" or "v1.x"'),
        ("enforce-version", "v1.01", 'must be "latest" or "v1.x"'),
        ("enforce-version", "v2.1", 'must be "latest" or "v1.x"'),
    ],
)
def test_labels_that_mean_nothing_are_refused(label: str, value: str, why: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        labels = {LEVEL + label: value}
        cause = f'metadata.labels[{LEVEL}{label}]: Invalid value: "{value}": {why}'
        made = await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "n", "labels": labels}})
        assert (made.code, made.message) == (422, f'Namespace "n" is invalid: {cause}')
        await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
        changed = await api.patch("/api/v1/namespaces/n", {"metadata": {"labels": labels}})
        assert (changed.code, changed.message) == (422, f'Namespace "n" is invalid: {cause}')

    api_server.run(scenario)


@pytest.mark.parametrize("query", ["", "?dryRun=All"])
def test_who_makes_a_namespace_stricter_learns_of_the_pods_that_do_not_fit(query: str) -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        for name in ("b", "a", "c"):
            await api.create(PODS, pod(name, hostNetwork=True))
        await api.create(PODS, pod("d", hostPID=True))
        path = f"/api/v1/namespaces/default{query}"
        told = await api.patch(path, {"metadata": {"labels": {LEVEL + "enforce": "baseline"}}})
        assert told.code == 200
        assert [text.removeprefix('299 - "')[:-1].replace('\\"', '"') for text in told.warnings] == [
            'existing pods in namespace "default" violate the new PodSecurity enforce level "baseline:latest"',
            "a (and 3 other pods): host namespaces",
        ]
        again = await api.patch(path, {"metadata": {"labels": {LEVEL + "enforce": "privileged"}}})
        assert again.warnings == []

    api_server.run(scenario)


def test_a_deployment_is_warned_of_what_the_namespace_enforces() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.patch("/api/v1/namespaces/default", {"metadata": {"labels": {LEVEL + "enforce": "restricted"}}})
        template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}}
        spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
        made = await api.call(
            "POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "d"}, "spec": spec}
        )
        assert made.code == 201
        assert '"would violate PodSecurity' in made.warnings[0]

    api_server.run(scenario)


def test_a_pod_gets_its_two_tolerations_back_when_it_is_replaced_without_them() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        made = await api.create(PODS, pod())
        changed = {**made, "spec": {**made["spec"], "tolerations": [{"key": "mine", "operator": "Exists"}]}}
        changed["spec"]["tolerations"] += [each for each in made["spec"]["tolerations"] if "not-ready" in each["key"]]
        replaced = await api.call("PUT", f"{PODS}/p", changed)
        assert replaced.code == 200, replaced.message
        keys = [each["key"] for each in replaced.json["spec"]["tolerations"]]
        assert keys == ["mine", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]

    api_server.run(scenario)


def test_a_pod_that_is_careful_passes_every_level() -> None:
    container = {
        "name": "a",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"securityContext": context, "containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}
    assert list(pod_standards.violations("restricted", {}, spec)) == []


# ---------------------------------------------------------------- quotas


async def quota(api: api_server.Api, **hard: str) -> None:
    wanted = {
        "metadata": {"name": "q"},
        "spec": {"hard": {key.replace("_", "."): value for key, value in hard.items()}},
    }
    await api.create("/api/v1/namespaces/default/resourcequotas", wanted)


def test_a_quota_is_never_exceeded_however_many_come_at_once() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "already"}})
        await quota(api, configmaps="5")
        answers = await asyncio.gather(
            *(api.call("POST", CONFIG_MAPS, {"metadata": {"name": f"c{number}"}}) for number in range(20))
        )
        assert sorted(answer.code for answer in answers) == [201] * 4 + [403] * 16
        refused = next(answer for answer in answers if answer.code == 403)
        assert (
            "exceeded quota: q, requested: configmaps=1, used: configmaps=5, limited: configmaps=5" in refused.message
        )
        shown = await api.get("/api/v1/namespaces/default/resourcequotas/q")
        assert shown["status"]["used"] == {"configmaps": "5"}

    api_server.run(scenario)


def test_what_is_refused_later_is_given_back() -> None:
    async def scenario(api: api_server.Api) -> None:
        await quota(api, configmaps="3")
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert (await api.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})).code == 409
        await api.create(f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "b"}})
        shown = await api.get("/api/v1/namespaces/default/resourcequotas/q")
        assert shown["status"]["used"] == {"configmaps": "1"}

    api_server.run(scenario)


def test_a_quota_of_compute_makes_every_container_say_what_it_wants() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        await quota(api, requests_cpu="1", pods="10")
        silent = await api.call("POST", PODS, pod())
        assert "failed quota: q: must specify requests.cpu for: c" in silent.message
        container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "600m"}}}
        await api.create(PODS, pod(containers=[container]))
        second = await api.call("POST", PODS, pod("q", containers=[container]))
        assert second.message.endswith(
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
        )

    api_server.run(scenario)


def test_a_resize_stays_within_quotas_and_limit_ranges() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        await quota(api, requests_cpu="1")
        await wait_used(api, requests_cpu="0")
        limits = {"type": "Container", "max": {"cpu": "700m"}}
        ranges = "/api/v1/namespaces/default/limitranges"
        await api.create(ranges, {"metadata": {"name": "l"}, "spec": {"limits": [limits]}})

        def wanted(cpu: str) -> api_server.Object:
            return {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}}

        for name in ("p", "q"):
            await api.create(PODS, pod(name, containers=[wanted("400m")]))

        async def resized(cpu: str) -> api_server.Answer:
            return await api.patch(f"{PODS}/p/resize", {"spec": {"containers": [wanted(cpu)]}}, "strategic")

        assert (await resized("500m")).code == 200
        beyond = await resized("650m")
        assert beyond.code == 403
        assert beyond.message.endswith(
            "exceeded quota: q, requested: requests.cpu=150m, used: requests.cpu=900m, limited: requests.cpu=1"
        )
        large = await resized("800m")
        assert large.code == 403
        assert "maximum cpu usage per Container is 700m, but limit is 800m" in large.message
        assert (await resized("300m")).code == 200
        await wait_used(api, requests_cpu="700m")

    api_server.run(scenario)


async def wait_used(api: api_server.Api, **wanted: str) -> None:
    async with api.watch("/api/v1/namespaces/default/resourcequotas") as watch:
        while True:
            status = (await watch.next())["object"].get("status", {})
            if status.get("used") == {key.replace("_", "."): value for key, value in wanted.items()}:
                return


def test_a_new_quota_is_counted_at_once_and_again_when_it_limits_something_else() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        await quota(api, configmaps="5")
        await wait_used(api, configmaps="1")
        path = "/api/v1/namespaces/default/resourcequotas/q"
        await api.patch(path, {"spec": {"hard": {"configmaps": "9", "secrets": "4"}}})
        await wait_used(api, configmaps="1", secrets="0")
        shown = await api.get(path)
        assert shown["status"]["hard"] == {"configmaps": "9", "secrets": "4"}

    api_server.run(scenario)


def test_what_is_deleted_or_finished_counts_no_more() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        await quota(api, configmaps="1", pods="1")
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        await api.create(PODS, pod())
        await wait_used(api, configmaps="1", pods="1")
        assert (await api.call("POST", CONFIG_MAPS, {"metadata": {"name": "b"}})).code == 403
        await api.call("DELETE", f"{CONFIG_MAPS}/a")
        await wait_used(api, configmaps="0", pods="1")
        await api.create(CONFIG_MAPS, {"metadata": {"name": "b"}})
        await api.patch(f"{PODS}/p/status", {"status": {"phase": "Succeeded"}})
        await wait_used(api, configmaps="1", pods="0")

    api_server.run(scenario)


# ---------------------------------------------------------------- services


def test_services_get_addresses_that_nobody_else_has_and_give_them_back() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(SERVICES, service("a"))
        address = made["spec"]["clusterIP"]
        assert made["spec"]["clusterIPs"] == [address]
        assert address.startswith("10.43.")
        assert (made["spec"]["ipFamilies"], made["spec"]["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
        taken = await api.call("POST", SERVICES, service("b", clusterIP=address))
        assert (taken.code, taken.causes) == (422, [("FieldValueInvalid", "spec.clusterIPs")])
        assert f"failed to allocate IP {address}: provided IP is already allocated" in taken.message
        owned = await api.get(f"/apis/networking.k8s.io/v1/ipaddresses/{address}")
        assert owned["spec"]["parentRef"] == {
            "group": "",
            "resource": "services",
            "namespace": "default",
            "name": "a",
        }
        await api.call("DELETE", f"{SERVICES}/a")
        assert (await api.create(SERVICES, service("b", clusterIP=address)))["spec"]["clusterIP"] == address
        outside = await api.call("POST", SERVICES, service("c", clusterIP="192.0.2.1"))
        assert "The range of valid IPs is 10.43.0.0/16" in outside.message

    api_server.run(scenario)


def test_an_address_that_is_in_use_cannot_be_made_free_by_deleting_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/apis/networking.k8s.io/v1/ipaddresses"
        address = (await api.create(SERVICES, service("a")))["spec"]["clusterIP"]
        first = await api.get(f"{path}/{address}")
        for deleted in (f"{path}/{address}", f"{path}?labelSelector=ipaddress.kubernetes.io/ip-family"):
            assert (await api.call("DELETE", deleted)).code == 200
            again = await api.get(f"{path}/{address}")
            assert again["metadata"]["uid"] != first["metadata"]["uid"]
            assert again["spec"] == first["spec"]
        assert (await api.call("POST", SERVICES, service("b", clusterIP=address))).code == 422
        await api.call("DELETE", f"{SERVICES}/a")
        assert (await api.call("GET", f"{path}/{address}")).code == 404

    api_server.run(scenario)


def test_a_write_that_fails_holds_no_address() -> None:
    async def scenario(api: api_server.Api) -> None:
        before = len((await api.get("/apis/networking.k8s.io/v1/ipaddresses"))["items"])
        await api.create(SERVICES, service("a"))
        assert (await api.call("POST", SERVICES, service("a"))).code == 409
        assert (await api.call("POST", SERVICES, service("b", sessionAffinity="Sometimes"))).code == 422
        await api.create(f"{SERVICES}?dryRun=All", service("c"))
        assert len((await api.get("/apis/networking.k8s.io/v1/ipaddresses"))["items"]) == before + 1

    api_server.run(scenario)


def test_node_ports_are_in_range_unique_and_given_back() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(SERVICES, service("a", type="NodePort"))
        port = made["spec"]["ports"][0]["nodePort"]
        assert 30000 <= port <= 32767
        again = service("b", type="NodePort", ports=[{"port": 80, "nodePort": port}])
        refused = await api.call("POST", SERVICES, again)
        assert refused.message == (
            f'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated'
        )
        low = await api.call("POST", SERVICES, service("b", type="NodePort", ports=[{"port": 80, "nodePort": 80}]))
        assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in low.message
        made["spec"]["type"] = "ClusterIP"
        assert "nodePort" not in (await api.replace(f"{SERVICES}/a", made))["spec"]["ports"][0]
        assert (await api.create(SERVICES, again))["spec"]["ports"][0]["nodePort"] == port

    api_server.run(scenario)


def test_an_update_keeps_what_was_allocated() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(SERVICES, service("a", type="NodePort"))
        after = await api.replace(f"{SERVICES}/a", service("a", type="NodePort", selector={"x": "y"}))
        assert after["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        assert after["spec"]["ports"] == made["spec"]["ports"]
        changed = await api.patch(f"{SERVICES}/a", {"spec": {"clusterIP": "10.43.9.9"}})
        assert changed.code == 422

    api_server.run(scenario)


def test_headless_and_external_services_have_no_address() -> None:
    async def scenario(api: api_server.Api) -> None:
        headless = await api.create(SERVICES, service("a", clusterIP="None"))
        assert headless["spec"]["clusterIPs"] == ["None"]
        external = await api.create(SERVICES, service("b", type="ExternalName", externalName="example.com"))
        assert "clusterIP" not in external["spec"]
        moved = await api.patch(f"{SERVICES}/b", {"spec": {"type": "ClusterIP", "externalName": None}})
        assert moved.json["spec"]["clusterIP"].startswith("10.43.")

    api_server.run(scenario)


# ---------------------------------------------------------------- storage, owners, secrets


def test_claims_get_the_default_class_and_are_protected() -> None:
    async def scenario(api: api_server.Api) -> None:
        is_default = {"storageclass.kubernetes.io/is-default-class": "true"}
        await api.create(
            "/apis/storage.k8s.io/v1/storageclasses",
            {"metadata": {"name": "local", "annotations": is_default}, "provisioner": "x/y"},
        )
        claims = "/api/v1/namespaces/default/persistentvolumeclaims"
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = await api.create(claims, {"metadata": {"name": "a"}, "spec": spec})
        assert made["spec"]["storageClassName"] == "local"
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        none = await api.create(claims, {"metadata": {"name": "b"}, "spec": {**spec, "storageClassName": ""}})
        assert none["spec"]["storageClassName"] == ""

    api_server.run(scenario)


@pytest.mark.parametrize("may_expand", [True, False])
def test_a_claim_grows_where_its_class_lets_it(may_expand: bool) -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(
            "/apis/storage.k8s.io/v1/storageclasses",
            {"metadata": {"name": "c"}, "provisioner": "x/y", "allowVolumeExpansion": may_expand},
        )
        claims = "/api/v1/namespaces/default/persistentvolumeclaims"
        requests = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "c", "resources": requests}
        await api.create(claims, {"metadata": {"name": "a"}, "spec": spec})
        more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        assert (await api.patch(f"{claims}/a", more)).code == 422
        await api.patch(f"{claims}/a/status", {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}})
        assert (await api.patch(f"{claims}/a", {"metadata": {"labels": {"x": "y"}}})).code == 200
        grown = await api.patch(f"{claims}/a", more)
        assert grown.code == (200 if may_expand else 403)
        if not may_expand:
            assert grown.message.endswith("the storageclass that provisions the pvc must support resize")

    api_server.run(scenario)


def test_ingresses_get_the_newest_of_the_default_classes_unless_they_name_one() -> None:
    async def scenario(api: api_server.Api) -> None:
        classes, ingresses = (
            f"/apis/networking.k8s.io/v1/{path}" for path in ("ingressclasses", "namespaces/default/ingresses")
        )
        spec = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
        early = await api.create(ingresses, {"metadata": {"name": "early"}, "spec": spec})
        assert "ingressClassName" not in early["spec"]
        for name, annotations in (("other", {}), ("mine", {"ingressclass.kubernetes.io/is-default-class": "true"})):
            about = {"name": name, "annotations": annotations}
            await api.create(classes, {"metadata": about, "spec": {"controller": "example.com/c"}})
        made = await api.create(ingresses, {"metadata": {"name": "a"}, "spec": spec})
        assert made["spec"]["ingressClassName"] == "mine"
        old = {"name": "b", "annotations": {"kubernetes.io/ingress.class": "x"}}
        assert "ingressClassName" not in (await api.create(ingresses, {"metadata": old, "spec": spec}))["spec"]

    api_server.run(scenario)


def test_a_token_secret_is_filled_and_its_token_lives_as_long_as_it() -> None:
    async def scenario(api: api_server.Api) -> None:
        await account(api)
        secret = {
            "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
            "type": "kubernetes.io/service-account-token",
        }
        made = await api.create("/api/v1/namespaces/default/secrets", secret)
        token = base64.b64decode(made["data"]["token"]).decode()
        headers = {"authorization": f"Bearer {token}"}
        assert (await api.call("GET", "/api", who=None, headers=headers)).code == 200
        await api.call("DELETE", "/api/v1/namespaces/default/secrets/t")
        assert (await api.call("GET", "/api", who=None, headers=headers)).code == 401

    api_server.run(scenario)


def test_blocking_an_owners_deletion_needs_the_right_to_its_finalizers() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(
            "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
            {
                "metadata": {"name": "edit"},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "joe"}],
                "roleRef": {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "edit"},
            },
        )
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "blockOwnerDeletion": True}
        wanted = {"metadata": {"name": "a", "ownerReferences": [owner]}}
        refused = await api.call("POST", CONFIG_MAPS, wanted, who=JOE)
        assert refused.code == 403
        assert "can't set finalizers on" in refused.message
        owner["blockOwnerDeletion"] = False
        assert (await api.call("POST", CONFIG_MAPS, wanted, who=JOE)).code == 201

    api_server.run(scenario)


def test_a_range_that_is_none_does_not_keep_services_from_their_addresses() -> None:
    """An older server may have stored one; a Service must never come to be without its address."""

    async def scenario(api: api_server.Api) -> None:
        ranges = "/apis/networking.k8s.io/v1/servicecidrs"
        await api.create(ranges, {"metadata": {"name": "odd"}, "spec": {"cidrs": ["10.99.0.0/24"]}})
        record = api.store.range("/registry/servicecidrs/odd").records[0]
        wrong = envelope.parse(record)
        wrong["spec"]["cidrs"] = ["nonsense"]
        wrong["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
        await api.store.update(record.key, envelope.encode(wrong), record.mod_revision)
        assert (await api.create(SERVICES, service("a")))["spec"]["clusterIP"].startswith("10.43.")
        refused = await api.call("POST", SERVICES, service("b", clusterIP="nonsense"))
        assert "spec.clusterIPs[0]" in [cause[1] for cause in refused.causes]

    api_server.run(scenario)


def test_a_port_that_is_missing_is_for_validation_to_tell() -> None:
    async def scenario(api: api_server.Api) -> None:
        answer = await api.call("POST", SERVICES, service("a", type="NodePort", ports=[{"nodePort": 31000}]))
        assert answer.code == 422
        assert ("FieldValueInvalid", "spec.ports[0].port") in [cause[:2] for cause in answer.causes]

    api_server.run(scenario)


# ---------------------------------------------------------------- certificates


def signing_request(organization: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "kim"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def test_a_signing_request_says_who_really_asks_and_makes_no_masters() -> None:
    async def scenario(api: api_server.Api) -> None:
        path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        spec = {
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
            "request": signing_request("devs"),
            "username": "somebody-else",
        }
        made = await api.create(path, {"metadata": {"name": "a"}, "spec": spec})
        assert made["spec"]["username"] == "admin"
        approved = {"type": "Approved", "status": "True", "reason": "Test"}
        made["status"] = {"conditions": [approved]}
        after = await api.replace(f"{path}/a/approval", made)
        assert after["status"]["conditions"][0]["type"] == "Approved"
        master = {**spec, "request": signing_request("system:masters")}
        refused = await api.call("POST", path, {"metadata": {"name": "b"}, "spec": master})
        assert refused.code == 403
        assert "with system:masters group is not allowed" in refused.message

    api_server.run(scenario)
