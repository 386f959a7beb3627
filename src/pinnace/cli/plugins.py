"""`pinnace foo ARGS` is the program `pinnace-foo ARGS`, which finds the cluster in PINNACE_DATA_DIR and PINNACE_NAME."""

import os

import click

from pinnace.assemble import places, settings
from pinnace.cli import cluster_options, output


def command(name: str, program: str) -> click.Command:
    @click.command(
        name,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def plugin(ctx: click.Context, arguments: tuple[str, ...]) -> None:
        outer = ctx.find_root().obj
        target = cluster_options.Target({"data-dir": outer["data_dir"], "name": outer["name"]})
        environment = {**os.environ, "PINNACE_DATA_DIR": str(target.data_dir), "PINNACE_NAME": _name(target)}
        os.execve(program, [program, *arguments], environment)  # noqa: S606 - becoming the plug-in is the point

    return plugin


def _name(target: cluster_options.Target) -> str:
    """What was said, else what the cluster in the folder is called: the plug-in's own `pinnace up` must not give it another name."""
    if target.said("name"):
        return target.name
    try:
        cluster = settings.load(places.of(target.data_dir))
    except settings.SettingsError as error:
        raise output.CommandFailed(str(error)) from error
    return cluster.name if cluster else target.name
