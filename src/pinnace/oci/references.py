"""Names of images: `[domain/]path[:tag][@digest]`, normalised as `docker` does (distribution/reference grammar). Pure."""

import dataclasses
import re

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAXIMUM_NAME = 255

_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")


class InvalidReference(ValueError):
    """The text is no image reference; worded as docker words it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    domain: str
    path: str
    """Below the domain: `library/nginx`."""
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """What people write: `nginx` for `docker.io/library/nginx`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix("library/")

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Normalised; without tag and digest the tag is `latest`. Raises InvalidReference."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, _, digest = text.partition("@")
    if "@" in text and not is_digest(digest):
        raise InvalidReference(_invalid(text))
    domain, path = _split_domain(rest)
    path, separator, tag = path.partition(":")
    if separator and not _TAG.fullmatch(tag):
        raise InvalidReference(_invalid(text))
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        raise InvalidReference(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(domain):
        raise InvalidReference(_invalid(text))
    if len(domain) + 1 + len(path) > MAXIMUM_NAME:
        raise InvalidReference(f"repository name must not be more than {MAXIMUM_NAME} characters")
    return Reference(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)


def is_digest(text: str) -> bool:
    if text.startswith("sha256:"):
        return _SHA256.fullmatch(text) is not None
    return _DIGEST.fullmatch(text) is not None


def _split_domain(text: str) -> tuple[str, str]:
    first, separator, rest = text.partition("/")
    is_domain = separator and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    if not is_domain:
        domain, path = DEFAULT_DOMAIN, text
    else:
        domain, path = first, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _invalid(text: str) -> str:
    return f'invalid reference format: "{text}"' if text else "invalid reference format"
