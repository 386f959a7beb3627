"""Addresses: inside the range, never twice, never the gateway, reused as late as possible."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinnace.net import interface, ipam

RANGE = ipaddress.IPv4Network("10.42.3.0/24")


def test_the_first_address_follows_the_gateway() -> None:
    assert str(ipam.gateway(RANGE)) == "10.42.3.1"
    assert str(ipam.next_address(RANGE, (), None)) == "10.42.3.2"


def test_a_released_address_is_not_given_out_at_once() -> None:
    assert str(ipam.next_address(RANGE, (), ipaddress.IPv4Address("10.42.3.2"))) == "10.42.3.3"


def test_the_search_wraps_around_and_leaves_out_the_broadcast_address() -> None:
    assert str(ipam.next_address(RANGE, (), ipaddress.IPv4Address("10.42.3.254"))) == "10.42.3.2"


def test_a_full_range_is_an_error_that_names_it() -> None:
    with pytest.raises(interface.NoAddressLeft, match=r"253 addresses of 10\.42\.3\.0/24"):
        ipam.next_address(RANGE, frozenset(RANGE), None)


@given(used=st.sets(st.integers(2, 254)), last=st.none() | st.integers(2, 254))
def test_an_address_is_never_given_twice(used: set[int], last: int | None) -> None:
    taken = {RANGE[index] for index in used}
    if len(used) == 253:
        return
    found = ipam.next_address(RANGE, taken, None if last is None else RANGE[last])
    assert found in RANGE
    assert found not in taken
    assert found not in (RANGE[0], RANGE[1], RANGE[255])
