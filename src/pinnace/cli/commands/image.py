"""`pinnace image`: what the cluster's engine holds."""

import asyncio
import functools
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import click
from click import shell_completion

from pinnace.assemble import base_images, node_control, settings
from pinnace.cli import cluster_options, output

T = TypeVar("T")
Follow = Callable[[node_control.NodeControl, Callable[[node_control.Step], None]], Awaitable[list[str]]]


def _complete(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[shell_completion.CompletionItem]:
    """The names of the images that there are; a shell that completes is told of no failure."""
    outer = ctx.find_root().obj or {}
    try:
        target = cluster_options.Target(
            {
                key: ctx.params.get(key.replace("-", "_")) or outer.get(key.replace("-", "_"))
                for key in ("data-dir", "name")
            }
        )
        images = _call(target, lambda control: control.images())
    except (output.CommandFailed, click.ClickException, OSError):
        return []
    names = {
        name.removeprefix("docker.io/library/").removeprefix("docker.io/")
        for image in images
        for name in image["references"]
    }
    return [shell_completion.CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


@click.group("image")
@cluster_options.remembered
def command() -> None:
    """Pull, load, list, push, save, remove and build images."""


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
    if archive.is_dir():
        raise output.CommandFailed(
            f"{archive} is a directory; give an archive that `docker save` or `image save` writes"
        )
    if not archive.exists():
        raise output.CommandFailed(f"{archive}: no such file")
    if not archive.is_file():
        raise output.CommandFailed(f"{archive} is no regular file; `pinnace image load - < {archive}` reads a stream")
    for name in _follow(target, f"loading {archive}", lambda control, show: control.load(archive, show), quiet=quiet):
        print(f"Loaded image: {name}")


@command.command("pull", short_help="Pull images from their registries.")
@cluster_options.target
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def pull(target: cluster_options.Target, names: tuple[str, ...], quiet: bool) -> None:
    """Pull images. Logins: ~/.docker/config.json (`docker login`) of root and registries.yaml.

    \b
    Examples:
      pinnace image pull nginx:1.27
      pinnace image pull localhost:5000/app:1
    """
    for name in names:
        _print_all(_follow(target, f"pulling {name}", _of(node_control.NodeControl.pull, name), quiet=quiet))


@command.command("push", short_help="Push images to their registries.")
@cluster_options.target
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def push(target: cluster_options.Target, names: tuple[str, ...], quiet: bool) -> None:
    """Push images to the registries that their names say, byte for byte as they came.

    \b
    Example:
      pinnace image tag app:1 registry.example/team/app:1
      pinnace image push registry.example/team/app:1
    """
    for name in names:
        _print_all(_follow(target, f"pushing {name}", _of(node_control.NodeControl.push, name), quiet=quiet))


@command.command("save", short_help="Write images into an archive.")
@cluster_options.target
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False), help="Where to; without, standard output.")
def save(target: cluster_options.Target, names: tuple[str, ...], file: str | None) -> None:
    """Write images into one archive, an OCI layout that `docker load` reads too.

    \b
    Examples:
      pinnace image save -o app.tar app:1
      pinnace image save app:1 | docker load
    """
    if file is None:
        if sys.stdout.isatty():
            raise click.UsageError("cowardly refusing to write an archive to a terminal; use -o FILE or a pipe")
        _call(target, lambda control: control.save(names, sys.stdout.buffer.write))
        sys.stdout.buffer.flush()
        return
    goal = pathlib.Path(file)
    beside = goal.with_name(f".{goal.name}.partial")
    try:
        with beside.open("wb") as stream:
            _call(target, lambda control: control.save(names, stream.write))
        beside.replace(goal)
    finally:
        beside.unlink(missing_ok=True)


@command.command("tag")
@cluster_options.target
@click.argument("image", metavar="IMAGE", shell_complete=_complete)
@click.argument("new", metavar="NEW_NAME")
def tag(target: cluster_options.Target, image: str, new: str) -> None:
    """Give an image another name."""
    _call(target, lambda control: control.tag(image, new))


@command.command("ls")
@cluster_options.target
@click.option("-q", "--quiet", is_flag=True, help="Only ids.")
@cluster_options.output_option
def ls(target: cluster_options.Target, quiet: bool, output: str) -> None:
    """List images."""
    _list(target, output, quiet=quiet)


def _list(target: cluster_options.Target, output_format: str, *, quiet: bool) -> None:
    images = _call(target, lambda control: control.images())
    if output_format == "json":
        output.as_json(images)
        return
    if quiet:
        for image in images:
            print(_short(image["id"]))
        return
    rows = []
    for image in images:
        for reference in image["references"] or ["<none>:<none>"]:
            name, _, version = reference.rpartition(":")
            rows.append((name, version, _short(image["id"]), output.human_size(image["size"])))
    output.table(("REPOSITORY", "TAG", "IMAGE ID", "SIZE"), sorted(rows))


@command.command("inspect")
@cluster_options.target
@click.argument("names", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
def inspect(target: cluster_options.Target, names: tuple[str, ...]) -> None:
    """Show everything about images, as JSON in docker's form."""
    output.as_json(
        [_inspected(_call(target, functools.partial(node_control.NodeControl.image, name=name))) for name in names]
    )


def _inspected(image: dict[str, Any]) -> dict[str, Any]:
    document = image["configuration"]
    return {
        "Id": image["id"],
        "RepoTags": image["references"],
        "RepoDigests": image["digests"],
        "Created": document.get("created", ""),
        "Author": document.get("author", ""),
        "Config": document.get("config") or {},
        "Architecture": document.get("architecture", ""),
        "Variant": document.get("variant", ""),
        "Os": document.get("os", ""),
        "Size": image["size"],
        "RootFS": {"Type": "layers", "Layers": (document.get("rootfs") or {}).get("diff_ids") or []},
    }


@command.command("history")
@cluster_options.target
@click.argument("image", metavar="IMAGE", shell_complete=_complete)
def history(target: cluster_options.Target, image: str) -> None:
    """Show how an image was built, the last step first."""
    document = _call(target, lambda control: control.image(image))["configuration"]
    steps = [step for step in document.get("history") or [] if isinstance(step, dict)]
    rows = [
        (str(s.get("created") or ""), str(s.get("created_by") or ""), str(s.get("comment") or ""))
        for s in reversed(steps)
    ]
    output.table(("CREATED", "CREATED BY", "COMMENT"), [[_one_line(cell) for cell in row] for row in rows])


@command.command("rm")
@cluster_options.target
@click.argument("references", nargs=-1, required=True, metavar="IMAGE...", shell_complete=_complete)
@click.option("-f", "--force", is_flag=True, help="Even while a container uses it.")
def rm(target: cluster_options.Target, references: tuple[str, ...], force: bool) -> None:
    """Remove images."""
    for reference in references:
        _print_deleted(
            _call(target, functools.partial(node_control.NodeControl.remove, reference=reference, force=force))
        )


@command.command("prune")
@cluster_options.target
@click.option(
    "-a", "--all", "everything", is_flag=True, help="Every image that no container uses, not only nameless ones."
)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def prune(target: cluster_options.Target, everything: bool, force: bool) -> None:
    """Remove images that nothing uses: those without a name, or with --all every one without a container."""
    what = "all images without at least one container" if everything else "all dangling images"
    if not force:
        click.confirm(f"WARNING! This will remove {what}.\nAre you sure you want to continue?", abort=True, err=True)
    pruned = _call(target, lambda control: control.prune(everything=everything))
    _print_deleted(pruned["deleted"])
    print(f"Total reclaimed space: {output.human_size(pruned['reclaimed_bytes'])}")


def _print_deleted(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"{'Deleted' if line.startswith('sha256:') else 'Untagged'}: {line}")


def _print_all(lines: Sequence[str]) -> None:
    for line in lines:
        print(line)


def _of(verb: Callable[..., Awaitable[list[str]]], name: str) -> Follow:
    return lambda control, show: verb(control, name, show)


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:12]


def _one_line(text: str) -> str:
    """An image's author wrote it: nothing of it may steer the terminal."""
    cleaned = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return cleaned if len(cleaned) <= 100 else cleaned[:99] + "…"


def _follow(target: cluster_options.Target, what: str, work: Follow, *, quiet: bool) -> list[str]:
    progress = output.Progress(quiet=quiet)
    progress.tell(what)

    def show(step: node_control.Step) -> None:
        progress.update(f"{step.status} {step.item}")

    try:
        names = _call(target, lambda control: work(control, show))
    except output.CommandFailed:
        progress.abandon()
        raise
    progress.finish()
    return names


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
