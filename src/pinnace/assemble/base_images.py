"""Building base images from a file of specifications, for the command line."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import yaml

from pinnace.kit import clock
from pinnace.oci.build import builder, debian, packages, specification

PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")


class BuildFailed(Exception):
    """Names the file or image, and what was wrong."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    source: pathlib.Path
    """YAML; paths in it are relative to its folder."""
    output: pathlib.Path
    cache: pathlib.Path
    rebuild: bool = False


def default_cache() -> pathlib.Path:
    if os.geteuid() == 0:
        return pathlib.Path("/var/cache/pinnace/build")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pinnace" / "build"


async def build(request: Request, tell: Callable[[str], None], update: Callable[[str], None]) -> list[pathlib.Path]:
    """The archives, in the order of the file. `tell` is called for each image, `update` for each step. Raises BuildFailed."""
    try:
        wanted = specification.parse_all(list(yaml.safe_load_all(request.source.read_text())))
    except (yaml.YAMLError, specification.SpecificationError) as error:
        raise BuildFailed(f"{request.source}: {error}") from error
    request.output.mkdir(parents=True, exist_ok=True)
    environment = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
    built = []
    for one in wanted:
        tell(f"building {one.name}")
        target = request.output / (one.name.rpartition("/")[2].replace(":", "-") + ".tar")
        try:
            async for step in builder.build_base(
                one,
                cache=request.cache,
                time=clock.SystemClock(),
                folder=request.source.parent,
                output=target,
                environment=environment,
                rebuild=request.rebuild,
            ):
                update(step.text)
        except (debian.BuildError, packages.PackageError, specification.SpecificationError, OSError) as error:
            raise BuildFailed(f"{one.name}: {error}") from error
        built.append(target)
    return built
