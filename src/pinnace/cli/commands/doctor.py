"""`pinnace doctor`."""

import dataclasses
import sys

import click

from pinnace.assemble import doctor
from pinnace.cli import cluster_options, output


@click.command("doctor")
@cluster_options.target
@cluster_options.output_option
def command(target: cluster_options.Target, output: str) -> None:
    """Say what this machine lacks, and the line that fixes it. Exit code 1 when something needed is missing."""
    _show(output)


def _show(output_format: str) -> None:
    found = doctor.checks()
    if output_format == "json":
        output.as_json([dataclasses.asdict(check) for check in found])
    else:
        rows = []
        for check in found:
            verdict = "ok" if check.ok else "MISSING" if check.required else "limited"
            rows.append((check.name, verdict, check.detail))
        output.table(("CHECK", "RESULT", "DETAIL"), rows)
        for check in found:
            if not check.ok:
                print(f"\n{check.name}:\n  {check.fix}")
    if not all(check.ok or not check.required for check in found):
        sys.exit(1)
