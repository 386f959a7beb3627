"""`pinnace down`."""

import click

from pinnace.assemble import kubeconfig, lifecycle, settings
from pinnace.cli import cluster_options, output


@click.command("down")
@cluster_options.target
@click.option("--purge", is_flag=True, help="Delete the cluster's data too, and its kubeconfig context.")
@cluster_options.quiet_option
@cluster_options.output_option
def command(target: cluster_options.Target, purge: bool, quiet: bool, output: str) -> None:
    """Stop the cluster: no process, mount, interface, rule or cgroup of it stays.

    Containers get their stop signal and a few seconds. All objects are found again by the next `pinnace up`, unless --purge deletes them.

    \b
    Examples:
      pinnace down
      pinnace down --purge
    """
    _stop(target, purge=purge, quiet=quiet, output_format=output)


def _stop(target: cluster_options.Target, *, purge: bool, quiet: bool, output_format: str) -> None:
    progress = output.Progress(quiet=quiet)
    try:
        stopped = lifecycle.down(target.data_dir, purge=purge, tell=progress.tell)
    except (lifecycle.LifecycleError, settings.SettingsError, kubeconfig.KubeconfigError) as error:
        progress.abandon()
        raise output.CommandFailed(str(error)) from error
    progress.finish()
    if stopped.kept:
        output.warning("not ours, so still there: " + ", ".join(str(path) for path in stopped.kept))
    if output_format == "json":
        output.as_json(
            {
                "name": stopped.name,
                "dataDir": str(stopped.data_dir),
                "wasRunning": stopped.was_running,
                "purged": stopped.purged,
            }
        )
    else:
        print(_sentence(stopped))


def _sentence(stopped: lifecycle.Stopped) -> str:
    if not stopped.name:
        return f"No cluster in {stopped.data_dir}: nothing to do"
    if stopped.purged:
        return f"Cluster {stopped.name!r} is deleted"
    state = "is stopped" if stopped.was_running else "was not running"
    return f"Cluster {stopped.name!r} {state}; its data stays in {stopped.data_dir}"
