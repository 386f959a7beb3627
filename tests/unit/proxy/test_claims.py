"""Who has a front does not depend on how it came about; whoever gives one back leaves it to the next; some are nobody's."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinnace.net import host_ports, interface, rules
from pinnace.proxy import claims, plan

TCP, UDP = 6, 17
NODE = "192.0.2.1"
RESERVED = claims.Reserved(
    ranges=(ipaddress.IPv4Network("10.42.0.0/16"), ipaddress.IPv4Network("10.43.0.0/16")),
    node_addresses=frozenset({NODE}),
    node_ports=frozenset({(TCP, 6443), (TCP, 10250)}),
)


def backends(mark: int, *, is_own: bool = False) -> plan.Backends:
    return plan.Backends((plan.Endpoint("10.42.0.9", mark, is_local=True),), rules.Pick(1), is_own=is_own)


def holder(table: claims.Claims, address: str, port: int, protocol: int = TCP) -> claims.Owner | None:
    return table.owner_of(plan.Front(address, protocol, port))


def service(name: str, since: str, *fronts: tuple[str, int], own: tuple[str, int] | None = None):  # type: ignore[no-untyped-def]
    entries = {plan.Front(address, TCP, port): backends(port) for address, port in fronts}
    if own:
        entries[plan.Front(own[0], TCP, own[1])] = backends(own[1], is_own=True)
    return {("d", name): (since, entries)}


def test_an_own_address_goes_before_age_and_age_before_the_name() -> None:
    table = claims.Claims(claims.Reserved())
    front = ("203.0.113.9", 443)
    table.replace(service("b", "2026-01-02T00:00:00Z", front))
    table.replace(service("c", "2026-01-01T00:00:00Z", front))
    assert holder(table, *front) == ("d", "c")
    table.replace(service("a", "2026-01-01T00:00:00Z", front))
    assert holder(table, *front) == ("d", "a")
    table.replace(service("own", "2026-01-03T00:00:00Z", own=front))
    assert holder(table, *front) == ("d", "own")
    assert table.losses(("d", "a")) == [plan.Front(*front[:1], TCP, front[1])]


def test_what_goes_leaves_the_front_to_the_next() -> None:
    table = claims.Claims(claims.Reserved())
    front = plan.Front("203.0.113.9", TCP, 443)
    table.replace(service("first", "2026-01-01T00:00:00Z", front[::2]))
    old, new = table.replace(service("second", "2026-01-02T00:00:00Z", front[::2]))
    assert old == new
    old, new = table.replace({("d", "second"): ("", {})})
    assert old == new == {front: backends(443)}
    table.replace(service("second", "2026-01-02T00:00:00Z", front[::2]))
    table.replace({("d", "first"): ("", {})})
    assert table.owner_of(front) == ("d", "second")


def test_the_same_port_of_all_the_node_s_addresses_and_of_one() -> None:
    table = claims.Claims(RESERVED)
    table.replace(service("node-port", "2026-01-01T00:00:00Z", ("", 30080)))
    old, new = table.replace(service("younger", "2026-01-02T00:00:00Z", (NODE, 30080), ("203.0.113.9", 30080)))
    assert new.keys() - old.keys() == {plan.Front("203.0.113.9", TCP, 30080)}
    assert holder(table, NODE, 30080) is None
    table.replace(service("oldest", "2025-01-01T00:00:00Z", (NODE, 30080)))
    assert holder(table, NODE, 30080) == ("d", "oldest")
    assert holder(table, "", 30080) == ("d", "node-port")
    table.replace({("d", "oldest"): ("", {})})
    _, new = table.replace({("d", "node-port"): ("", {})})
    assert new == {plan.Front(NODE, TCP, 30080): backends(30080)}


NOBODYS = [
    ("10.43.0.1", 443),
    ("10.43.0.10", 53),
    ("10.43.77.7", 80),
    ("10.42.0.3", 80),
    ("127.0.0.1", 22),
    ("169.254.169.254", 80),
    ("224.0.0.1", 80),
    (NODE, 6443),
    (NODE, 10250),
    ("", 6443),
]


@pytest.mark.parametrize("front", NOBODYS)
def test_what_is_nobody_s_is_claimed_in_vain(front: tuple[str, int]) -> None:
    table = claims.Claims(RESERVED)
    old, new = table.replace(service("thief", "2020-01-01T00:00:00Z", front, ("203.0.113.9", 80)))
    assert (old, new.keys()) == ({}, {plan.Front("203.0.113.9", TCP, 80)})
    assert table.losses(("d", "thief")) == [plan.Front(front[0], TCP, front[1])]


@pytest.mark.parametrize(
    ("port", "is_free"),
    [
        (interface.HostPort("", 8080, 80, "TCP"), True),
        (interface.HostPort("127.0.0.1", 8080, 80, "TCP"), True),
        (interface.HostPort("", 6443, 80, "TCP"), False),
        (interface.HostPort("", 6443, 80, "UDP"), True),
        (interface.HostPort("127.0.0.1", 6443, 80, "TCP"), False),
        (interface.HostPort("10.43.0.10", 53, 80, "UDP"), False),
    ],
)
def test_host_ports_of_pods(port: interface.HostPort, is_free: bool) -> None:
    table = claims.Claims(RESERVED)
    claim = host_ports.Claim(ipaddress.IPv4Address("10.42.0.3"), (port,), "2026-01-01T00:00:00Z")
    entries = plan.of_host_ports(claim)
    table.replace({("", "sandbox"): (claim.since, entries)})
    (front,) = entries
    assert (table.owner_of(front) == ("", "sandbox")) is is_free


addresses = st.sampled_from(["", NODE, "203.0.113.9", "10.43.0.7", "127.0.0.1"])
fronts = st.builds(plan.Front, addresses, st.sampled_from([TCP, UDP]), st.sampled_from([80, 6443, 30080]))
owners = st.tuples(st.sampled_from(["", "d", "e"]), st.sampled_from(["a", "b", "c"]))
held = st.tuples(
    st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    st.dictionaries(fronts, st.builds(backends, st.integers(1, 3), is_own=st.booleans()), max_size=5),
)
steps = st.lists(st.dictionaries(owners, held, max_size=3), max_size=12)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_any_series_of_changes_says_what_the_last_state_says(
    series: list[dict[claims.Owner, tuple[str, plan.Entries]]],
) -> None:
    """And what is told of each change is exactly what differs."""
    table = claims.Claims(RESERVED)
    last: dict[claims.Owner, tuple[str, plan.Entries]] = {}
    shown: dict[plan.Front, plan.Backends] = {}
    for wanted in series:
        old, new = table.replace(wanted)
        last.update(wanted)
        assert old == {front: found for front, found in shown.items() if front in old}
        shown = {front: found for front, found in shown.items() if front not in old} | dict(new)
        fresh = claims.Claims(RESERVED)
        _, everything = fresh.replace(last)
        assert shown == everything
        for front in shown:
            assert table.owner_of(front) == fresh.owner_of(front)
