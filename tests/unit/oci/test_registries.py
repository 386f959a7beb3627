"""Settings of registries are read as k3s and docker write them."""

import asyncio
import base64
import json
import pathlib

import pytest

from pinnace.oci import references, registries, transport


def test_registries_yaml() -> None:
    settings = registries.parse_registries(
        b"""
mirrors:
  "*":
    endpoint: ["https://all:5000"]
  docker.io:
    endpoint: ["https://one/", "http://two:80"]
configs:
  one:
    auth: {username: u, password: p}
    tls: {ca_file: /ca, insecure_skip_verify: true}
""",
        "x",
    )
    found = settings.endpoints(references.parse("nginx"), registries.Login())
    assert [endpoint.url for endpoint in found] == ["https://one", "http://two:80", "https://registry-1.docker.io"]
    assert found[0].login == registries.Login("u", "p")
    assert found[0].tls == transport.TlsSettings(ca_file="/ca", skip_verify=True)
    assert [endpoint.namespace for endpoint in found] == ["docker.io", "docker.io", ""]
    other = settings.endpoints(references.parse("quay.io/a/b"), registries.Login())
    assert [endpoint.url for endpoint in other] == ["https://all:5000", "https://quay.io"]


@pytest.mark.parametrize("text", [b"mirrors: [1]", b"configs: {a: 1}", b"{", b"mirrors: {a: {endpoint: [ftp://x]}}"])
def test_wrong_settings_name_their_file(text: bytes) -> None:
    with pytest.raises(registries.SettingsError, match=r"^conf\.yaml: "):
        registries.parse_registries(text, "conf.yaml")


@pytest.mark.parametrize(
    ("domain", "is_local"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("10.0.0.1", False),
        ("a.b", False),
    ],
)
def test_plain_http_is_for_this_machine_alone(domain: str, is_local: bool) -> None:
    assert (f"http://{domain}" in registries.default_urls(domain)) is is_local


def test_docker_config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins in the file, under docker's own key for Docker Hub; none where there is no file."""
    path = tmp_path / "config.json"
    auths = {
        "https://index.docker.io/v1/": {"auth": base64.b64encode(b"hub:pass:word").decode()},
        "ghcr.io": {"identitytoken": "IT"},
    }
    path.write_text(json.dumps({"auths": auths}))

    async def main() -> None:
        assert await registries.docker_login("docker.io", path) == registries.Login("hub", "pass:word")
        assert (await registries.docker_login("ghcr.io", path)).identity_token == "IT"
        assert (await registries.docker_login("quay.io", path)).is_empty
        assert (await registries.docker_login("quay.io", tmp_path / "none")).is_empty

    asyncio.run(main())


def test_credential_helper_that_is_not_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config.json"
    for helper in ("no-such-helper-here", "../../bin/sh"):
        path.write_text(json.dumps({"credsStore": helper}))
        with pytest.raises(registries.SettingsError):
            asyncio.run(registries.docker_login("ghcr.io", path))
