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
    script = kind(main.root, {}, "pinnace", "_PINNACE_COMPLETE").source()
    # click's script for fish cuts descriptions at their first comma.
    print(script.replace('string split ","', 'string split -m 1 ","'))
