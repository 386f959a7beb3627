"""`pinnace`: finds the command and loads only that one, so that each starts fast.

Exit codes: 0, 1 (it failed), 2 (wrong usage), 130 (Ctrl-C); `pinnace kubectl` and plug-ins pass their own through. Data goes to stdout,
progress and errors to stderr.
"""

import difflib
import importlib
import os
import shutil
import sys
from typing import NoReturn

import click
from click import shell_completion

from pinnace import __version__
from pinnace.cli import output

COMMANDS = {
    "up": "Start the cluster and return when it is ready.",
    "down": "Stop the cluster; its data stays, unless --purge.",
    "status": "Show every component: process, address, readiness.",
    "image": "Pull, load, list, push, save, remove and build images.",
    "kubectl": "Run the real kubectl against this cluster.",
    "doctor": "Say what this machine lacks, and the line that fixes it.",
    "config": "Show what is configured, and where.",
    "completion": "Print the completion script for bash, zsh or fish.",
    "help": "Show the help of a command.",
    "version": "Print the version.",
}
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """Imports `pinnace.cli.commands.<name>` when the command is used, not before. An unknown `foo` is the program `pinnace-foo`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"pinnace.cli.commands.{cmd_name}")
            command: click.Command = module.command
            return command
        program = shutil.which(f"pinnace-{cmd_name}")
        if program is None:
            return None
        found: click.Command = importlib.import_module("pinnace.cli.plugins").command(cmd_name, program)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            if not near:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[shell_completion.CompletionItem]:
        """From the table above: no command is imported for it."""
        found = [
            shell_completion.CompletionItem(name, help=text)
            for name, text in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--data-dir", metavar="DIR", type=click.Path(file_okay=False), help="Folder of the cluster (also of every command)."
)
@click.option("--name", help="Name of the cluster (also of every command).")
@click.version_option(__version__, message="pinnace %(version)s (Kubernetes-compatible: v1.36)")
@click.pass_context
def root(ctx: click.Context, data_dir: str | None, name: str | None) -> None:
    """Kubernetes-compatible clusters from one command.

    \b
    Start one, use it, stop it:
      pinnace up
      pinnace kubectl get pods --all-namespaces
      pinnace down

    \b
    Every option can also be set as PINNACE_<OPTION> in the environment, or in
    /etc/pinnace/config.yaml (without root ~/.config/pinnace/config.yaml):
      pinnace config show --origin
    A program pinnace-foo on PATH is the command `pinnace foo`.
    """
    ctx.obj = {"data_dir": data_dir, "name": name}


def main() -> NoReturn:
    try:
        code = root.main(prog_name="pinnace", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt, output.Interrupted) as error:
        output.error(str(error) or "interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except output.CommandFailed as error:
        output.error(str(error))
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has no reader either
        sys.exit(1)
    except OSError as error:  # a disk that is full, a folder of somebody else
        output.error(output.reason(error))
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)  # `--help` and `--version` end with a code


if __name__ == "__main__":
    main()
