"""The verbs about the running program itself: reload its file, and upgrade it in place."""

from __future__ import annotations

import click

from proxy.cli import exits
from proxy.cli.changes import dry_run_option, reason_option
from proxy.cli.report import report
from proxy.cli.talk import Talk, asks

_UPGRADE_S = 90.0
"""A new program has to import, read its file and start its workers, on a busy machine."""


@click.command()
@reason_option
@dry_run_option
@asks(invalid=exits.CONFIG)
def reload(talk: Talk, reason: str, dry_run: bool) -> None:
    """Read the configuration file again and apply it everywhere; a file with a problem changes nothing (exit 3).

    What was changed at run time stays, unless the file's own split for that route has changed.

    \b
    Example:
      turnout reload
    """
    path = "/api/v1/config/reload"
    answer = talk.api.ask("POST", f"{path}?dry_run=true" if dry_run else path, {"reason": reason} if reason else {})
    report(talk, answer, dry_run=dry_run)


@click.command()
@reason_option
@asks()
def upgrade(talk: Talk, reason: str) -> None:
    """Let a new program take over sockets and state, in place: no connection is refused, none is reset.

    The new one is what the same command starts now, from the same file. If it does not start, the old one stays.

    \b
    Example:
      turnout upgrade -m "0.2.0"
    """
    answer = talk.api.ask("POST", "/api/v1/upgrade", {"reason": reason} if reason else {}, timeout_s=_UPGRADE_S)
    talk.show(answer, f"Process {answer['pid']} has taken over after {answer['took_ms'] / 1000:.1f} s; "
                      "the old one finishes what it has begun. `turnout status` shows the new one.")
