"""Which ranges of Services' addresses may go."""

import ipaddress

import pytest

from pinnace.controllers import servicecidr


@pytest.mark.parametrize(
    ("going", "kept", "names", "expected"),
    [
        (["10.0.0.0/24"], [], [], False),
        (["10.0.0.0/24"], [], ["10.0.0.5"], True),
        (["10.0.0.0/24"], ["10.0.0.0/16"], ["10.0.0.5"], False),
        (["10.0.0.0/24"], ["10.1.0.0/16"], ["10.1.0.5", "2001:db8::1"], False),
        (["10.0.0.0/24", "2001:db8::/64"], ["10.0.0.0/24"], ["10.0.0.5", "2001:db8::1"], True),
    ],
)
def test_an_address_in_use_needs_another_range(
    going: list[str], kept: list[str], names: list[str], expected: bool
) -> None:
    found = servicecidr.has_orphans(map(ipaddress.ip_network, going), map(ipaddress.ip_network, kept), names)
    assert found is expected
