"""The manual page of `pinnace`, from its commands: `python tools/man_page.py > packaging/pinnace.1`.

`pip install .` puts it where `man pinnace` finds it; a test compares it with the commands.
"""

import inspect
import sys
from collections.abc import Iterable

import click

from pinnace import __version__
from pinnace.cli import main

FILES = (
    ("/var/lib/pinnace", "Data of the cluster; without root $XDG_DATA_HOME/pinnace. Logs are below it."),
    (
        "/etc/pinnace/config.yaml",
        "Settings; without root ~/.config/pinnace/config.yaml. Further ones in config.yaml.d/.",
    ),
    ("~/.kube/config", "Where the context is added, unless $KUBECONFIG names another file."),
)
EXIT_STATUS = (
    ("0", "It is done."),
    ("1", "It failed; the error says why and what to do."),
    ("2", "Wrong usage."),
    ("130", "Interrupted."),
)


def page() -> str:
    root = main.root
    lines = [
        f'.TH PINNACE 1 "" "pinnace {__version__}" "Pinnace"',
        ".SH NAME",
        "pinnace \\- Kubernetes\\-compatible clusters from one command",
        ".SH SYNOPSIS",
        ".B pinnace",
        "[OPTIONS] COMMAND [ARGS]...",
        ".SH DESCRIPTION",
        *described(root),
        ".SH OPTIONS",
    ]
    with root.make_context("pinnace", [], resilient_parsing=True) as context:
        lines += [*options(root, context), ".SH COMMANDS"]
        for name in main.COMMANDS:
            lines += command(root.get_command(context, name), f"pinnace {name}", context)
    lines += [".SH FILES", *entries(FILES), ".SH EXIT STATUS", *entries(EXIT_STATUS)]
    lines += [".PP", "\\fBpinnace kubectl\\fR and plug\\-ins end with their own.", ".SH SEE ALSO", ".BR kubectl (1)"]
    return "\n".join(lines) + "\n"


def command(found: click.Command | None, name: str, above: click.Context) -> list[str]:
    assert found is not None
    with click.Context(found, info_name=name.rpartition(" ")[2], parent=above) as context:
        usage = " ".join(found.collect_usage_pieces(context))
        lines = [f".SS {quoted(name)} {quoted(usage)}", *described(found), *options(found, context)]
        if isinstance(found, click.Group):
            for below in found.list_commands(context):
                lines += command(found.get_command(context, below), f"{name} {below}", context)
    return lines


def described(found: click.Command) -> list[str]:
    """Paragraphs; those that begin with \\b keep their lines."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(found.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines += [".PP", ".nf", *(quoted(line) for line in paragraph[2:].splitlines()), ".fi"]
        else:
            lines += [".PP", quoted(" ".join(paragraph.split()))]
    return lines


def options(found: click.Command, context: click.Context) -> list[str]:
    """Those of one command; what all of them take is said once."""
    is_root = context.parent is None
    everywhere = {"--data-dir", "--name", "--help"}
    told = [each for each in found.get_params(context) if is_root or not everywhere & set(each.opts)]
    records = [record for each in told if (record := each.get_help_record(context))]
    return entries([(term, " ".join(text.split())) for term, text in records if text])


def entries(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [line for term, text in pairs for line in (".TP", f"\\fB{quoted(term)}\\fR", quoted(text))]


def quoted(text: str) -> str:
    """No character of the text is taken for a request of roff."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + plain if plain.startswith((".", "'")) else plain


if __name__ == "__main__":
    sys.stdout.write(page())
