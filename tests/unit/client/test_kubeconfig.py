"""Reading kubeconfig files."""

import base64
import pathlib
from typing import Any

import pytest
import yaml

from pinnace.client import kubeconfig


def document(**user: Any) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "team"}}],
        "clusters": [
            {
                "name": "c",
                "cluster": {
                    "server": "https://127.0.0.1:6443/",
                    "certificate-authority-data": base64.b64encode(b"CA").decode(),
                },
            }
        ],
        "users": [{"name": "u", "user": user}],
    }


def test_reads_embedded_data_and_files_beside_the_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "me.crt").write_bytes(b"CERT")
    (tmp_path / "token").write_text("secret\n")
    data = document(**{"client-certificate": "me.crt", "client-key-data": base64.b64encode(b"KEY").decode()})
    data["users"][0]["user"]["tokenFile"] = "token"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(data))
    found = kubeconfig.read(path)
    assert found.server == "https://127.0.0.1:6443"
    assert found.namespace == "team"
    assert (found.certificate_authority, found.client_certificate, found.client_key) == (b"CA", b"CERT", b"KEY")
    assert found.read_token() == "secret"
    (tmp_path / "token").write_text("renewed")
    assert found.read_token() == "renewed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-context": "nowhere"}, "contexts has no entry named 'nowhere'"),
        ({"clusters": []}, "clusters has no entry named 'c'"),
        ({"users": [{"name": "u", "user": {"exec": {}}}]}, "credential plug-in"),
        ({"clusters": [{"name": "c", "cluster": {}}]}, "names no server"),
        ({"users": [{"name": "u", "user": {"client-key-data": "***"}}]}, "client-key-data is not base64"),
    ],
)
def test_says_which_entry_is_wrong(change: dict[str, Any], message: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(kubeconfig.BadKubeconfig, match=message):
        kubeconfig.parse({**document(), **change}, tmp_path)


def test_refuses_what_is_no_kubeconfig(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config"
    for text in ("[1, 2", "- 1", "text"):
        path.write_text(text)
        with pytest.raises(kubeconfig.BadKubeconfig):
            kubeconfig.read(path)
