"""`pinnace image`: what the cluster's engine holds."""

import asyncio
import functools
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from pinnace.assemble import base_images, node_control, settings
from pinnace.cli import cluster_options, output

T = TypeVar("T")


@click.group("image")
@cluster_options.remembered
def command() -> None:
    """Load, list, remove and build images."""


@command.command("load", short_help="Load archives of images.")
@cluster_options.target
@click.argument("archives", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def load(target: cluster_options.Target, archives: tuple[str, ...], quiet: bool) -> None:
    """Load docker-archive or OCI-archive files (plain, gzip or zstd); `-` reads standard input.

    \b
    Examples:
      pinnace image load app.tar
      docker save app:1 | pinnace image load -
    """
    for archive in archives:
        if archive != "-":
            _load(target, pathlib.Path(archive).absolute(), quiet=quiet)
            continue
        with tempfile.NamedTemporaryFile(prefix="pinnace-image-") as spool:
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.flush()
            _load(target, pathlib.Path(spool.name), quiet=quiet)


def _load(target: cluster_options.Target, archive: pathlib.Path, *, quiet: bool) -> None:
    if not archive.is_file():
        raise output.CommandFailed(f"{archive}: no such file")
    progress = output.Progress(quiet=quiet)
    progress.tell(f"loading {archive}")

    def show(step: node_control.Step) -> None:
        progress.update(f"{step.status} {step.item}")

    loaded = _call(target, lambda control: control.load(archive, show))
    progress.finish()
    for name in loaded:
        print(f"Loaded image: {name}")


@command.command("ls")
@cluster_options.target
@cluster_options.output_option
def ls(target: cluster_options.Target, output: str) -> None:
    """List images."""
    _list(target, output)


def _list(target: cluster_options.Target, output_format: str) -> None:
    images = _call(target, lambda control: control.images())
    if output_format == "json":
        output.as_json(images)
        return
    rows = []
    for image in images:
        for reference in image["references"] or ["<none>:<none>"]:
            name, _, tag = reference.rpartition(":")
            rows.append((name, tag, image["id"].removeprefix("sha256:")[:12], output.human_size(image["size"])))
    output.table(("REPOSITORY", "TAG", "IMAGE ID", "SIZE"), sorted(rows))


@command.command("rm")
@cluster_options.target
@click.argument("references", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Even while a container uses it.")
def rm(target: cluster_options.Target, references: tuple[str, ...], force: bool) -> None:
    """Remove images."""
    for reference in references:
        for line in _call(target, functools.partial(node_control.NodeControl.remove, reference=reference, force=force)):
            print(line)


def _call(target: cluster_options.Target, action: Callable[[node_control.NodeControl], Awaitable[T]]) -> T:
    async def run() -> T:
        where, _ = settings.require(target.data_dir)
        async with node_control.NodeControl(where) as control:
            return await action(control)

    try:
        return asyncio.run(run())
    except (settings.SettingsError, node_control.ControlError) as error:
        raise output.CommandFailed(str(error)) from error


@command.command("build-base", short_help="Build base images from Debian packages.")
@click.option(
    "-f",
    "--file",
    "source",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="One YAML document per image.",
)
@click.option(
    "-o", "--output", "folder", required=True, type=click.Path(file_okay=False), help="Folder for the docker-archives."
)
@click.option(
    "--cache", type=click.Path(file_okay=False), help="[default: /var/cache/pinnace/build, or below XDG_CACHE_HOME]"
)
@click.option("--rebuild", is_flag=True, help="Look for newer packages although the image is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def build_base_command(source: str, folder: str, cache: str | None, rebuild: bool, quiet: bool) -> None:
    """Build base images from Debian packages, with no registry in reach.

    \b
    A file says, for each image (examples/shop/images.yaml shows more):
      name: tools:1
      packages: [python3, curl]
      command: [python3]

    \b
    Example:
      pinnace image build-base -f images.yaml -o /tmp/images
      pinnace image load /tmp/images/*.tar
    """
    request = base_images.Request(
        source=pathlib.Path(source),
        output=pathlib.Path(folder),
        cache=pathlib.Path(cache) if cache else base_images.default_cache(),
        rebuild=rebuild,
    )
    progress = output.Progress(quiet=quiet)
    try:
        archives = asyncio.run(base_images.build(request, progress.tell, progress.update))
    except base_images.BuildFailed as error:
        raise output.CommandFailed(str(error)) from error
    progress.finish()
    for archive in archives:
        print(archive)
