"""`pinnace version`."""

import platform

import click

from pinnace import __version__
from pinnace.cli import cluster_options, output

KUBERNETES = "v1.36"


@click.command("version")
@cluster_options.target
@cluster_options.output_option
def command(target: cluster_options.Target, output: str) -> None:
    """Print the version, and the Kubernetes version whose behaviour it has."""
    _show(output)


def _show(output_format: str) -> None:
    if output_format == "json":
        output.as_json({"version": __version__, "kubernetes": KUBERNETES, "python": platform.python_version()})
    else:
        print(f"pinnace {__version__} (Kubernetes-compatible: {KUBERNETES})")
