"""Services to map elements: what a packet will find, and that a change touches nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

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


TWO = slice_of(endpoint("10.42.0.3"), endpoint("10.42.0.4", node="there"))


def test_a_cluster_ip_leads_to_each_ready_endpoint() -> None:
    found = plan.entries(service(), [TWO], "here")
    assert found.services == {"10.43.0.5 . tcp . 80": "goto n2"}
    assert found.endpoints == {
        "10.43.0.5 . tcp . 80 . 0": "10.42.0.3 . 8080",
        "10.43.0.5 . tcp . 80 . 1": "10.42.0.4 . 8080",
    }
    assert found.hairpin == {"10.42.0.3 . 10.42.0.3"}
    assert not found.nodeports


def test_no_endpoint_no_entry_so_that_the_packet_is_refused() -> None:
    assert plan.entries(service(), [], "here") == plan.EMPTY
    assert not plan.entries(service(), [slice_of(endpoint("10.42.0.3", ready=False))], "here").services


def test_terminating_endpoints_serve_only_while_none_is_ready() -> None:
    going = endpoint("10.42.0.9", ready=False, serving=True, terminating=True)
    assert len(plan.entries(service(), [slice_of(going)], "here").endpoints) == 1
    both = plan.entries(service(), [slice_of(going, endpoint("10.42.0.3"))], "here")
    assert list(both.endpoints.values()) == ["10.42.0.3 . 8080"]


def test_node_ports_and_their_policies() -> None:
    port = {"port": 80, "nodePort": 30080}
    everywhere = plan.entries(service(type="NodePort", ports=[port]), [TWO], "here")
    assert everywhere.nodeports == {"tcp . 30080": "goto p2"}
    local = plan.entries(service(ports=[port], externalTrafficPolicy="Local"), [TWO], "here")
    assert local.nodeports == {"tcp . 30080": "goto l1"}
    assert local.nodeport_endpoints == {"tcp . 30080 . 0": "10.42.0.3 . 8080"}
    assert local.services == {"10.43.0.5 . tcp . 80": "goto n2"}


def test_client_affinity_chooses_by_hash() -> None:
    assert plan.entries(service(sessionAffinity="ClientIP"), [TWO], "here").chains == {"h2"}


def test_ports_are_matched_by_name_and_protocol() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    slices = [
        slice_of(endpoint("10.42.0.3"), port=5353, name="dns", protocol="UDP"),
        slice_of(endpoint("10.42.0.4"), port=5354, name="dns-tcp"),
    ]
    found = plan.entries(service(ports=ports), slices, "here")
    assert found.endpoints == {
        "10.43.0.5 . udp . 53 . 0": "10.42.0.3 . 5353",
        "10.43.0.5 . tcp . 53 . 0": "10.42.0.4 . 5354",
    }


def test_headless_external_and_foreign_proxied_services_have_no_entries() -> None:
    assert plan.entries(service(clusterIP="None"), [TWO], "here") == plan.EMPTY
    assert plan.entries(service(type="ExternalName", externalName="example.org"), [TWO], "here") == plan.EMPTY
    foreign = service()
    foreign["metadata"]["labels"] = {plan.PROXY_NAME_LABEL: "other"}
    assert plan.entries(foreign, [TWO], "here") == plan.EMPTY


def test_nothing_changed_nothing_written() -> None:
    found = plan.entries(service(), [TWO], "here")
    assert plan.change("t", found, found, found.chains) == ""


def apply(text: str, maps: dict[str, dict[str, str]]) -> None:
    """A small model of what nft does with our element commands; refuses what the kernel would refuse."""
    for line in text.splitlines():
        words = line.split(" ", 5)
        if words[1] != "element" or words[4] == "hairpin":
            continue
        table = maps.setdefault(words[4], {})
        for element in words[5].strip("{} ").split(", "):
            key, _, value = element.partition(" : ")
            if words[0] == "delete":
                del table[key]
            else:
                assert table.get(key, value) == value
                table[key] = value


addresses = st.lists(st.integers(2, 9).map(lambda number: f"10.42.0.{number}"), unique=True, max_size=4)


@given(st.lists(addresses, max_size=6))
def test_any_series_of_changes_ends_in_the_maps_of_the_last_state(states: list[list[str]]) -> None:
    maps: dict[str, dict[str, str]] = {name: {} for name in plan.MAPS}
    current, chains = plan.EMPTY, frozenset[str]()
    spec = service(ports=[{"port": 80, "nodePort": 30080}])
    for state in states:
        wanted = plan.entries(spec, [slice_of(*(endpoint(address) for address in state))], "here")
        apply(plan.change("t", current, wanted, chains), maps)
        chains |= wanted.chains
        current = wanted
    assert maps == {name: dict(getattr(current, name)) for name in plan.MAPS}
