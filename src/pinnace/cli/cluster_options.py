"""`--data-dir` and `--name`, the same on every command and before it, and the settings that follow from them."""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from pinnace.assemble import configuration, places
from pinnace.cli import output as outputs

F = TypeVar("F", bound=Callable[..., Any])

DATA_DIR_HELP = "Folder of the cluster.  [default: /var/lib/pinnace; without root $XDG_DATA_HOME/pinnace]"
NAME_HELP = f"Name of the cluster.  [default: {places.DEFAULT_NAME}]"


class Target:
    """Which cluster a command is about. `values` holds everything that is configured, with its origin."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self.flags = {key: value for key, value in flags.items() if value is not None}
        try:
            self.values = configuration.load(self.flags)
        except configuration.ConfigurationError as error:
            if str(error).startswith("--"):
                raise click.UsageError(str(error)) from error
            raise outputs.CommandFailed(str(error)) from error
        self.name: str = self.values["name"].value
        self.data_dir: pathlib.Path = self.values["data-dir"].value

    def with_flags(self, **flags: Any) -> "Target":
        """The same cluster with further flags of the command (`log_level`, `port` …)."""
        return Target({**self.flags, **{key.replace("_", "-"): value for key, value in flags.items()}})

    def said(self, key: str) -> Any:
        """None where nothing but a default speaks: a cluster that exists then keeps what it has."""
        value = self.values[key]
        return value.value if value.is_said else None


def target(function: F) -> F:
    """Adds the two options and passes a `Target` as the first argument."""

    @click.option("--data-dir", metavar="DIR", type=click.Path(file_okay=False), help=DATA_DIR_HELP)
    @click.option("--name", help=NAME_HELP)
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, *args: Any, data_dir: str | None, name: str | None, **kwargs: Any) -> Any:
        outer = ctx.find_root().obj or {}
        given = {"data-dir": data_dir or outer.get("data_dir"), "name": name or outer.get("name")}
        return function(Target(given), *args, **kwargs)

    return wrapped  # type: ignore[return-value]


def remembered(function: F) -> F:
    """The same two options on a group of commands: kept for the command that follows."""

    @click.option("--data-dir", metavar="DIR", type=click.Path(file_okay=False), help=DATA_DIR_HELP)
    @click.option("--name", help=NAME_HELP)
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, *args: Any, data_dir: str | None, name: str | None, **kwargs: Any) -> Any:
        outer = ctx.find_root().ensure_object(dict)
        outer.update({key: value for key, value in (("data_dir", data_dir), ("name", name)) if value})
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def output_option(function: F) -> F:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="For people or programs.",
    )(function)


def quiet_option(function: F) -> F:
    return click.option("-q", "--quiet", is_flag=True, help="No progress.")(function)
