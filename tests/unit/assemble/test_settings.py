"""What `up` decides once: ranges that meet nobody else's, and a file that is read back as it was."""

import ipaddress
import pathlib

import pytest

from pinnace.assemble import places, settings

ADDRESS = ipaddress.IPv4Address


@pytest.mark.parametrize(
    ("in_use", "pods", "services"),
    [
        ((), "10.42.0.0/16", "10.43.0.0/16"),
        (("192.168.1.5", "127.0.0.1"), "10.42.0.0/16", "10.43.0.0/16"),
        (("10.42.0.1", "10.43.0.10"), "10.44.0.0/16", "10.45.0.0/16"),
        (("10.43.7.7",), "10.44.0.0/16", "10.45.0.0/16"),
        (("10.42.0.1", "10.45.0.10"), "10.46.0.0/16", "10.47.0.0/16"),
    ],
)
def test_the_first_free_pair_of_ranges_is_taken(in_use: tuple[str, ...], pods: str, services: str) -> None:
    found = settings.free_ranges(frozenset(ADDRESS(address) for address in in_use))
    assert [str(network) for network in found] == [pods, services]


def test_clusters_of_other_folders_try_ranges_of_their_own_first(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    usual = places.default_data_dir(places.DEFAULT_NAME)
    assert settings.first_range(places.of(usual)) == 0
    others = {settings.first_range(places.of(tmp_path / str(number))) for number in range(20)}
    assert 0 not in others
    assert len(others) > 10
    assert all(index < settings.MAX_CLUSTERS for index in others)


def test_clusters_of_other_folders_try_a_port_of_their_own_for_the_node_agent(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has not bound its port yet, or is stopped, cannot be seen: another must not take the same."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    usual = places.default_data_dir(places.DEFAULT_NAME)
    assert settings.first_kubelet_port(places.of(usual)) == settings.KUBELET_PORT
    others = {settings.first_kubelet_port(places.of(tmp_path / str(number))) for number in range(20)}
    assert settings.KUBELET_PORT not in others
    assert len(others) > 10


def test_the_search_for_ranges_goes_round() -> None:
    last = settings.MAX_CLUSTERS - 1
    pods, _ = settings.free_ranges(frozenset(), last)
    assert str(pods) == "10.168.0.0/16"
    again, _ = settings.free_ranges(frozenset({pods[1]}), last)
    assert str(again) == "10.42.0.0/16"


def test_no_pair_left_is_said(tmp_path: pathlib.Path) -> None:
    taken = frozenset(ADDRESS(int(ADDRESS("10.42.0.1")) + index * 2**17) for index in range(settings.MAX_CLUSTERS))
    with pytest.raises(settings.SettingsError, match="no free address range"):
        settings.free_ranges(taken)


def test_settings_are_read_back_as_written(tmp_path: pathlib.Path) -> None:
    where = places.of(tmp_path)
    cluster = settings.decide(where, name="x", port=7443, node=False, addresses_in_use=frozenset())
    settings.save(where, cluster)
    assert settings.load(where) == cluster
    assert cluster.cluster_dns == cluster.kubernetes_service_ip + "0"
    assert len(cluster.bridge) <= 15


def test_a_broken_file_names_itself_and_the_way_out(tmp_path: pathlib.Path) -> None:
    where = places.of(tmp_path)
    where.cluster_file.write_text('{"name": "x"}')
    with pytest.raises(settings.SettingsError, match=r"cluster\.json.*--purge"):
        settings.load(where)


def test_no_cluster_names_the_folder_and_the_command(tmp_path: pathlib.Path) -> None:
    with pytest.raises(settings.SettingsError, match="pinnace up"):
        settings.require(tmp_path)


def test_clusters_in_different_folders_never_share_a_run_folder(tmp_path: pathlib.Path) -> None:
    assert places.of(tmp_path / "a").run != places.of(tmp_path / "b").run
