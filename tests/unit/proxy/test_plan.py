"""Services to map elements: what a packet will find, and that a change touches nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pinnace.kernel import elements
from pinnace.net import rules
from pinnace.proxy import plan

Object = dict[str, Any]


def service(**spec: Any) -> Object:
    base = {"clusterIP": "10.43.0.5", "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {**base, **spec}}


def endpoint(address: str, node: str = "here", **conditions: bool) -> Object:
    return {"addresses": [address], "nodeName": node, "conditions": {"ready": True, **conditions}}


def slice_of(*endpoints: Object, port: int = 8080, name: str = "", protocol: str = "TCP") -> Object:
    return {
        "metadata": {"name": "web-1", "namespace": "default"},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": protocol}],
        "endpoints": list(endpoints),
    }


def targets(found: plan.Backends) -> list[str]:
    return [f"{one.address}:{one.port}" for one in found.endpoints]


TWO = slice_of(endpoint("10.42.0.3", node="there"), endpoint("10.42.0.4"))
AWAY = slice_of(endpoint("10.42.0.3", node="there"))
CLUSTER = plan.Front("10.43.0.5", 6, 80)
NODE_PORT = plan.Front("", 6, 30080)
PORT = {"port": 80, "nodePort": 30080}


def test_a_cluster_ip_leads_to_each_ready_endpoint_those_of_this_node_first() -> None:
    found = plan.entries(service(), [TWO], "here")
    assert list(found) == [CLUSTER]
    assert targets(found[CLUSTER]) == ["10.42.0.4:8080", "10.42.0.3:8080"]
    assert found[CLUSTER].picks == (rules.Pick(2),)
    assert found[CLUSTER].local_count == 1


def test_no_ready_endpoint_nothing_picked_so_that_the_packet_is_refused() -> None:
    for slices in ([], [slice_of(endpoint("10.42.0.3", ready=False))]):
        found = plan.entries(service(), slices, "here")
        assert found == {CLUSTER: plan.Backends((), None, is_own=True)}
        assert [(step.map, step.is_add) for step in plan.changes({}, found)] == [("refused", True)]


def test_terminating_endpoints_serve_only_while_none_is_ready() -> None:
    going = endpoint("10.42.0.9", ready=False, serving=True, terminating=True)
    assert targets(plan.entries(service(), [slice_of(going)], "here")[CLUSTER]) == ["10.42.0.9:8080"]
    both = plan.entries(service(), [slice_of(going, endpoint("10.42.0.3"))], "here")
    assert targets(both[CLUSTER]) == ["10.42.0.3:8080"]


def test_node_ports_and_their_policies() -> None:
    everywhere = plan.entries(service(type="NodePort", ports=[PORT]), [TWO], "here")
    assert everywhere[NODE_PORT].picks == (rules.Pick(2, is_node_port=True, is_masqueraded=True),)
    local = plan.entries(service(ports=[PORT], externalTrafficPolicy="Local"), [TWO], "here")
    # Pods and the node itself reach all; who comes from outside only this node's, with the address unchanged.
    assert local[NODE_PORT].inside == rules.Pick(2, is_node_port=True)
    assert local[NODE_PORT].outside == rules.Pick(1, is_node_port=True, is_local=True)
    assert local[CLUSTER].picks == (rules.Pick(2),)


def test_a_local_policy_without_endpoints_here_drops_and_without_any_refuses() -> None:
    spec = service(ports=[PORT], externalTrafficPolicy="Local", internalTrafficPolicy="Local")
    away = plan.entries(spec, [AWAY], "here")
    written = {(step.map, key): value for step in plan.changes({}, away) for key, value in step.elements}
    assert written["services", CLUSTER.key] == elements.DROP
    assert written["nodeports_outside", NODE_PORT.key] == elements.DROP
    assert written["nodeports", NODE_PORT.key] == elements.goto(rules.Pick(1, is_node_port=True).chain)
    nothing = plan.changes({}, plan.entries(spec, [], "here"))
    assert [(step.map, [key for key, _ in step.elements]) for step in nothing] == [("refused", [CLUSTER.key])]


def test_external_and_balancer_addresses_lead_there_too() -> None:
    spec = service(type="LoadBalancer", externalIPs=["192.0.2.1"], ports=[PORT])
    ingress = [{"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "x.example"}, {"ip": "::9"}]
    spec["status"] = {"loadBalancer": {"ingress": ingress}}
    found = plan.entries(spec, [TWO], "here")
    assert {front.address for front in found} == {"10.43.0.5", "192.0.2.1", "192.0.2.2", ""}
    assert found[plan.Front("192.0.2.2", 6, 80)].picks == (rules.Pick(2, is_masqueraded=True),)


def test_client_affinity_remembers_an_endpoint_by_a_number_that_others_do_not_change() -> None:
    spec = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 7}})
    two = plan.entries(spec, [TWO], "here")
    assert two[CLUSTER].picks == (rules.Pick(2, affinity_seconds=7),)
    one = plan.entries(spec, [AWAY], "here")
    model = Maps()
    model.apply(plan.changes({}, two))
    number = (10 << 24 | 42 << 16 | 3).to_bytes(4, "little")
    before = model.maps["endpoints"][CLUSTER.key + number]
    model.apply(plan.changes(two, one))
    assert model.maps["endpoints"][CLUSTER.key + number] == before
    assert len(model.maps["identities"]) == 1
    assert rules.Pick(2, affinity_seconds=plan.AFFINITY_SECONDS) in plan.picks(
        plan.entries(service(sessionAffinity="ClientIP"), [TWO], "here")
    )


def test_ports_are_matched_by_name_and_protocol() -> None:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        {"name": "sctp", "port": 53, "protocol": "SCTP"},
    ]
    slices = [
        slice_of(endpoint("10.42.0.3"), port=5353, name="dns", protocol="UDP"),
        slice_of(endpoint("10.42.0.4"), port=5354, name="dns-tcp"),
        slice_of(endpoint("10.42.0.5"), port=5355, name="sctp", protocol="SCTP"),
    ]
    found = plan.entries(service(ports=ports), slices, "here")
    assert {front.protocol: targets(backends) for front, backends in found.items()} == {
        17: ["10.42.0.3:5353"],
        6: ["10.42.0.4:5354"],
        132: ["10.42.0.5:5355"],
    }


def test_what_is_no_address_or_port_is_left_out_and_the_rest_stays() -> None:
    odd = slice_of(endpoint("10.42.0.300"), endpoint("10.42.1"), endpoint("example.org"), endpoint("10.42.0.3"))
    spec = service(externalIPs=["2001:db8::1", "rubbish", "192.0.2.1"])
    found = plan.entries(spec, [odd, slice_of(endpoint("10.42.0.9"), port=0), slice_of(port=70000)], "here")
    assert [front.address for front in found] == ["10.43.0.5", "192.0.2.1"]
    assert targets(found[CLUSTER]) == ["10.42.0.3:8080"]
    plan.changes({}, found)


def test_headless_external_and_foreign_proxied_services_have_no_entries() -> None:
    assert plan.entries(service(clusterIP="None"), [TWO], "here") == plan.EMPTY
    assert plan.entries(service(type="ExternalName", externalName="example.org"), [TWO], "here") == plan.EMPTY
    for label, value in ((plan.PROXY_NAME_LABEL, "other"), (plan.HEADLESS_LABEL, "")):
        foreign = service()
        foreign["metadata"]["labels"] = {label: value}
        assert plan.entries(foreign, [TWO], "here") == plan.EMPTY


def test_nothing_changed_nothing_written() -> None:
    found = plan.entries(service(), [TWO], "here")
    assert plan.changes(found, found) == []


def test_udp_connections_are_stale_where_an_endpoint_went_or_the_first_one_came() -> None:
    def state(*addresses: str, protocol: str = "UDP") -> plan.Entries:
        pieces = [slice_of(*(endpoint(one) for one in addresses), protocol=protocol)]
        return plan.entries(service(ports=[{"port": 80, "protocol": protocol}]), pieces, "here")

    none, one, two = state(), state("10.42.0.3"), state("10.42.0.3", "10.42.0.4")
    front, left = ("10.43.0.5", 80), frozenset({("10.42.0.3", 8080)})
    assert plan.stale_udp(none, one) == {front: left}
    assert plan.stale_udp(two, one) == {front: left}
    assert plan.stale_udp(one, plan.EMPTY) == {front: frozenset()}
    assert plan.stale_udp(plan.EMPTY, one) == {front: left}
    assert plan.stale_udp(one, two) == plan.stale_udp(none, none) == {}
    assert plan.stale_udp(state(protocol="TCP"), state("10.42.0.3", protocol="TCP")) == {}


class Maps:
    """What the kernel does with our steps; refuses what it would refuse."""

    def __init__(self) -> None:
        self.maps: dict[str, dict[bytes, bytes]] = {name: {} for name in rules.PROXY_MAPS}

    def apply(self, steps: list[elements.Change]) -> None:
        for step in steps:
            here = self.maps[step.map]
            for key, value in step.elements:
                if step.is_add:
                    assert here.get(key, value) == value
                    here[key] = value
                else:
                    del here[key]


def endpoints_with(nodes: st.SearchStrategy[str]) -> st.SearchStrategy[list[Object]]:
    one = st.builds(
        endpoint, st.integers(2, 7).map(lambda number: f"10.42.0.{number}"), node=nodes, ready=st.booleans()
    )
    return st.lists(one, max_size=5, unique_by=lambda found: found["addresses"][0])


PORTS: list[Object] = [PORT, {"port": 80, "protocol": "UDP"}, {"port": 81, "nodePort": 30081}]


def number_and_protocol(port: Object) -> tuple[int, str]:
    return port["port"], port.get("protocol", "TCP")


port_lists: st.SearchStrategy[list[Object]] = st.lists(st.sampled_from(PORTS), unique_by=number_and_protocol)
specs = st.fixed_dictionaries(
    {
        "ports": port_lists,
        "externalTrafficPolicy": st.sampled_from(["Local", "Cluster"]),
        "internalTrafficPolicy": st.sampled_from(["Local", "Cluster"]),
        "sessionAffinity": st.sampled_from(["None", "ClientIP"]),
        "externalIPs": st.lists(st.just("192.0.2.1"), max_size=1),
    }
)


@given(st.lists(st.tuples(specs, endpoints_with(st.sampled_from(["here", "there"]))), max_size=6))
def test_any_series_of_changes_ends_in_the_maps_of_the_last_state(states: list[tuple[Object, list[Object]]]) -> None:
    """And every mark that a chain can pick leads to an endpoint."""
    gradual, current = Maps(), plan.EMPTY
    for spec, ends in states:
        wanted = plan.entries(service(**spec), [slice_of(*ends), slice_of(*ends, protocol="UDP")], "here")
        gradual.apply(plan.changes(current, wanted))
        current = wanted
    at_once = Maps()
    at_once.apply(plan.changes({}, current))
    assert gradual.maps == at_once.maps
    for front, backends in current.items():
        _, _, endpoints, identities = rules.SERVICE_MAPS if front.address else rules.NODE_PORT_MAPS
        for pick in backends.picks:
            for index in range(pick.count):
                mark = (index + rules.LOCAL * pick.is_local).to_bytes(4, "little")
                assert front.key + mark in gradual.maps[endpoints]
                if pick.affinity_seconds:
                    number = gradual.maps[identities][front.key + mark][-4:]
                    assert gradual.maps[endpoints][front.key + number] == gradual.maps[endpoints][front.key + mark]


def test_a_service_that_the_node_serves_at_its_own_address_is_not_translated() -> None:
    """The names: their server listens at the Service's address. A translation would lead to itself."""
    piece = slice_of(endpoint(CLUSTER.address))
    piece["ports"] = [{"name": "", "port": CLUSTER.port, "protocol": "TCP"}]
    assert plan.entries(service(), [piece], "here") == {}
