"""The user's kubeconfig: our entries come and go, everybody else's stay as they were."""

import datetime
import pathlib
import stat

import pytest
import yaml

from pinnace.assemble import kubeconfig, pki, places, settings

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


def make_cluster(folder: pathlib.Path, name: str = "pinnace") -> tuple[places.Places, settings.Cluster]:
    where = places.of(folder)
    where.data.mkdir(parents=True)
    cluster = settings.Cluster(
        name=name,
        id=places.cluster_id(where.data),
        port=6443,
        node=True,
        node_name="node-1",
        node_ip="192.0.2.2",
        kubelet_port=10250,
        pod_cidr="10.42.0.0/16",
        service_cidr="10.43.0.0/16",
    )
    pki.ensure(where, cluster, NOW)
    return where, cluster


FOREIGN = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


def test_merge_keeps_foreign_entries_and_unmerge_restores_them(tmp_path: pathlib.Path) -> None:
    where, cluster = make_cluster(tmp_path / "c")
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(FOREIGN))
    assert kubeconfig.merge(path, where, cluster) == "pinnace"
    merged = yaml.safe_load(path.read_text())
    assert [entry["name"] for entry in merged["contexts"]] == ["work", "pinnace"]
    assert merged["current-context"] == "pinnace"
    assert merged["users"][0] == FOREIGN["users"][0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kubeconfig.unmerge(path, cluster)
    restored = yaml.safe_load(path.read_text())
    for section in ("clusters", "users", "contexts"):
        assert restored[section] == FOREIGN[section]


def test_merging_twice_changes_nothing(tmp_path: pathlib.Path) -> None:
    where, cluster = make_cluster(tmp_path / "c")
    path = tmp_path / "sub" / "config"
    kubeconfig.merge(path, where, cluster)
    first = path.read_text()
    kubeconfig.merge(path, where, cluster)
    assert path.read_text() == first


def test_a_second_cluster_of_the_same_name_gets_a_name_of_its_own(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config"
    first, second = make_cluster(tmp_path / "one"), make_cluster(tmp_path / "two")
    assert kubeconfig.merge(path, *first) == "pinnace"
    assert kubeconfig.merge(path, *second) == f"pinnace-{second[1].id}"
    assert kubeconfig.merge(path, *first) == "pinnace"
    kubeconfig.unmerge(path, first[1])
    assert [entry["name"] for entry in yaml.safe_load(path.read_text())["contexts"]] == [f"pinnace-{second[1].id}"]


@pytest.mark.parametrize("text", ["{", "[]", "just text", "clusters: a", "users: [a]"])
def test_a_broken_file_is_named_and_left_alone(tmp_path: pathlib.Path, text: str) -> None:
    where, cluster = make_cluster(tmp_path / "c")
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(kubeconfig.KubeconfigError, match=str(path)):
        kubeconfig.merge(path, where, cluster)
    assert path.read_text() == text
    assert not path.with_name("config.lock").exists()


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: pathlib.Path) -> None:
    where, cluster = make_cluster(tmp_path / "c")
    path = tmp_path / "config"
    path.mkdir()
    with pytest.raises(kubeconfig.KubeconfigError, match=f"{path} cannot be read"):
        kubeconfig.merge(path, where, cluster)
    kubeconfig.unmerge(path, cluster)


def test_certificates_are_kept_while_good_and_renewed_before_they_expire(tmp_path: pathlib.Path) -> None:
    where, cluster = make_cluster(tmp_path / "c")
    before = {file.name: file.read_bytes() for file in where.pki.iterdir()}
    pki.ensure(where, cluster, NOW + datetime.timedelta(days=30))
    assert {file.name: file.read_bytes() for file in where.pki.iterdir()} == before
    pki.ensure(where, cluster, NOW + datetime.timedelta(days=300))
    assert (where.pki / "ca.crt").read_bytes() == before["ca.crt"]
    assert (where.pki / "sa.key").read_bytes() == before["sa.key"]
    assert (where.pki / "apiserver.crt").read_bytes() != before["apiserver.crt"]


def test_private_keys_are_readable_by_their_owner_alone(tmp_path: pathlib.Path) -> None:
    where, _ = make_cluster(tmp_path / "c")
    keys = list(where.pki.glob("*.key"))
    assert len(keys) >= 5
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
