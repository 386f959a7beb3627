"""`pinnace completion`."""

import click
from click import shell_completion

from pinnace.cli import main


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:
      source <(pinnace completion bash)
    """
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    print(kind(main.root, {}, "pinnace", "_PINNACE_COMPLETE").source())
