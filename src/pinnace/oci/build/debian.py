"""Asking apt: which packages an image needs, and their files. The only user of apt.

apt works in folders of its own below the cache: it neither reads nor changes what is installed on this machine, and trusts Debian's
archive key alone.
"""

import dataclasses
import hashlib
import pathlib
import re
import urllib.parse
from collections.abc import Mapping, Sequence

from pinnace.kernel import process

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SECURITY = "http://deb.debian.org/debian-security"
# The index is asked for again when it is older, or when a package that it names is gone.
INDEX_AGE_SECONDS = 24 * 3600.0
TIMEOUT_SECONDS = 600.0

_URI = re.compile(r"^'([^']+)' (\S+) (\d+) (?:SHA256:)?([0-9a-f]{64})?")


class BuildError(Exception):
    """The image cannot be built here; says why, and what helps."""


@dataclasses.dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    file: str
    """Name of its file in the cache."""
    size: int
    sha256: str

    @property
    def key(self) -> str:
        return f"{self.file} {self.sha256}"


@dataclasses.dataclass(frozen=True, slots=True)
class Repository:
    folder: pathlib.Path
    """apt's own state: index, list of sources, packages."""
    release: str
    mirror: str
    environment: Mapping[str, str]
    """Proxies, where there are any (`http_proxy` …)."""

    @property
    def archives(self) -> pathlib.Path:
        return self.folder.parent / "packages"

    def options(self) -> tuple[str, ...]:
        settings = {
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            # Always empty: apt does not name packages whose files it finds there.
            "Dir::Cache::archives": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Log": self.folder / "log",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "Debug::NoLocking": "true",
        }
        return tuple(part for key, value in settings.items() for part in ("-o", f"{key}={value}"))


def prepare(repository: Repository) -> None:
    """Lay out apt's folders. Blocking. Raises BuildError."""
    if not KEYRING.exists():
        raise BuildError(f"{KEYRING} is missing: install the package debian-archive-keyring")
    for name in ("lists/partial", "cache/partial", "log"):
        (repository.folder / name).mkdir(parents=True, exist_ok=True)
    repository.archives.mkdir(parents=True, exist_ok=True)
    (repository.folder / "status").touch()
    release, mirror = repository.release, repository.mirror
    lines = [
        f"deb [signed-by={KEYRING}] {mirror} {release} main",
        f"deb [signed-by={KEYRING}] {mirror} {release}-updates main",
        f"deb [signed-by={KEYRING}] {SECURITY} {release}-security main",
    ]
    (repository.folder / "sources.list").write_text("\n".join(lines) + "\n")


def needs_update(repository: Repository, now: float) -> bool:
    """Whether the index is missing or old; `now` in seconds since 1970. Blocking."""
    stamp = repository.folder / "updated"
    return not stamp.exists() or not 0 <= now - stamp.stat().st_mtime < INDEX_AGE_SECONDS


async def update(repository: Repository) -> None:
    """Fetch the index. Raises BuildError."""
    done = await _apt(repository, "update", "-qq")
    # apt counts an unreachable mirror as a warning.
    if done.code or re.search(rb"^[EW]: ", done.stderr, re.MULTILINE):
        raise BuildError(f"the index of {repository.mirror} cannot be fetched: {done.message}")
    (repository.folder / "updated").touch()


async def resolve(repository: Repository, names: Sequence[str], exclude: Sequence[str]) -> tuple[Package, ...]:
    """`names` and everything that they depend on but `exclude`, in alphabetical order. Raises BuildError."""
    done = await _apt(repository, "install", "--yes", "--print-uris", "-qq", *names)
    if done.code:
        raise BuildError(f"packages {', '.join(names)} cannot be had: {done.message}")
    found = parse_uris(done.stdout.decode())
    if not set(names) <= {package.name for package in found}:
        raise BuildError(f"apt-get does not say where {', '.join(names)} are: {done.message}")
    return tuple(package for package in found if package.name not in exclude)


def parse_uris(text: str) -> tuple[Package, ...]:
    """What `apt-get --print-uris` prints, in alphabetical order. Pure."""
    found = []
    for line in text.splitlines():
        match = _URI.match(line)
        if match is None:
            continue
        _, file, size, digest = match.groups()
        name, version, _ = file.split("_", 2)
        found.append(Package(name, urllib.parse.unquote(version), file, int(size), digest or ""))
    return tuple(sorted(found, key=lambda package: package.file))


async def fetch(repository: Repository, wanted: Sequence[Package]) -> None:
    """Have the files of `wanted` in the cache. Raises BuildError."""
    missing = [package for package in wanted if not is_present(repository, package)]
    if not missing:
        return
    versions = [f"{package.name}={package.version}" for package in missing]
    done = await _apt(repository, "download", "-qq", *versions, directory=str(repository.archives))
    if done.code:
        raise BuildError(f"packages cannot be fetched: {done.message}")
    for package in missing:
        if not is_present(repository, package):
            raise BuildError(
                f"{package.file} is not what the index says it is: try again, the index may be out of date"
            )


def is_present(repository: Repository, package: Package) -> bool:
    """Whether the whole file is there. Blocking."""
    path = repository.archives / package.file
    try:
        if path.stat().st_size != package.size:
            return False
        with path.open("rb") as file:
            return not package.sha256 or hashlib.file_digest(file, "sha256").hexdigest() == package.sha256
    except FileNotFoundError:
        return False


async def _apt(repository: Repository, verb: str, *arguments: str, directory: str | None = None) -> process.Completed:
    environment = {**process.DEFAULT_ENVIRONMENT, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return await process.run(
            ["apt-get", *repository.options(), verb, *arguments],
            environment={**environment, **repository.environment},
            directory=directory,
            timeout=TIMEOUT_SECONDS,
        )
    except process.ProcessError as error:
        raise BuildError(f"base images are built from Debian packages with apt-get: {error}") from error
