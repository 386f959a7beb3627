"""What counts as there, and what as lacking."""

import pathlib

import pytest

from pinnace.assemble import doctor

NOTHING = doctor.Known(frozenset(), frozenset(), frozenset(), frozenset(), {})


@pytest.mark.parametrize(
    ("known", "how"),
    [
        (doctor.Known(frozenset({"veth"}), frozenset(), frozenset(), frozenset(), {}), "loaded"),
        (doctor.Known(frozenset(), frozenset({"veth"}), frozenset(), frozenset(), {}), "built in"),
        (doctor.Known(frozenset(), frozenset(), frozenset({"veth"}), frozenset(), {}), "loaded when needed"),
        (doctor.Known(frozenset(), frozenset(), frozenset(), frozenset({"veth"}), {}), "built in"),
        (doctor.Known(frozenset(), frozenset(), frozenset(), frozenset(), {"VETH": "y"}), "built in"),
        (doctor.Known(frozenset(), frozenset(), frozenset(), frozenset(), {"VETH": "m"}), "loaded when needed"),
        (doctor.Known(frozenset(), frozenset(), frozenset(), frozenset(), {"BRIDGE": "y"}), ""),
        (doctor.Known(frozenset(), frozenset(), frozenset({"bridge"}), frozenset(), {}), ""),
        (NOTHING, "not known to be missing"),
    ],
)
def test_a_feature_is_lacking_only_where_the_kernel_says_so(known: doctor.Known, how: str) -> None:
    assert known.how("veth", "VETH", "") == how


def test_the_configuration_of_a_kernel_is_read() -> None:
    text = "# a comment\nCONFIG_VETH=m\n# CONFIG_BRIDGE is not set\nCONFIG_NFT_NAT=y\n"
    assert doctor.parse_config(text) == {"VETH": "m", "NFT_NAT": "y"}


@pytest.mark.parametrize(
    ("release", "expected"), [("6.1.0-18-amd64", (6, 1)), ("5.3.18+", (5, 3)), ("6.18.44-x-v6", (6, 18))]
)
def test_releases_are_compared_as_numbers(release: str, expected: tuple[int, ...]) -> None:
    assert doctor.numbers(release) == expected


def test_missing_programs_are_named_with_the_line_that_installs_them(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check for check in doctor.checks(versions=False)}
    assert not found["crun"].ok
    assert found["crun"].required
    assert found["crun"].fix == "apt-get update && apt-get install -y crun"
    dnf = tmp_path / "dnf"
    dnf.write_text("#!/bin/sh\n")
    dnf.chmod(0o755)
    found = {check.name: check for check in doctor.checks(versions=False)}
    assert found["conmon"].fix == "dnf install -y conmon"
