"""Environment, command and files of a container as upstream resolves them."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.kubelet.pod import env_files, environment, fields, podfiles
from pinnace.testing import pods

FACTS = fields.Facts("node-1", ("10.42.0.5",), ("192.0.2.1",), {"cpu": "2", "memory": "1Gi"})


def sources(
    config_maps: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    services: tuple[Any, ...] = (),
    env_files: Mapping[tuple[str, str], str] | None = None,
) -> environment.Sources:
    files = env_files or {}
    return environment.Sources(
        (config_maps or {}).get, (secrets or {}).get, services, FACTS, lambda volume, path: files.get((volume, path))
    )


def resolve(container: Any, found: environment.Sources | None = None, **spec: Any) -> dict[str, str]:
    pod = pods.pod("web", containers=[container], **spec)
    pod["metadata"]["labels"] = {"app": "shop"}
    return dict(environment.resolve(pod, container, found or sources()).environment)


EXPANSIONS = [
    ("plain", "plain"),
    ("$(A)", "1"),
    ("x$(A)y$(B)z", "x1y2z"),
    ("$$(A)", "$(A)"),
    ("$$$(A)", "$1"),
    ("$(MISSING)", "$(MISSING)"),
    ("$(A", "$(A"),
    ("$A", "$A"),
    ("tail$", "tail$"),
    ("$()", "$()"),
]


@pytest.mark.parametrize(("text", "expected"), EXPANSIONS)
def test_expansion(text: str, expected: str) -> None:
    assert environment.expand(text, {"A": "1", "B": "2"}.get) == expected


@given(st.text(alphabet="$()ab", max_size=20))
def test_expansion_always_ends_and_leaves_text_without_dollars_alone(text: str) -> None:
    result = environment.expand(text, {}.get)
    assert result == text or "$$" in text


def test_later_variables_see_earlier_ones_and_go_before_sources() -> None:
    container = pods.container(
        "main",
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "conf"}}],
        env=[{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(P_x)"}, {"name": "P_y", "value": "own"}],
    )
    found = sources({"conf": {"data": {"x": "from", "y": "map"}}})
    assert resolve(container, found) == {"P_x": "from", "P_y": "own", "A": "1", "B": "1from"}


def test_the_downward_api() -> None:
    paths = {
        "NAME": "metadata.name",
        "LABEL": "metadata.labels['app']",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "IP": "status.podIP",
        "HOST": "status.hostIP",
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    assert resolve(pods.container("main", env=env)) == {
        "NAME": "web",
        "LABEL": "shop",
        "NODE": "node-1",
        "ACCOUNT": "default",
        "IP": "10.42.0.5",
        "HOST": "192.0.2.1",
    }


RESOURCES = [
    ("limits.cpu", None, "2"),
    ("limits.cpu", "1m", "1500"),
    ("requests.cpu", "1m", "250"),
    ("requests.cpu", None, "1"),
    ("limits.memory", "1Mi", "65"),
    ("requests.memory", None, "0"),
]


@pytest.mark.parametrize(("resource", "divisor", "expected"), RESOURCES)
def test_resource_references_round_up(resource: str, divisor: str | None, expected: str) -> None:
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    container = pods.container(
        "main",
        resources={"limits": {"cpu": "1500m", "memory": "64.5Mi"}, "requests": {"cpu": "250m"}},
        env=[{"name": "R", "valueFrom": {"resourceFieldRef": reference}}],
    )
    assert resolve(container)["R"] == expected


def test_a_limit_that_is_not_set_is_what_the_node_has() -> None:
    env = [{"name": "R", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}]
    assert resolve(pods.container("main", env=env))["R"] == "1024"


ERRORS = [
    ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
    ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
    ({"configMapKeyRef": {"name": "conf", "key": "k"}}, "couldn't find key k in ConfigMap default/conf"),
    ({"secretKeyRef": {"name": "sec", "key": "k"}}, "couldn't find key k in Secret default/sec"),
    ({"fieldRef": {"fieldPath": "spec.secret"}}, "unsupported fieldPath: spec.secret"),
]


@pytest.mark.parametrize(("origin", "message"), ERRORS)
def test_what_is_missing_is_named(origin: dict[str, Any], message: str) -> None:
    container = pods.container("main", env=[{"name": "X", "valueFrom": origin}])
    with pytest.raises(environment.ConfigError) as error:
        resolve(container, sources({"conf": {"data": {}}}, {"sec": {"data": {}}}))
    assert str(error.value) == message


def test_optional_references_leave_no_variable() -> None:
    reference = {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}
    container = pods.container(
        "main",
        env=[{"name": "X", "valueFrom": reference}],
        envFrom=[{"secretRef": {"name": "no", "optional": True}}],
    )
    assert resolve(container) == {}


def test_secrets_of_any_bytes_reach_the_environment() -> None:
    secret = {"data": {"K": base64.b64encode(b"\xff\x00").decode()}}
    value = resolve(pods.container("main", envFrom=[{"secretRef": {"name": "s"}}]), sources(secrets={"s": secret}))["K"]
    assert value.encode("utf-8", "surrogateescape") == b"\xff\x00"


def service(namespace: str, name: str, address: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": address, "ports": list(ports)}}


SERVICES = (
    service("default", "my-db", "10.43.0.7", {"port": 5432, "name": "sql", "protocol": "TCP"}),
    service("default", "headless", "None", {"port": 1}),
    service("default", "kubernetes", "10.43.0.1", {"port": 443, "name": "https", "protocol": "TCP"}),
)


def test_services_become_variables() -> None:
    assert resolve(pods.container("main"), sources(services=SERVICES)) == {
        "KUBERNETES_SERVICE_HOST": "10.43.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": "tcp://10.43.0.1:443",
        "KUBERNETES_PORT_443_TCP": "tcp://10.43.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": "10.43.0.1",
        "MY_DB_SERVICE_HOST": "10.43.0.7",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_PORT": "tcp://10.43.0.7:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.43.0.7:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.43.0.7",
    }


def test_without_service_links_only_the_api_is_left() -> None:
    found = resolve(pods.container("main"), sources(services=SERVICES), enableServiceLinks=False)
    assert {name.partition("_")[0] for name in found} == {"KUBERNETES"}


def test_references_name_everything_a_pod_uses() -> None:
    pod = pods.pod(
        containers=[
            pods.container(
                "main",
                env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}],
                envFrom=[{"secretRef": {"name": "s1"}}],
            )
        ],
        initContainers=[pods.container("i", envFrom=[{"configMapRef": {"name": "c2"}}])],
        imagePullSecrets=[{"name": "s2"}],
        volumes=[
            {"name": "v1", "secret": {"secretName": "s3"}},
            {"name": "v2", "projected": {"sources": [{"secret": {"name": "s4"}}, {"configMap": {"name": "c3"}}]}},
        ],
    )
    names = {(each.kind, each.name) for each in environment.references(pod)}
    assert names == {
        *(("configmap", name) for name in ("c1", "c2", "c3")),
        *(("secret", name) for name in ("s1", "s2", "s3", "s4")),
    }


# ---------------------------------------------------------------- hosts and resolv.conf

HOST = podfiles.Resolver(("8.8.8.8",), ("corp.example",), ("timeout:1",))


def resolver(**spec: Any) -> podfiles.Resolver:
    return podfiles.resolver(pods.pod(**spec), HOST, ("10.43.0.10",), "cluster.local")


CLUSTER = podfiles.Resolver(
    ("10.43.0.10",), ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"), ("ndots:5",)
)
POLICIES = [
    ({"dnsPolicy": "ClusterFirst"}, CLUSTER),
    ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, HOST),
    ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTER),
    ({"dnsPolicy": "Default"}, HOST),
    ({"dnsPolicy": "None"}, podfiles.Resolver()),
]


@pytest.mark.parametrize(("spec", "expected"), POLICIES)
def test_dns_policies(spec: dict[str, Any], expected: podfiles.Resolver) -> None:
    assert resolver(**spec) == expected


def test_dns_config_adds_and_overrides() -> None:
    config = {
        "nameservers": ["1.1.1.1", "1.0.0.1", "9.9.9.9"],
        "searches": ["a.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    found = resolver(dnsConfig=config)
    assert found.nameservers == ("10.43.0.10", "1.1.1.1", "1.0.0.1")
    assert found.searches[-1] == "a.example"
    assert found.options == ("ndots:2", "edns0")
    assert podfiles.parse_resolver(podfiles.render_resolver(found)) == found


NAMES = [
    ({}, ("web", "")),
    ({"hostname": "db", "subdomain": "data"}, ("db", "data.default.svc.cluster.local")),
    (
        {"hostname": "db", "subdomain": "data", "setHostnameAsFQDN": True},
        ("db.data.default.svc.cluster.local", "data.default.svc.cluster.local"),
    ),
]


@pytest.mark.parametrize(("spec", "expected"), NAMES)
def test_host_names(spec: dict[str, Any], expected: tuple[str, str]) -> None:
    assert podfiles.host_names(pods.pod("web", **spec), "cluster.local") == expected


def test_the_hosts_file() -> None:
    pod = pods.pod("web", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])
    text = podfiles.hosts(pod, ("10.42.0.5",), "db", "data.default.svc.cluster.local", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.42.0.5\tdb.data.default.svc.cluster.local\tdb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


ENV_FILE = """# settings
A='1'   # a comment
  B='two
lines # and no comment'
C= 'lost'
A='never reached'
EMPTY=''
"""


@pytest.mark.parametrize(
    ("key", "expected"),
    [("A", "1"), ("B", "two\nlines # and no comment"), ("C", ""), ("EMPTY", ""), ("MISSING", None)],
)
def test_environment_files_are_read_as_a_shell_would(key: str, expected: str | None) -> None:
    assert env_files.find(ENV_FILE, key) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A=plain", "line 1: value must be enclosed in single quotes"),
        ("\n=''", "line 2: empty variable name"),
        ("A ='x'", "line 1: whitespace before '=' is not allowed"),
        ("words", "line 1: missing '='"),
        ("A='x'y", "line 1: unexpected content after closing quote"),
        ("A='x\ny", "starting at line 1: unclosed single quote"),
    ],
)
def test_bad_environment_files_say_where(text: str, why: str) -> None:
    with pytest.raises(env_files.BadFile, match=f"{why}$"):
        env_files.find(text, "Z")


def from_file(key: str, **more: Any) -> dict[str, Any]:
    return {"valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "a.env", "key": key, **more}}}


def test_variables_come_from_files_of_volumes() -> None:
    found = sources(env_files={("v", "a.env"): "A='1'\n"})
    env = [{"name": "X", **from_file("A")}, {"name": "Y", **from_file("B", optional=True)}]
    assert resolve(pods.container("main", env=env), found) == {"X": "1"}
    with pytest.raises(environment.ConfigError, match=r"key B in file a\.env of volume v not found"):
        resolve(pods.container("main", env=[{"name": "Y", **from_file("B")}]), found)
    with pytest.raises(environment.ConfigError, match=r"file a\.env of volume v not found"):
        resolve(pods.container("main", env=[{"name": "Y", **from_file("B")}]))
    with pytest.raises(environment.ConfigError, match="must be enclosed"):
        resolve(
            pods.container("main", env=[{"name": "Y", **from_file("B")}]), sources(env_files={("v", "a.env"): "B=1"})
        )


def test_a_full_name_that_the_kernel_cannot_hold_is_refused() -> None:
    pod = pods.pod("w" * 50, subdomain="data", setHostnameAsFQDN=True)
    with pytest.raises(
        podfiles.NameTooLong, match=r"is too long \(64 characters is the max, 81 characters requested\)"
    ):
        podfiles.host_names(pod, "cluster.local")
