"""`pinnace config`."""

import click

from pinnace.assemble import configuration
from pinnace.cli import cluster_options, output


@click.group("config")
@cluster_options.remembered
def command() -> None:
    """Show what is configured, and where."""


@command.command("show")
@cluster_options.target
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@cluster_options.output_option
def show(target: cluster_options.Target, origin: bool, output: str) -> None:
    """Show every setting: flag, then PINNACE_<KEY>, then config.yaml, then config.yaml.d/*.yaml, then the default.

    A cluster that exists keeps what it was started with where only the default speaks.

    \b
    Examples:
      pinnace config show --origin
      PINNACE_PORT=7443 pinnace config show --origin --output json
    """
    _show(list(target.values.values()), origin=origin, output_format=output)


def _show(values: list[configuration.Value], *, origin: bool, output_format: str) -> None:
    if output_format == "json":
        output.as_json(
            {
                value.key: {"value": _plain(value.value), "origin": value.origin} if origin else _plain(value.value)
                for value in values
            }
        )
        return
    rows = [(value.key, _text(value.value), *((value.origin,) if origin else ())) for value in values]
    output.table(("KEY", "VALUE", *(("ORIGIN",) if origin else ())), rows)


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | str) else str(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
