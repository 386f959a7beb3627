"""Building a base image: from a specification to a docker-archive, each step only where its result is not there yet.

Cache, below one folder: `apt-<key>/` (index), `packages/` (.deb files), `layers/` (by the packages in them), `images/` (by the whole
specification and the content of the files it adds). All of it may be deleted at any time.
"""

import asyncio
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from pinnace.kit import clock
from pinnace.oci.build import archive, debian, layer, specification

# Part of every key: raise it when the same input gives other bytes than before.
FORMAT = "1"
LOCK_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    text: str
    """What is being done: `fetching 31 packages, 24 MB`."""
    archive: pathlib.Path | None = None
    """The finished docker-archive: set in the last event, and only there."""


async def build_base(
    wanted: specification.Specification,
    *,
    cache: pathlib.Path,
    time: clock.Clock,
    folder: pathlib.Path = pathlib.Path(),
    output: pathlib.Path | None = None,
    environment: Mapping[str, str] | None = None,
    rebuild: bool = False,
) -> AsyncIterator[Progress]:
    """Build `wanted`; the last event carries the archive: `output`, or its place in the cache.

    `folder` is where relative sources of `wanted.add` are; `environment` holds proxies for apt; `rebuild` looks for newer packages
    although the image is in the cache. Several builds may share a cache: they take turns. Raises debian.BuildError,
    specification.SpecificationError, packages.PackageError, OSError.
    """
    specification.check(wanted)
    await asyncio.to_thread(_make_folders, cache)
    key = await asyncio.to_thread(image_key, wanted, folder)
    target = cache / "images" / f"{key}.tar"
    async with _locked(cache / "lock", time):
        if rebuild or not target.exists():
            async for text in _build(wanted, cache, time, folder, target, environment or {}, rebuild):
                yield Progress(text)
        else:
            yield Progress("already built")
        if output is not None:
            await asyncio.to_thread(shutil.copyfile, target, output)
    yield Progress("built", output or target)


async def _build(
    wanted: specification.Specification,
    cache: pathlib.Path,
    time: clock.Clock,
    folder: pathlib.Path,
    target: pathlib.Path,
    environment: Mapping[str, str],
    refresh: bool,
) -> AsyncIterator[str]:
    place = _digest(wanted.mirror, wanted.release)[:12]
    repository = debian.Repository(cache / f"apt-{place}", wanted.release, wanted.mirror, environment)
    await asyncio.to_thread(debian.prepare, repository)
    if refresh or debian.needs_update(repository, time.now().timestamp()):
        yield "fetching the package index"
        await debian.update(repository)
    # The lowest layer does not depend on what an image leaves out, so that all images of one base share it.
    lower = await debian.resolve(repository, wanted.base, _without(specification.BASE_EXCLUDE, wanted.base))
    asked = (*wanted.base, *wanted.packages)
    everything = await debian.resolve(
        repository, asked, _without((*specification.BASE_EXCLUDE, *wanted.exclude), asked)
    )
    upper = tuple(package for package in everything if package not in lower)
    packages = (*lower, *upper)
    missing = [package for package in packages if not debian.is_present(repository, package)]
    if missing:
        yield f"fetching {len(missing)} packages, {sum(package.size for package in missing) / 1e6:.0f} MB"
        await debian.fetch(repository, packages)
    yield f"packing {len(packages)} packages"
    layers = [await _package_layer(cache, repository, lower, with_skeleton=True)]
    if upper:
        layers.append(await _package_layer(cache, repository, upper, with_skeleton=False))
    await asyncio.to_thread(_finish, wanted, cache, folder, target, layers, _paths(repository, lower))


def _without(exclude: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """A package that is asked for by name is never left out."""
    return tuple(name for name in exclude if name not in asked)


def _finish(
    wanted: specification.Specification,
    cache: pathlib.Path,
    folder: pathlib.Path,
    target: pathlib.Path,
    layers: list[layer.Layer],
    base: Sequence[pathlib.Path],
) -> None:
    own = cache / "layers" / "additions.new"
    try:
        layers.append(layer.write_additions(own, wanted, folder, layer.accounts_of(base)))
        _replace(target, lambda new: archive.write(new, wanted, layers))
    finally:
        own.unlink(missing_ok=True)


def _paths(repository: debian.Repository, found: Sequence[debian.Package]) -> tuple[pathlib.Path, ...]:
    return tuple(repository.archives / package.file for package in found)


async def _package_layer(
    cache: pathlib.Path, repository: debian.Repository, found: Sequence[debian.Package], *, with_skeleton: bool
) -> layer.Layer:
    return await asyncio.to_thread(_package_layer_blocking, cache, _paths(repository, found), found, with_skeleton)


def _package_layer_blocking(
    cache: pathlib.Path, paths: Sequence[pathlib.Path], found: Sequence[debian.Package], with_skeleton: bool
) -> layer.Layer:
    key = _digest("skeleton" if with_skeleton else "", *(package.key for package in found))
    path, described = cache / "layers" / f"{key}.tar", cache / "layers" / f"{key}.json"
    if path.exists() and described.exists():
        known = json.loads(described.read_bytes())
        return layer.Layer(path, known["diff_id"], known["size"], known["created"])
    made: list[layer.Layer] = []
    _replace(path, lambda new: made.append(layer.write_packages(new, paths, with_skeleton=with_skeleton)))
    known = {"diff_id": made[0].diff_id, "size": made[0].size, "created": made[0].created}
    _replace(described, lambda new: new.write_text(json.dumps(known)))
    return dataclasses.replace(made[0], path=path)


def image_key(wanted: specification.Specification, folder: pathlib.Path) -> str:
    """Equal for equal specifications with equal files. Blocking. Raises debian.BuildError for a file that is missing."""
    parts = [json.dumps(dataclasses.asdict(wanted), sort_keys=True)]
    for addition in wanted.add:
        source = folder / addition.source
        if not source.exists():
            raise debian.BuildError(f"{source}, which is to be added at {addition.target}, does not exist")
        files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for path in files:
            mode = path.stat().st_mode & 0o777
            parts.append(f"{path.relative_to(folder) if path.is_relative_to(folder) else path} {mode:o}")
            parts.append(hashlib.sha256(path.read_bytes()).hexdigest())
    return _digest(*parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join((FORMAT, *parts)).encode()).hexdigest()


def _replace(target: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """Have `write` make a file beside `target`, and put it there once it is whole."""
    new = target.with_name(target.name + ".new")
    try:
        write(new)
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)


def _make_folders(cache: pathlib.Path) -> None:
    for name in ("images", "layers", "packages"):
        (cache / name).mkdir(parents=True, exist_ok=True)


@contextlib.asynccontextmanager
async def _locked(path: pathlib.Path, time: clock.Clock) -> AsyncIterator[None]:
    """One build at a time; the lock goes with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        take = functools.partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while True:
            try:
                take()
                break
            except BlockingIOError:
                await time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
