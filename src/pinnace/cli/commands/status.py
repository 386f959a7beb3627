"""`pinnace status`."""

import asyncio
import dataclasses
import sys

import click

from pinnace.assemble import health, settings
from pinnace.cli import cluster_options, output


@click.command("status")
@cluster_options.target
@cluster_options.output_option
def command(target: cluster_options.Target, output: str) -> None:
    """Show every component: its process, its address, and whether it is ready.

    Exit code 1 when one is not, or when there is no cluster (as JSON: an empty list).

    \b
    Examples:
      pinnace status
      pinnace status --output json
    """
    _show(target, output)


def _show(target: cluster_options.Target, output_format: str) -> None:
    try:
        components = asyncio.run(health.status(target.data_dir))
    except settings.SettingsError as error:
        if output_format == "json":
            output.as_json([])
        raise output.CommandFailed(str(error)) from error
    if output_format == "json":
        output.as_json([dataclasses.asdict(component) for component in components])
    else:
        rows = [
            (component.name, str(component.pid or "-"), component.address or "-", "yes" if component.ready else "no")
            for component in components
        ]
        output.table(("NAME", "PID", "ADDRESS", "READY"), rows)
    if not all(component.ready for component in components):
        sys.exit(1)
