"""What a plug-in that knows nothing of the server, such as a webhook, may do to a write: replace the object, be late, come and go."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pinnace.api import errors
from pinnace.apiserver import addresses
from pinnace.apiserver.admission import attributes as admission
from pinnace.apiserver.admission import chain
from pinnace.testing import api_server

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
WRITES = frozenset({"CREATE", "UPDATE", "DELETE"})
HELD = frozenset({("", "pods"), ("", "configmaps"), ("", "services")})


class Plugin:
    """Calls `act` with what it is asked about, and remembers it."""

    def __init__(self, act: Callable[[admission.Attributes], None] = lambda _: None) -> None:
        self._act = act
        self.asked: list[admission.Attributes] = []

    async def mutate(self, attributes: admission.Attributes) -> None:
        self.asked.append(attributes)
        self._act(attributes)

    async def validate(self, attributes: admission.Attributes) -> None:
        self.asked.append(attributes)


class Slow:
    async def mutate(self, attributes: admission.Attributes) -> None:
        await asyncio.Event().wait()


def joined(api: api_server.Api, name: str, plugin: Any, **options: Any) -> Any:
    api.server.services.admission.add(chain.Registration(name, WRITES, HELD, mutator=plugin, **options))
    return plugin


def with_obj(**fields: Any) -> Callable[[admission.Attributes], None]:
    """A webhook: its answer is another object."""
    return lambda attributes: attributes.replace({**attributes.written, **fields})


def pod(name: str) -> api_server.Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def test_an_object_that_takes_the_place_of_another_is_decoded_defaulted_and_stored() -> None:
    containers = [{"name": "other", "image": "j", "ports": [{"containerPort": 80}], "bogus": 1}]
    metadata = {"name": "x", "namespace": "kube-system", "uid": "mine", "labels": {"a": "b"}}

    async def scenario(api: api_server.Api) -> None:
        await api.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        joined(api, "replacer", Plugin(with_obj(metadata=metadata, spec={"containers": containers})))
        created = await api.create(PODS, pod("p"))
        assert created["metadata"]["name"] == "p"
        assert created["metadata"]["namespace"] == "default"
        assert created["metadata"]["uid"] != "mine"
        assert created["metadata"]["labels"] == {"a": "b"}
        (container,) = created["spec"]["containers"]
        assert (container["name"], container["imagePullPolicy"]) == ("other", "Always")
        assert "bogus" not in container
        assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
        # Those before it are asked again: what they had added was lost with the first object.
        assert created["spec"]["serviceAccountName"] == "default"
        assert {each["key"] for each in created["spec"]["tolerations"]} == {
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
        }

    api_server.run(scenario)


def test_a_replacement_that_is_no_object_of_the_kind_refuses_the_write_and_is_validated_like_any_other() -> None:
    async def scenario(api: api_server.Api) -> None:
        joined(api, "breaker", Plugin(with_obj(spec={"ports": "none"})))
        wrong = await api.call("POST", SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
        assert (wrong.code, "cannot unmarshal string" in wrong.message) == (400, True)
        joined(api, "breaker", Plugin(with_obj(spec={"ports": [{"port": 99999}]})))
        wrong = await api.call("POST", SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
        assert (wrong.code, wrong.causes[0][1]) == (422, "spec.ports[0].port")

    api_server.run(scenario)


def test_updates_and_deletions_are_asked_about_with_their_options() -> None:
    async def scenario(api: api_server.Api) -> None:
        plugin = joined(api, "watcher", Plugin())
        await api.create(f"{CONFIG_MAPS}?fieldManager=me&dryRun=All", {"metadata": {"name": "a"}})
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        joined(
            api, "filler", Plugin(lambda seen: with_obj(data={"k": "v"})(seen) if seen.operation == "UPDATE" else None)
        )
        replaced = await api.replace(f"{CONFIG_MAPS}/a", {"metadata": {"name": "a"}})
        assert replaced["data"] == {"k": "v"}
        await api.call("DELETE", f"{CONFIG_MAPS}/a", {"gracePeriodSeconds": 3})
        head = {"apiVersion": "meta.k8s.io/v1", "fieldValidation": "Warn"}
        assert [seen.options for seen in plugin.asked] == [
            {**head, "kind": "CreateOptions", "fieldManager": "me", "dryRun": ["All"]},
            {**head, "kind": "CreateOptions"},
            {**head, "kind": "UpdateOptions"},
            {"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 3},
        ]

    api_server.run(scenario)


def test_who_is_late_refuses_the_write_or_is_left_out() -> None:
    async def scenario(api: api_server.Api) -> None:
        joined(api, "slow", Slow(), timeout_seconds=0.01)
        late = await api.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert (late.code, late.reason) == (500, "InternalError")
        assert late.message == 'Internal error occurred: failed calling webhook "slow": context deadline exceeded'
        joined(api, "slow", Slow(), timeout_seconds=0.01, fails_open=True)
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})

    api_server.run(scenario)


def test_plug_ins_join_and_leave_while_requests_are_served() -> None:
    async def scenario(api: api_server.Api) -> None:
        await api.create(CONFIG_MAPS, {"metadata": {"name": "before"}})
        plugin = joined(api, "guest", Plugin())
        await api.create(CONFIG_MAPS, {"metadata": {"name": "during"}})
        api.server.services.admission.remove("guest")
        await api.create(CONFIG_MAPS, {"metadata": {"name": "after"}})
        assert [seen.name for seen in plugin.asked] == ["during"]

    api_server.run(scenario)


def test_only_those_before_a_replacement_that_bear_it_are_asked_again() -> None:
    async def scenario(api: api_server.Api) -> None:
        again = joined(api, "again", Plugin(), is_reinvoked=True)
        once = joined(api, "once", Plugin())
        joined(api, "replacer", Plugin(with_obj(data={"k": "v"})))
        later = joined(api, "later", Plugin(), is_reinvoked=True)
        await api.create(CONFIG_MAPS, {"metadata": {"name": "a"}})
        assert [len(plugin.asked) for plugin in (again, once, later)] == [2, 1, 1]

    api_server.run(scenario)


def test_what_reserves_sees_what_is_written_in_the_end() -> None:
    async def scenario(api: api_server.Api) -> None:
        joined(api, "headless", Plugin(with_obj(spec={"clusterIP": "None", "ports": [{"port": 80}]})))
        made = await api.create(SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
        assert made["spec"]["clusterIPs"] == ["None"]

    api_server.run(scenario)


def test_a_service_is_reached_at_its_address() -> None:
    async def scenario(api: api_server.Api) -> None:
        made = await api.create(SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 443}]}})
        elsewhere = {"type": "ExternalName", "externalName": "example.com"}
        await api.create(SERVICES, {"metadata": {"name": "b"}, "spec": elsewhere})
        await api.create(SERVICES, {"metadata": {"name": "c"}, "spec": {"clusterIP": "None", "ports": [{"port": 443}]}})
        resolver = addresses.ByClusterIp(api.server.services.objects)
        assert resolver.resolve("default", "a", 443) == f"https://{made['spec']['clusterIP']}:443"
        assert resolver.resolve("default", "b", 9443) == "https://example.com:9443"
        for name, port in (("a", 80), ("c", 443), ("none", 443)):
            with pytest.raises(errors.StatusError) as raised:
                resolver.resolve("default", name, port)
            assert raised.value.code == 503

    api_server.run(scenario)
