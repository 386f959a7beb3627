"""`pinnace up`."""

import time

import click

from pinnace.assemble import kubeconfig, lifecycle, settings
from pinnace.cli import cluster_options, output


@click.command("up")
@cluster_options.target
@click.option("--port", metavar="PORT", help=f"TCP port of the API.  [default: {settings.DEFAULT_PORT}]")
@click.option("--node/--no-node", default=None, help="--no-node: a control plane alone: no containers, no root needed.")
@click.option(
    "--foreground",
    is_flag=True,
    help="Stay until Ctrl-C or SIGTERM, which end the cluster's processes but, as a restart must not touch them, "
    "not its containers: `pinnace down` does. Tells systemd when it is ready.",
)
@click.option(
    "--merge-kubeconfig/--no-merge-kubeconfig",
    default=None,
    help="Add a context to ~/.kube/config (or $KUBECONFIG), or leave it alone.  [default: add]",
)
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]")
@click.option(
    "--discard-unpacked-layers/--keep-unpacked-layers",
    default=None,
    help="Drop an image's layers as they came once they are unpacked: less disk, no push, no save.  [default: keep]",
)
@cluster_options.quiet_option
@cluster_options.output_option
def command(
    target: cluster_options.Target,
    port: str | None,
    node: bool | None,
    foreground: bool,
    merge_kubeconfig: bool | None,
    log_level: str | None,
    discard_unpacked_layers: bool | None,
    quiet: bool,
    output: str,
) -> None:
    """Start the cluster and return when the API answers and the node is Ready.

    On a running cluster it changes nothing and says where it is. A stopped cluster keeps its port, its node and its name unless told otherwise.

    \b
    Examples:
      pinnace up
      pinnace up --data-dir /srv/second --port 7443
      pinnace up --name second --port 7443
      pinnace up --no-node                     (needs no root)
      pinnace up --foreground                  (for systemd and containers)
    """
    target = target.with_flags(
        port=port,
        node=node,
        merge_kubeconfig=merge_kubeconfig,
        log_level=log_level,
        discard_unpacked_layers=discard_unpacked_layers,
    )
    options = lifecycle.Options(
        data_dir=target.data_dir,
        name=target.said("name"),
        port=target.said("port"),
        node=target.said("node"),
        log_level=target.said("log-level"),
        discard_unpacked_layers=target.said("discard-unpacked-layers"),
        merge_kubeconfig=target.values["merge-kubeconfig"].value,
    )
    _start(options, stay=foreground, quiet=quiet, output_format=output)


def _start(options: lifecycle.Options, *, stay: bool, quiet: bool, output_format: str) -> None:
    began = time.monotonic()
    progress = output.Progress(quiet=quiet)

    def show(running: lifecycle.Running) -> None:
        progress.finish()
        _show(running, time.monotonic() - began, output_format)

    try:
        if stay:
            lifecycle.stay(options, progress.tell, show, output.error)
        show(lifecycle.up(options, progress.tell))
    except (lifecycle.LifecycleError, settings.SettingsError, kubeconfig.KubeconfigError) as error:
        progress.abandon()
        raise output.CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        progress.abandon()
        if lifecycle.is_running(options.data_dir):
            raise output.Interrupted(
                "interrupted; the cluster goes on starting: `pinnace status` shows it, `pinnace down` stops it"
            ) from None
        raise


def _show(running: lifecycle.Running, seconds: float, output_format: str) -> None:
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
    state = "was running already" if running.was_running else f"is ready ({seconds:.1f} s)"
    print(f"Cluster {running.cluster.name!r} {state}: {running.cluster.url}")
    print(f"kubeconfig: {running.places.admin_kubeconfig}")
    if running.context:
        print(f"context:    {running.context} (in {kubeconfig.user_file()})")
    print(output.as_called(f"Try: pinnace {hint(running)}kubectl get pods --all-namespaces"))


def hint(running: lifecycle.Running) -> str:
    """The options that a command about this cluster needs: copied, the line works."""
    for flags, text in (({}, ""), ({"name": running.cluster.name}, f"--name {running.cluster.name} ")):
        if cluster_options.Target(flags).data_dir == running.places.data:
            return text
    return f"--data-dir {running.places.data} "
