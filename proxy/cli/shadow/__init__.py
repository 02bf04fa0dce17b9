"""`turnout shadow`: everything about the copies of a route's requests: steer, report, learn, record, clear.

Invariant: an option that has no meaning for what is asked is a mistake, never ignored.
"""

from __future__ import annotations

from typing import Any

import click

from proxy.cli.advice import nearest
from proxy.cli.changes import dry_run_option, if_revision_option, reason_option
from proxy.cli.names import complete_route, complete_shadow
from proxy.cli.shadow import learning, recording, reporting, steering
from proxy.cli.shadow.quantities import PORTION, SIZE, SPAN
from proxy.cli.talk import Talk, asks

_STEER = ("reason", "dry_run", "if_revision")
_NARROW = ("everything", "endpoint", "path", "kind", "samples", "limit")
_OPTIONS = {
    "steer": _STEER, "report": _NARROW, "learn": (), "clear": (),
    "record": ("sample", "for_s", "max_size", "keep"),
}
_SPELLED = {"everything": "--all", "for_s": "--for"}


@click.command()
@click.argument("route", shell_complete=complete_route)
@click.argument("words", nargs=-1, shell_complete=complete_shadow,
                metavar="[report|learn|clear|record FILE|off|KEY=VALUE...]")
@reason_option
@dry_run_option
@if_revision_option
@click.option("--all", "everything", is_flag=True, help="report: also noise, and what is not decided yet.")
@click.option("--endpoint", metavar="TEMPLATE", help="report: only differences of this one, such as /items/{}.")
@click.option("--path", metavar="PATH", help="report: only those at this place, such as $.price or header:location.")
@click.option("--kind", metavar="KIND", help="report: only those of this kind, such as missing or value.")
@click.option("--samples", type=click.IntRange(0, 20), metavar="N",
              help="report: so many examples of each; 1 unless told.")
@click.option("--limit", type=click.IntRange(1, 1000), metavar="N", help="report: so many differences; 20 unless told.")
@click.option("--sample", type=PORTION, metavar="PERCENT", help="record: this part of the requests; all unless told.")
@click.option("--for", "for_s", type=SPAN, metavar="TIME",
              help="record: so long, such as 10m; until Ctrl-C unless told.")
@click.option("--max-size", type=SIZE, metavar="SIZE", help="record: begin a new file beyond this; 64MiB unless told.")
@click.option("--keep", type=click.IntRange(0, 1000), metavar="N",
              help="record: so many full files besides; 3 unless told.")
@asks()
def shadow(talk: Talk, route: str, words: tuple[str, ...], **options: Any) -> None:
    """Send copies of a route's requests to another version, and see in what its answers differ.

    Without more than a ROUTE it reports: how many answers were compared and matched, how long they took beside those
    that clients got, and every difference, grouped. Where the client was answered and the copy was not, because the
    other version refused, hung up, said nothing in time or spoke no HTTP, that is a difference, too (`no-answer`). No
    answer to a copy ever reaches a client.

    The settings are percent, to and methods; those that are not named stay. `off` ends the copies. `learn` prints what
    the comparison should ignore, from what differs between two answers of the same version (`control: true` in the
    file). `record FILE` writes requests and both answers as JSON lines, without secrets, for `turnout replay`. `clear`
    starts the comparison afresh.

    \b
    Examples:
      turnout shadow shop to=new percent=25 methods=GET,HEAD
      turnout shadow shop
      turnout shadow shop report --all --endpoint /items/{}
      turnout shadow shop learn
      turnout shadow shop record shop.jsonl --sample 10% --for 10m
      turnout shadow shop off
    """
    action, rest = _action(words)
    given = {name: value for name, value in options.items() if value not in (None, False, "")}
    _must_fit(action, given)
    if action == "steer":
        terms = {name: options[name] for name in _STEER}
        steering.steer(talk, route, rest, **terms)
    elif action == "report":
        reporting.report(talk, route, given)
    elif action == "learn":
        learning.learn(talk, route)
    elif action == "clear":
        reporting.clear(talk, route)
    else:
        recording.record(talk, route, rest[0], **given)


def _action(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """What is asked for, and its arguments. Raises UsageError."""
    if not words:
        return "report", ()
    first, rest = words[0], words[1:]
    if first == "off" or "=" in first:
        return "steer", words
    if first not in _OPTIONS or first == "steer":
        raise click.UsageError(f"`{first}` is not report, learn, clear, record FILE, off, percent=N, to=VERSION or "
                               f"methods=GET,HEAD.{nearest(first, [*_OPTIONS, 'off'])}")
    if first == "record" and len(rest) != 1:
        raise click.UsageError("record needs the path of one file: turnout shadow ROUTE record FILE")
    if first != "record" and rest:
        raise click.UsageError(f"`{rest[0]}` has no meaning after {first}")
    return first, rest


def _must_fit(action: str, given: dict[str, Any]) -> None:
    for name in given:
        if name not in _OPTIONS[action]:
            homes = [known for known, names in _OPTIONS.items() if name in names]
            told = "a change (percent=, to=, methods=, off)" if homes == ["steer"] else homes[0]
            raise click.UsageError(f"{_SPELLED.get(name, '--' + name.replace('_', '-'))} goes with {told}")
