"""What the server does by itself: bootstrap objects, expiry, repair."""

import asyncio
import datetime

import pytest

from pinnace.api import resources
from pinnace.apiserver import server
from pinnace.apiserver.bootstrap import flow_table, roles
from pinnace.apiserver.keepers import expiry, flow_objects
from pinnace.apiserver.storage import envelope
from pinnace.kit import clock
from pinnace.store import memory
from pinnace.testing import api_server

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def test_every_cluster_has_these_from_its_first_moment() -> None:
    async def scenario(api: api_server.Api) -> None:
        for path in (
            "/api/v1/namespaces/kube-node-lease",
            "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
            "/apis/networking.k8s.io/v1/servicecidrs/kubernetes",
            f"{RBAC}/clusterroles/system:controller:job-controller",
            f"{FLOW}/prioritylevelconfigurations/workload-low",
            f"{FLOW}/flowschemas/kube-system-service-accounts",
            f"{RBAC}/namespaces/kube-system/roles/extension-apiserver-authentication-reader",
        ):
            await api.get(path)
        service = await api.get("/api/v1/namespaces/default/services/kubernetes")
        assert service["spec"]["clusterIP"] == "10.43.0.1"
        slice_ = await api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        assert slice_["endpoints"][0]["addresses"] == ["192.0.2.7"]
        admin = await api.get(f"{RBAC}/clusterroles/admin")
        assert admin["aggregationRule"]
        assert any("pods" in rule.get("resources", ()) for rule in admin["rules"])

    api_server.run(scenario)


def test_a_restart_restores_what_is_missing_keeps_what_was_added_and_writes_nothing_else() -> None:
    async def main() -> None:
        store = memory.MemoryStore(envelope.stamp, clock.SystemClock())

        async def started() -> api_server.Api:
            made = server.ApiServer(store, clock.SystemClock(), api_server.options())
            await made.start()
            return api_server.Api(made, store)

        api = await started()
        await api.server.stop()
        before = store.revision
        api = await started()
        assert store.revision == before
        viewer = f"{RBAC}/clusterroles/system:public-info-viewer"
        extra = {"verbs": ["get"], "nonResourceURLs": ["/mine"]}
        await api.patch(viewer, {"rules": [extra]})
        left_alone = f"{RBAC}/clusterroles/system:discovery"
        await api.patch(left_alone, {"metadata": {"annotations": {roles.AUTO_UPDATE: "false"}}, "rules": []})
        await api.call("DELETE", f"{RBAC}/clusterroles/view")
        await api.server.stop()
        api = await started()
        urls = [url for rule in (await api.get(viewer))["rules"] for url in rule["nonResourceURLs"]]
        assert "/mine" in urls
        assert "/livez" in urls
        assert not (await api.get(left_alone)).get("rules")
        await api.get(f"{RBAC}/clusterroles/view")
        await api.server.stop()
        await store.close()

    asyncio.run(main())


class _Later(clock.SystemClock):
    """When no request of before can be under way any more."""

    def now(self) -> datetime.datetime:
        return super().now() + datetime.timedelta(minutes=5)


def test_an_address_whose_service_is_gone_is_free_after_a_restart() -> None:
    async def main() -> None:
        store = memory.MemoryStore(envelope.stamp, clock.SystemClock())
        first = server.ApiServer(store, clock.SystemClock(), api_server.options())
        await first.start()
        api = api_server.Api(first, store)
        services = "/api/v1/namespaces/default/services"
        await api.create(
            services, {"metadata": {"name": "a"}, "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 1}]}}
        )
        await first.stop()
        # As if the process had been killed between deleting the Service and giving its address back.
        await store.delete("/registry/services/specs/default/a")
        second = server.ApiServer(store, _Later(), api_server.options())
        await second.start()
        api = api_server.Api(second, store)
        await second._addresses.repair()
        await api.create(
            services, {"metadata": {"name": "b"}, "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 1}]}}
        )
        await second.stop()
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "expired"),
    [
        ({"metadata": {"creationTimestamp": "2026-01-01T10:59:00Z"}}, True),
        ({"metadata": {"creationTimestamp": "2026-01-01T11:01:00Z"}}, False),
        ({"metadata": {"creationTimestamp": "2026-01-01T09:00:00Z"}, "lastTimestamp": "2026-01-01T11:30:00Z"}, False),
        (
            {
                "metadata": {"creationTimestamp": "2026-01-01T09:00:00Z"},
                "series": {"lastObservedTime": "2026-01-01T11:30:00.000001Z"},
            },
            False,
        ),
        ({"metadata": {}}, False),
    ],
)
def test_when_an_event_is_old_news(fields: api_server.Object, expired: bool) -> None:
    assert expiry.is_expired(fields, NOW) is expired


def test_a_sweep_takes_old_events_alone() -> None:
    async def scenario(api: api_server.Api) -> None:
        events = "/api/v1/namespaces/default/events"
        reference = {"kind": "Pod", "name": "p", "namespace": "default"}
        fresh = {"metadata": {"name": "fresh"}, "involvedObject": reference}
        await api.create(events, fresh)
        key = "/registry/events/default/old"
        old = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "old", "namespace": "default", "creationTimestamp": "2020-01-01T00:00:00Z"},
            "involvedObject": reference,
        }
        await api.store.create(key, envelope.encode(old))
        await expiry.Expiry(api.server.services.objects, clock.SystemClock()).sweep()
        left = await api.get(events)
        assert [item["metadata"]["name"] for item in left["items"]] == ["fresh"]

    api_server.run(scenario)


def dangling(schema: api_server.Object) -> str:
    """Status and reason of the condition that tells whether the schema's level exists."""
    (found,) = [each for each in schema["status"]["conditions"] if each["type"] == "Dangling"]
    return f"{found['status']} {found['reason']}"


def test_flow_schemas_tell_whether_their_level_exists_and_the_mandatory_ones_come_back() -> None:
    async def scenario(api: api_server.Api) -> None:
        schemas, levels = f"{FLOW}/flowschemas", f"{FLOW}/prioritylevelconfigurations"
        assert dangling(await api.get(f"{schemas}/probes")) == "False Found"
        spec = {"priorityLevelConfiguration": {"name": "mine"}, "matchingPrecedence": 7, "rules": []}
        async with api.watch(f"{schemas}?fieldSelector=metadata.name=mine") as watch:
            await api.create(schemas, {"metadata": {"name": "mine"}, "spec": spec})
            await watch.next()
            assert dangling((await watch.next())["object"]) == "True NotFound"
            level = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
            await api.create(levels, {"metadata": {"name": "mine"}, "spec": level})
            assert dangling((await watch.next())["object"]) == "False Found"
        async with api.watch(f"{levels}?fieldSelector=metadata.name=catch-all") as watch:
            await watch.next()
            await api.call("DELETE", f"{levels}/catch-all")
            assert [(await watch.next())["type"] for _ in range(2)] == ["DELETED", "ADDED"]

    api_server.run(scenario)


def test_specs_of_default_flow_objects_are_restored_unless_users_took_them_over() -> None:
    (level,) = [level for level in flow_table.levels() if level["metadata"]["name"] == "system"]
    changed = {**level, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1}}}
    assert flow_objects.restored(level, level) is None
    assert flow_objects.restored(changed, level) == level
    taken = {**changed, "metadata": {"name": "system", "annotations": {flow_table.AUTO_UPDATE: "false"}}}
    assert flow_objects.restored(taken, level) is None
    exempt = next(flow_table.levels())
    lent = {**exempt, "spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 50}}}
    assert flow_objects.restored(lent, exempt) is None


def test_flow_objects_are_looked_at_when_one_of_theirs_changes_and_never_else() -> None:
    class Counted(flow_objects.FlowObjects):
        kept = 0

        async def keep(self) -> None:
            self.kept += 1

    async def scenario(api: api_server.Api) -> None:
        counted = Counted(api.server.services)
        following = asyncio.create_task(counted.follow(resources.PRIORITY_LEVELS))
        await asyncio.sleep(0.01)
        for number in range(5):
            await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"other-{number}"}})
        level = {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
        await api.create(f"{FLOW}/prioritylevelconfigurations", {"metadata": {"name": "mine"}, "spec": level})
        while counted.kept < 2:  # noqa: ASYNC110 - a count, no event
            await asyncio.sleep(0.01)
        assert counted.kept == 2
        following.cancel()

    api_server.run(scenario)
