"""`pinnace up`."""

import time

import click

from pinnace.assemble import kubeconfig, lifecycle, settings, supervise
from pinnace.cli import cluster_options, output


@click.command("up")
@cluster_options.target
@click.option("--port", type=click.IntRange(1, 65535), help=f"Of the API.  [default: {settings.DEFAULT_PORT}]")
@click.option("--no-node", is_flag=True, help="A control plane alone: no containers, no root needed.")
@click.option(
    "--foreground", is_flag=True, help="Stay until Ctrl-C (or SIGTERM) and stop the cluster's processes then."
)
@click.option("--no-merge-kubeconfig", is_flag=True, help="Leave ~/.kube/config (or $KUBECONFIG) alone.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@cluster_options.output_option
def command(
    target: cluster_options.Target,
    port: int | None,
    no_node: bool,
    foreground: bool,
    no_merge_kubeconfig: bool,
    quiet: bool,
    output: str,
) -> None:
    """Start the cluster and return when the API answers and the node is Ready.

    On a running cluster it changes nothing and says where it is.

    \b
    Examples:
      pinnace up
      pinnace up --data-dir /srv/second --port 7443
      pinnace up --no-node --foreground
    """
    options = lifecycle.Options(
        data_dir=target.data_dir,
        name=target.name,
        port=port,
        node=False if no_node else None,
        merge_kubeconfig=not no_merge_kubeconfig,
    )
    if foreground:
        _stay(options)
    else:
        _start(options, quiet=quiet, output_format=output)


def _start(options: lifecycle.Options, *, quiet: bool, output_format: str) -> None:
    began = time.monotonic()
    progress = output.Progress(quiet=quiet)
    try:
        running = lifecycle.up(options, progress.tell)
    except (lifecycle.LifecycleError, settings.SettingsError, kubeconfig.KubeconfigError) as error:
        raise output.CommandFailed(str(error)) from error
    progress.finish()
    if output_format == "json":
        output.as_json(
            {
                "name": running.cluster.name,
                "dataDir": str(running.places.data),
                "server": running.cluster.url,
                "kubeconfig": str(running.places.admin_kubeconfig),
                "context": running.context,
                "ready": True,
            }
        )
        return
    state = "was running already" if running.was_running else f"is ready ({time.monotonic() - began:.1f} s)"
    print(f"Cluster {running.cluster.name!r} {state}: {running.cluster.url}")
    print(f"kubeconfig: {running.places.admin_kubeconfig}")
    if running.context:
        print(f"context:    {running.context} (in {kubeconfig.user_file()})")
    print("Try: pinnace kubectl get pods --all-namespaces")


def _stay(options: lifecycle.Options) -> None:
    try:
        where, cluster = lifecycle.prepare(options)
        if options.merge_kubeconfig:
            kubeconfig.merge(kubeconfig.user_file(), where, cluster)
    except (lifecycle.LifecycleError, settings.SettingsError, kubeconfig.KubeconfigError) as error:
        raise output.CommandFailed(str(error)) from error
    print(f"API: {cluster.url}   kubeconfig: {where.admin_kubeconfig}   logs: {where.logs}", flush=True)
    supervise.run(where, cluster)
