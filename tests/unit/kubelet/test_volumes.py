"""Volumes: what stands in them, that readers never see half of a change, and that nothing leads out of them."""

import asyncio
import base64
import datetime
import os
import pathlib
import socket
import threading
from typing import Any

import pytest

from pinnace.api import resources
from pinnace.kubelet.pod import containers, environment, fields
from pinnace.kubelet.volumes import (
    empty_dir,
    host_path,
    interface,
    manager,
    payload,
    persistent,
    reclaim,
    subpath,
    token,
    writer,
)
from pinnace.testing import fake_mounts, node_agent, pods

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
FACTS = fields.Facts("node-1", (), (), {})


def files(**contents: str) -> payload.Payload:
    return {name: payload.File(text.encode()) for name, text in contents.items()}


def test_writing_again_replaces_removes_and_adds(tmp_path: pathlib.Path) -> None:
    assert writer.write(tmp_path, files(a="1", b="2") | {"deep/c": payload.File(b"3", 0o600)}, NOW, None)
    assert (tmp_path / "a").read_text() == "1"
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert (tmp_path / "deep/c").stat().st_mode & 0o777 == 0o600
    assert not writer.write(tmp_path, files(a="1", b="2") | {"deep/c": payload.File(b"3", 0o600)}, NOW, None)
    assert writer.write(tmp_path, files(a="new", d="4"), NOW, None)
    assert sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith("..")) == ["a", "d"]
    assert (tmp_path / "a").read_text() == "new"
    assert len([each for each in tmp_path.iterdir() if each.name.startswith("..2")]) == 1


def test_a_reader_sees_all_of_one_version(tmp_path: pathlib.Path) -> None:
    """Two files that always say the same, read over and over while they are rewritten: what the agent's link hands out is one version."""
    writer.write(tmp_path, files(a="0", b="0"), NOW, None)
    stop = threading.Event()
    mixed: list[tuple[str, str]] = []

    def read() -> None:
        while not stop.is_set():
            try:
                folder = os.open(tmp_path / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # the link was followed to a version that is gone already
            try:
                pair = []
                for name in ("a", "b"):
                    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
                    pair.append(os.read(descriptor, 100).decode())
                    os.close(descriptor)
                if pair[0] != pair[1]:
                    mixed.append((pair[0], pair[1]))
            except FileNotFoundError:
                continue  # the version that was opened is gone already
            finally:
                os.close(folder)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(200):
        writer.write(tmp_path, files(a=str(number), b=str(number)), NOW, None)
    stop.set()
    thread.join()
    assert mixed == []


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "..data"])
def test_no_key_leads_out_of_its_volume(path: str) -> None:
    with pytest.raises(interface.VolumeError):
        payload.check_path(path)


def test_items_choose_rename_and_set_modes() -> None:
    data = {"a": b"1", "b": b"2"}
    items = [{"key": "a", "path": "x/y", "mode": 0o400}]
    assert payload.select(data, items, 0o644, optional=False, what="configmap") == {"x/y": payload.File(b"1", 0o400)}
    missing = [{"key": "z", "path": "z"}]
    assert payload.select(data, missing, 0o644, optional=True, what="secret") == {}
    with pytest.raises(interface.VolumeError, match="references non-existent secret key: z"):
        payload.select(data, missing, 0o644, optional=False, what="secret")


def test_binary_data_and_the_downward_api_as_files() -> None:
    config_map = {"data": {"t": "x"}, "binaryData": {"b": base64.b64encode(b"\xff").decode()}}
    assert payload.config_map_data(config_map) == {"t": b"x", "b": b"\xff"}
    pod = pods.pod("web")
    pod["metadata"]["labels"] = {"b": 'say "hi"\n', "a": "1"}
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    found = payload.downward(pod, items, 0o644, FACTS)
    assert found["labels"].data == b'a="1"\nb="say \\"hi\\"\\n"'


def test_fs_group_may_read_every_file(tmp_path: pathlib.Path) -> None:
    group = os.getgid()
    writer.write(tmp_path, {"k": payload.File(b"x", 0o400)}, NOW, group)
    status = (tmp_path / "k").stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o440, group)


TOKEN_MODES: list[tuple[dict[str, Any], list[dict[str, Any]], tuple[int | None, int]]] = [
    ({}, [{}], (None, 0o644)),
    ({"runAsUser": 7}, [{}, {}], (7, 0o600)),
    ({"runAsUser": 7}, [{}, {"runAsUser": 8}], (None, 0o644)),
    ({"runAsUser": 7, "fsGroup": 9}, [{}], (None, 0o600)),
]


@pytest.mark.parametrize(("common", "own", "expected"), TOKEN_MODES)
def test_a_token_is_readable_by_its_pods_only_user(
    common: dict[str, Any], own: list[dict[str, Any]], expected: tuple[int | None, int]
) -> None:
    containers = [pods.container(f"c{index}", securityContext=each) for index, each in enumerate(own)]
    assert token.owner_and_mode(pods.pod(containers=containers, securityContext=common), 0o644) == expected


SIZES = [
    ({}, None, None),
    ({"sizeLimit": "1Mi"}, "1Gi", 1 << 20),
    ({}, "1Gi", 1 << 30),
    ({"sizeLimit": "2Gi"}, "1Gi", 1 << 30),
]


@pytest.mark.parametrize(("source", "node", "expected"), SIZES)
def test_a_memory_volume_is_limited(source: dict[str, Any], node: str | None, expected: int | None) -> None:
    assert empty_dir.memory_size(pods.pod(), source, node) == expected


def test_host_paths_are_checked_by_type(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        host_path.check(tmp_path / "sock", "Socket")
    host_path.check(tmp_path / "file", "File")
    host_path.check(tmp_path / "made", "DirectoryOrCreate")
    assert (tmp_path / "made").is_dir()
    host_path.check(tmp_path / "new", "FileOrCreate")
    host_path.check(pathlib.Path("/dev/null"), "CharDevice")
    for kind, what in (("Directory", "a directory"), ("Socket", "a socket file"), ("BlockDevice", "a block device")):
        with pytest.raises(interface.VolumeError, match=f"hostPath type check failed: .* is not {what}"):
            host_path.check(tmp_path / "file", kind)
    with pytest.raises(interface.VolumeError, match="is not a file"):
        host_path.check(tmp_path / "absent", "File")
    assert not (tmp_path / "absent").exists()


def bind(volume: pathlib.Path, sub_path: str, place: pathlib.Path, *, read_only: bool = False) -> pathlib.Path:
    found = interface.Volume(volume, read_only=read_only)
    return subpath.bind(found, sub_path, place, fake_mounts.RecordedMounts())


def test_a_sub_path_is_made_where_it_is_missing(tmp_path: pathlib.Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    place = bind(volume, "a/b", tmp_path / "place/0")
    (place / "file").touch()
    assert (volume / "a/b/file").exists()
    assert (volume / "a/b").stat().st_mode & 0o777 == 0o777
    with pytest.raises(interface.VolumeError):
        bind(volume, "c", tmp_path / "place/1", read_only=True)


@pytest.mark.parametrize("sub_path", ["../secret", "/secret", "a/../../secret"])
def test_a_sub_path_must_stay_inside(tmp_path: pathlib.Path, sub_path: str) -> None:
    with pytest.raises(interface.VolumeError):
        subpath.check(sub_path)


@pytest.mark.parametrize("target", ["{outside}", "../outside", "../", "/bin/no-such-file", "link/../../outside"])
def test_a_link_of_a_container_that_leads_out_of_its_volume_is_refused(tmp_path: pathlib.Path, target: str) -> None:
    """A container that plants a link and names it as subPath gets nothing, and nothing is made."""
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    volume.mkdir()
    (volume / "link").symlink_to(".")
    (volume / "evil").symlink_to(target.format(outside=outside))
    with pytest.raises(OSError, match="Invalid cross-device link"):
        bind(volume, "evil", tmp_path / "place/0")
    assert not (tmp_path / "place/0").exists()


def test_a_link_that_stays_in_its_volume_is_followed(tmp_path: pathlib.Path) -> None:
    volume = tmp_path / "volume"
    (volume / "real").mkdir(parents=True)
    (volume / "link").symlink_to("./real")
    assert bind(volume, "link/new", tmp_path / "place/0").is_dir()
    assert (volume / "real/new").is_dir()


def test_folders_of_volumes_are_made_below_their_root_alone(tmp_path: pathlib.Path) -> None:
    persistent.make_folder(tmp_path / "pvc-1", tmp_path)
    assert (tmp_path / "pvc-1").stat().st_mode & 0o777 == 0o777
    for path in (pathlib.Path("/etc/pinnace-test"), tmp_path / "a/../../b"):
        with pytest.raises(interface.VolumeError):
            persistent.make_folder(path, tmp_path)


def test_fs_group_owns_a_tree_and_follows_no_link(tmp_path: pathlib.Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_text("x")
    outside.chmod(0o600)
    (root / "sub").mkdir(parents=True)
    (root / "sub/file").touch(0o600)
    (root / "link").symlink_to(outside)
    persistent.own_tree(root, os.getgid(), False)
    assert (root / "sub").stat().st_mode & 0o7777 == 0o2775
    assert (root / "sub/file").stat().st_mode & 0o777 == 0o660
    assert outside.stat().st_mode & 0o777 == 0o600


def test_a_volume_that_is_reached_by_a_link_is_owned_where_it_is(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    claimed({"local": {"path": str(tmp_path / "link")}}, tmp_path)
    assert (tmp_path / "real").stat().st_mode & 0o7777 == 0o2770


@pytest.mark.parametrize("is_host_path", [True, False])
def test_files_of_the_host_and_of_read_only_claims_keep_their_owner(tmp_path: pathlib.Path, is_host_path: bool) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    source = {"path": str(root)}
    mounted = claimed({"hostPath" if is_host_path else "local": source}, tmp_path, read_only=not is_host_path)
    assert mounted.path == root
    assert mounted.read_only is not is_host_path
    assert root.stat().st_mode & 0o7777 == 0o700


ELSEWHERE = {
    "required": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["x"]}]}
        ]
    }
}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (
            {"local": {"path": "/non-existent/location"}},
            'MountVolume.NewMounter initialization failed for volume "pv" : path "/non-existent/location" does not exist',
        ),
        (
            {"local": {"path": "/tmp"}, "nodeAffinity": ELSEWHERE},
            'MountVolume.NodeAffinity check failed for volume "pv" : no matching NodeSelectorTerms',
        ),
        (
            {"local": {"path": "/tmp"}, "volumeMode": "Block"},
            'MountVolume.SetUp failed for volume "v" : volume v has volumeMode Block, but is specified in volumeMounts',
        ),
        ({"nfs": {"server": "s", "path": "/"}}, 'MountVolume.SetUp failed for volume "v" : no volume plugin matched'),
    ],
)
def test_a_claim_that_cannot_be_mounted_is_told_by_its_volumes_name(
    tmp_path: pathlib.Path, spec: dict[str, Any], told: str
) -> None:
    with pytest.raises(manager.VolumesFailed) as caught:
        claimed(spec, tmp_path)
    assert str(caught.value).startswith(told)


def test_block_volumes_are_devices_of_the_containers_that_name_them() -> None:
    container = pods.container("c", volumeDevices=[{"name": "v", "devicePath": "/dev/xvda"}])
    path = pathlib.Path("/dev/sdx")
    for read_only, permissions in ((False, "rwm"), (True, "rm")):
        ready = {"v": interface.Volume(path, read_only=read_only, is_block=True)}
        assert containers.block_devices(container, ready) == (("/dev/sdx", "/dev/xvda", permissions),)
    with pytest.raises(environment.ConfigError, match='cannot find volume "v"'):
        containers.block_devices(container, {"v": interface.Volume(path)})


def claimed(spec: dict[str, Any], folder: pathlib.Path, *, read_only: bool = False) -> interface.Volume:
    """What a pod of our group with a claim on such a volume gets."""

    async def main() -> interface.Volume:
        agent = node_agent.NodeAgent(folder)
        source = {"claimName": "c", "readOnly": read_only}
        mounted = pods.container("c", volumeMounts=[{"name": "v", "mountPath": "/v"}])
        pod = pods.pod(
            containers=[mounted],
            volumes=[{"name": "v", "persistentVolumeClaim": source}],
            securityContext={"fsGroup": os.getgid()},
        )
        bound = {
            "metadata": {"name": "c", "namespace": "default"},
            "spec": {"volumeName": "pv"},
            "status": {"phase": "Bound"},
        }
        node = {"metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1"}}}
        await agent.client.create(resources.PERSISTENT_VOLUME_CLAIMS, "default", bound)
        await agent.client.create(resources.PERSISTENT_VOLUMES, None, {"metadata": {"name": "pv"}, "spec": spec})
        await agent.client.create(resources.NODES, None, node)

        async def nothing(*_: Any) -> None: ...

        context = interface.Context(
            pod, agent.client, nothing, FACTS, agent.settings, agent.mounts, agent.time, nothing
        )
        return (await manager.Volumes(agent.mounts).prepare(context)).volumes["v"]

    return asyncio.run(main())


def volume(
    path: str, *, node: str = "node-1", deleted: bool = True, finalizer: bool = True, bound: bool = False
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "v", "annotations": {"pinnace.dev/local-volume": node}}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if finalizer:
        protection = ["kubernetes.io/pv-protection"] if bound else []
        metadata["finalizers"] = [*protection, "pinnace.dev/local-volume"]
    return {"metadata": metadata, "spec": {"local": {"path": path}}}


def test_only_folders_of_deleted_volumes_of_this_node_are_removed(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        agent = node_agent.NodeAgent(tmp_path)
        root = agent.settings.volumes_dir
        inside = str(root / "pvc-1")
        assert reclaim.folder_to_remove(volume(inside), agent.settings) == root / "pvc-1"
        for other in (
            volume(inside, node="node-2"),
            volume(inside, deleted=False),
            volume(inside, finalizer=False),
            volume(inside, bound=True),
            volume("/etc"),
            volume(str(root)),
            volume(str(root / "../../etc")),
        ):
            assert reclaim.folder_to_remove(other, agent.settings) is None

    asyncio.run(main())
