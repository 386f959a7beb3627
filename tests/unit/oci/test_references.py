"""Names of images mean what they mean to docker."""

import pytest

from pinnace.oci import references

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("ghcr.io/a/b/c:d", "ghcr.io/a/b/c:d"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("registry:5000/a", "registry:5000/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e:latest"),
        ("Host/a", "Host/a:latest"),
    ],
)
def test_normalises(text: str, full: str) -> None:
    assert str(references.parse(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "a:",
        "a:b:c",
        "a b",
        "a@sha256:12",
        "-a",
        "a..b",
        "a:" + "x" * 129,
        "a@",
        "a_-b",
        "../a",
        "http://a/b",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(references.InvalidReference, match="invalid reference format"):
        references.parse(text)


def test_refuses_in_the_words_of_docker() -> None:
    with pytest.raises(references.InvalidReference, match="must be lowercase"):
        references.parse("library/Nginx")
    with pytest.raises(references.InvalidReference, match="cannot specify 64-byte hexadecimal strings"):
        references.parse("a" * 64)
    with pytest.raises(references.InvalidReference, match="more than 255"):
        references.parse("a/" * 130 + "b")


def test_familiar_names_are_what_people_write() -> None:
    assert references.parse("nginx").familiar_name == "nginx"
    assert references.parse("bitnami/redis").familiar_name == "bitnami/redis"
    assert references.parse("ghcr.io/a/b").familiar_name == "ghcr.io/a/b"
