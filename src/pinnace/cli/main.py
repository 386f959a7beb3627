"""`pinnace`: finds the command and loads only that one, so that each starts fast.

Exit codes: 0, 1 (it failed), 2 (wrong usage); `pinnace kubectl` passes kubectl's own through. Data goes to stdout, progress and errors to stderr.
"""

import importlib
import sys

import click

from pinnace.cli import output

COMMANDS = {
    "up": "Start the cluster and return when it is ready.",
    "down": "Stop the cluster; its data stays, unless --purge.",
    "status": "Show every component: process, address, readiness.",
    "image": "Load, list, remove and build images.",
    "kubectl": "Run the real kubectl against this cluster.",
    "doctor": "Say what this machine lacks, and the line that fixes it.",
    "completion": "Print the completion script for bash, zsh or fish.",
    "version": "Print the version.",
}


class LazyGroup(click.Group):
    """Imports `pinnace.cli.commands.<name>` when the command is used, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pinnace.cli.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--data-dir", metavar="DIR", help="Folder of the cluster (also of every command).")
@click.option("--name", help="Name of the cluster (also of every command).")
@click.pass_context
def root(ctx: click.Context, data_dir: str | None, name: str | None) -> None:
    """Kubernetes-compatible clusters from one command.

    \b
    Start one, use it, stop it:
      pinnace up
      pinnace kubectl get pods --all-namespaces
      pinnace down
    """
    ctx.obj = {"data_dir": data_dir, "name": name}


def main() -> None:
    try:
        root.main(prog_name="pinnace", auto_envvar_prefix="PINNACE")
    except output.CommandFailed as error:
        output.error(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
