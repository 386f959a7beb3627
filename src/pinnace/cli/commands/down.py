"""`pinnace down`."""

import click

from pinnace.assemble import kubeconfig, lifecycle, settings
from pinnace.cli import cluster_options, output


@click.command("down")
@cluster_options.target
@click.option("--purge", is_flag=True, help="Delete the cluster's data too, and its kubeconfig context.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(target: cluster_options.Target, purge: bool, quiet: bool) -> None:
    """Stop the cluster: no process, mount, interface, rule or cgroup of it stays.

    All objects are found again by the next `pinnace up`, unless --purge deletes them.
    """
    progress = output.Progress(quiet=quiet)
    try:
        lifecycle.down(target.data_dir, purge=purge, tell=progress.tell)
    except (lifecycle.LifecycleError, settings.SettingsError, kubeconfig.KubeconfigError) as error:
        raise output.CommandFailed(str(error)) from error
    progress.finish()
