"""`pinnace version`."""

import importlib.metadata

import click

from pinnace.cli import cluster_options


@click.command("version")
@cluster_options.target
def command(target: cluster_options.Target) -> None:
    """Print the version, and the Kubernetes version whose behaviour it has."""
    print(f"pinnace {importlib.metadata.version('pinnace')} (Kubernetes-compatible: v1.36)")
