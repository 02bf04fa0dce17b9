"""`turnout run`: from a file or from two addresses to settings, and on to `serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxy.cli import exits
from proxy.errors import ConfigError
from proxy.settings import Settings, from_urls, load_file

DEFAULT_FILE = "turnout.yaml"
_TWO_WAYS = (
    "either name a file:  turnout run -c FILE\n"
    "or two addresses:    turnout run --old http://127.0.0.1:9001 --new http://127.0.0.1:9002 --weight 5"
)
_PLAIN_KEYS = ("listen", "admin", "workers", "weight", "sticky", "state_dir")
"""Options that say what the file would say: only without a file, so that there is one place to look."""


@click.command()
@click.option("-c", "--config", "file", metavar="FILE", help=f"The configuration file ({DEFAULT_FILE} if it is here).")
@click.option("--old", multiple=True, metavar="URL", help="A server of the old version; may be repeated.")
@click.option("--new", multiple=True, metavar="URL", help="A server of the new version; may be repeated.")
@click.option("--weight", metavar="N", help="Share of the new version in percent (without a file; default 0).")
@click.option("--listen", multiple=True, metavar="ADDRESS",
              help="Where clients connect (without a file; default 127.0.0.1:8080); may be repeated.")
@click.option("--admin", metavar="ADDRESS",
              help="Where the admin API listens (without a file; default 127.0.0.1:9900).")
@click.option("--workers", metavar="N", help="Worker processes (without a file; default: one per CPU).")
@click.option("--sticky/--no-sticky", default=None,
              help="Whether clients stay with their version by a cookie (without a file; default: they do).")
@click.option("--state-dir", metavar="DIR", help="Where state is kept (without a file; default: nowhere).")
def run(file: str | None, old: tuple[str, ...], new: tuple[str, ...], **plain: Any) -> None:
    """Start the proxy and stay in front until it is told to leave.

    SIGTERM or Ctrl-C drains: requests in flight are finished, then it leaves with exit code 0. A second one cuts them
    and leaves with exit code 1. SIGHUP reads the file again, SIGUSR2 upgrades in place.

    \b
    Examples:
      turnout run -c turnout.yaml
      turnout run --old http://127.0.0.1:9001 --new http://127.0.0.1:9002 --weight 5
    """
    try:
        settings = _settings(file, old, new, {key: plain[key] for key in _PLAIN_KEYS if plain[key] not in (None, ())})
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        raise click.exceptions.Exit(exits.CONFIG) from None
    from proxy.cli.serve import serve_until_told  # aiohttp takes 300 ms: first say what is wrong

    raise click.exceptions.Exit(serve_until_told(settings))


def _settings(file: str | None, old: tuple[str, ...], new: tuple[str, ...], plain: dict[str, Any]) -> Settings:
    if old or new:
        return _from_addresses(file, old, new, plain)
    if file is None and not Path(DEFAULT_FILE).exists():
        raise click.UsageError(f"there is no {DEFAULT_FILE} in this folder;\n{_TWO_WAYS}")
    if plain:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in plain)
        raise click.UsageError(f"{names}: with a file, write that in the file ({file or DEFAULT_FILE})")
    return load_file(file or DEFAULT_FILE)


def _from_addresses(
    file: str | None, old: tuple[str, ...], new: tuple[str, ...], plain: dict[str, Any]
) -> Settings:
    if file is not None:
        raise click.UsageError(f"--config and --old/--new exclude each other;\n{_TWO_WAYS}")
    if not (old and new):
        missing = "--new" if old else "--old"
        raise click.UsageError(f"{missing} is missing: traffic moves between two versions;\n{_TWO_WAYS}")
    if "sticky" in plain:
        plain["sticky"] = "turnout" if plain["sticky"] else None
    return from_urls(old, new, **{"weight": 0, **plain})
