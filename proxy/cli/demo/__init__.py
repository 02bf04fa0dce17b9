"""`turnout demo`: a small migration between two built-in servers, to be understood by looking at it.

What is shown is the real thing: the supervisor and worker processes of `turnout run`, in front of two HTTP servers,
asked by users with cookies of their own. Nothing is written to disk, and nothing is left running.

plan: what happens when · backends: the old and the new service · users: the traffic · tally: what the users saw ·
stage: puts them together · picture, lines, terminal: the live view · summary: what it came to.
"""

from __future__ import annotations

import os
import signal

import click

from proxy.cli import exits


def _duration(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    from proxy.cli.demo.plan import LONGEST_S, SHORTEST_S
    from proxy.settings.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise click.BadParameter(f"a walk takes from {SHORTEST_S:g}s to {LONGEST_S / 3600:g}h")
    return seconds


@click.command()
@click.option("--for", "lasts_s", metavar="DURATION", callback=_duration,
              help="How long, such as 15s; then it ends by itself. Default: 20s; on a terminal it stays until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON; the live view goes to stderr.")
def demo(lasts_s: float | None, as_json: bool) -> None:
    """Show a small migration between two built-in servers, live.

    Users come through Turnout while the new version's share grows from 0 to 5 to 25 percent. Ports are free ones, and
    shown, so that you can ask for yourself. Exit code 1 when any request failed or any user was moved back.
    """
    # Ctrl-C ends the demo well at any moment, so also while modules are being imported.
    early: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _frame: early.append(caught))
    from proxy.cli.demo.stage import perform
    from proxy.cli.demo.summary import as_text, to_json
    from proxy.cli.demo.terminal import Terminal
    from proxy.controlplane.errors import StartError

    terminal = Terminal(2 if as_json else 1, os.environ)
    try:
        outcome = perform(terminal, lasts_s, early)
    except StartError as error:
        click.echo(f"turnout: {error}", err=True)
        raise click.exceptions.Exit(exits.FAILED) from None
    click.echo(to_json(outcome) if as_json else as_text(outcome, terminal.style))
    raise click.exceptions.Exit(0 if outcome.ok else exits.FAILED)
