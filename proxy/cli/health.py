"""`turnout healthcheck` as a verb among the others: its help, and whatever `healthcheck.quick` leaves to click."""

from __future__ import annotations

import click

from proxy.cli.healthcheck import check
from proxy.cli.talk import admin_option


@click.command()
@click.option("--live", is_flag=True, help="Only whether it is there, not whether it is ready to serve.")
@admin_option
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer as JSON.")
def healthcheck(live: bool, admin: str, as_json: bool) -> None:
    """Say by the exit code whether it is ready (0) or not (1), in some 20 ms: for containers. Needs no token.

    \b
    Examples:
      turnout healthcheck
      turnout healthcheck --live --admin unix:/run/turnout/admin
    """
    raise click.exceptions.Exit(check(admin, live=live, as_json=as_json))
