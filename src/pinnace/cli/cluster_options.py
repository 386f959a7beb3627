"""`--data-dir` and `--name`, the same on every command and before it."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pinnace.assemble import places

F = TypeVar("F", bound=Callable[..., Any])


class Target:
    """Which cluster a command is about."""

    def __init__(self, data_dir: str | None, name: str | None) -> None:
        self.name = name or places.DEFAULT_NAME
        self.data_dir = pathlib.Path(data_dir).absolute() if data_dir else places.default_data_dir(self.name)


def target(function: F) -> F:
    """Adds the two options and passes a `Target` as the first argument."""

    @click.option("--data-dir", metavar="DIR", help="Folder of the cluster.  [default: /var/lib/pinnace]")
    @click.option("--name", help="Name of the cluster.  [default: pinnace]")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, *args: Any, data_dir: str | None, name: str | None, **kwargs: Any) -> Any:
        outer = ctx.find_root().obj or {}
        return function(Target(data_dir or outer.get("data_dir"), name or outer.get("name")), *args, **kwargs)

    return wrapped  # type: ignore[return-value]


def remembered(function: F) -> F:
    """The same two options on a group of commands: kept for the command that follows."""

    @click.option("--data-dir", metavar="DIR", help="Folder of the cluster.")
    @click.option("--name", help="Name of the cluster.")
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
