"""`pinnace config`."""

import dataclasses

import click

from pinnace.assemble import configuration, places, settings
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
    _show(_with_cluster(target), origin=origin, output_format=output)


def _with_cluster(target: cluster_options.Target) -> list[configuration.Value]:
    """What `up` would use: where only the default speaks, a cluster that exists keeps what it was started with."""
    where = places.of(target.data_dir)
    try:
        cluster = settings.load(where)
    except settings.SettingsError as error:
        raise output.CommandFailed(str(error)) from error
    if cluster is None:
        return list(target.values.values())
    kept = dataclasses.asdict(cluster)
    return [
        configuration.Value(value.key, kept[field], str(where.cluster_file))
        if not value.is_said and (field := value.key.replace("-", "_")) in kept
        else value
        for value in target.values.values()
    ]


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
