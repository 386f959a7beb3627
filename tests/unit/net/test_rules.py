"""The texts of the table: what is in them by whom, and that two settings never share a name."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from pinnace.net import interface, rules

ADDRESS = ipaddress.IPv4Address("10.42.0.5")

picks = st.builds(
    rules.Pick, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 1, 10800])
)


@given(picks, picks)
def test_two_ways_to_pick_never_share_a_chain(one: rules.Pick, other: rules.Pick) -> None:
    assert (one.chain == other.chain) == (one == other)


def test_host_ports_are_found_by_address_only_where_they_name_one() -> None:
    ports = [
        (ADDRESS, interface.HostPort("", 80, 8080, "TCP")),
        (ADDRESS, interface.HostPort("0.0.0.0", 81, 8081, "UDP")),
        (ADDRESS, interface.HostPort("192.0.2.1", 80, 8082, "SCTP")),
    ]
    text = rules.host_ports("t", ports)
    assert "add element ip t hostports { tcp . 80 : 10.42.0.5 . 8080, udp . 81 : 10.42.0.5 . 8081 }\n" in text
    assert "add element ip t hostports_at { 192.0.2.1 . sctp . 80 : 10.42.0.5 . 8082 }\n" in text
    assert rules.host_ports("t", []) == "flush map ip t hostports\nflush map ip t hostports_at\n"


def test_every_pod_of_the_node_may_meet_itself() -> None:
    text = rules.hairpin("t", ipaddress.IPv4Network("10.42.0.0/24"))
    assert text.count(" . ") == 254
    assert "10.42.0.5 . 10.42.0.5" in text
