"""`pinnace help`: what `--help` says, for those who put the word first."""

import click


@click.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND...]")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command.

    \b
    Example:
      pinnace help image load
    """
    shown = ctx.find_root()
    for word in words:
        group = shown.command
        found = group.get_command(shown, word) if isinstance(group, click.Group) else None
        if found is None:
            raise click.UsageError(f"No such command {' '.join(words)!r}.", shown)
        shown = click.Context(found, info_name=word, parent=shown)
    click.echo(shown.get_help())
