"""The texts of the table: what is in them by whom, and that two settings never share a name."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from pinnace.net import rules

picks = st.builds(
    rules.Pick, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 1, 10800])
)


@given(picks, picks)
def test_two_ways_to_pick_never_share_a_chain(one: rules.Pick, other: rules.Pick) -> None:
    assert (one.chain == other.chain) == (one == other)


def test_every_pod_of_the_node_may_meet_itself() -> None:
    emptied, filled = rules.hairpin(ipaddress.IPv4Network("10.42.0.0/24"))
    assert emptied.is_flush
    assert len(filled.elements) == 254
    assert (bytes((10, 42, 0, 5)) * 2, b"") in filled.elements


def test_nothing_takes_the_node_s_own_ports() -> None:
    networks = ipaddress.IPv4Network("10.42.0.0/16"), ipaddress.IPv4Network("10.43.0.0/16")
    text = rules.base_table(rules.TableSettings("t", "b", *networks, reserved_ports=(6443, 10250)))
    translate = [line for line in text.splitlines() if line.startswith("add rule ip t translate ")]
    assert "@reserved fib daddr type local return" in translate[0]
    assert "add element ip t reserved { tcp . 6443 }" in text
