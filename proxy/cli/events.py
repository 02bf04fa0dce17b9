"""`turnout events`: who changed what, when, from where and why; with -f as it happens.

Invariant of following: each event is printed once and none is left out, also over a restart of Turnout. A broken
stream is taken up again after the last event that was printed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.client import Unreachable, printable
from proxy.cli.names import complete_route
from proxy.cli.table import table
from proxy.cli.talk import Talk, asks, warn
from proxy.cli.text import moment

Json = dict[str, Any]
_SHOWN = 20
_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Before each new attempt at a lost stream; the last one again and again."""
_HEADS = ("id", "time", "who", "verb", "route", "change", "reason")
_WIDTHS = (5, 19, 10, 9, 10, 24, 0)
"""Of a line that is printed before it is known what follows."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="And then each one as it happens, until Ctrl-C.")
@click.option("--after", type=click.IntRange(min=0), metavar="ID", help="Those after this one, oldest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=_SHOWN, show_default=True, metavar="N",
              help="At most so many; the newest, unless --after is given.")
@click.option("--route", metavar="NAME", shell_complete=complete_route, help="Only those of this route.")
@asks()
def events(talk: Talk, follow: bool, after: int | None, limit: int, route: str | None) -> None:
    """Show who changed what, when, from where and why.

    With --json and -f each event is one line.

    \b
    Examples:
      turnout events --limit 5
      turnout events -f --route shop
    """
    page = _page(talk, after, limit, route)
    if not follow:
        talk.show(page, render(page["events"]))
        return
    if not talk.as_json:
        click.echo(_line(tuple(head.upper() for head in _HEADS)))
    more_to_come = after is not None and page["more"]
    last_id = page["events"][-1]["id"] if more_to_come else page["last_id"]
    try:
        for event in page["events"]:
            _print(talk, event)
        for event in _following(talk, last_id, route):
            _print(talk, event)
    except KeyboardInterrupt:
        return


def render(events: list[Json]) -> str:
    """Return the events as a table, oldest first."""
    return table(_HEADS, [_cells(event) for event in events], left=len(_HEADS)) if events else "No events."


def _page(talk: Talk, after: int | None, limit: int, route: str | None) -> Json:
    """The events after an id, or the newest ones."""
    only = f"&route={quote(route, safe='')}" if route else ""
    which = "newest=true" if after is None else f"after={after}"
    page: Json = talk.api.get(f"/api/v1/events?{which}&limit={limit}{only}")
    return page


def _following(talk: Talk, last_id: int, route: str | None) -> Iterator[Json]:
    """Yield what happens after the event `last_id`, over as many connections as it takes, without an end.

    Raises Unreachable when the first connection cannot be made, and Refused.
    """
    path = "/api/v1/events/stream" + (f"?route={quote(route, safe='')}" if route else "")
    pauses, lost = iter(_PAUSES_S), False
    while True:
        try:
            for message in talk.api.stream(path, str(last_id)):
                pauses, lost = iter(_PAUSES_S), False
                if message.event == "gap":
                    warn(f"turnout: some events after {last_id} are kept no more")
                elif message.event != "lagged":  # then the stream ends, and the next one has what was left out
                    event = json.loads(message.data)
                    last_id = event["id"]
                    yield event
        except Unreachable as error:
            if not lost:
                warn(f"turnout: {error}; trying again")
            lost = True
        threading.Event().wait(next(pauses, _PAUSES_S[-1]))


def _print(talk: Talk, event: Json) -> None:
    talk.show_line(event, _line(_cells(event)))


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()


def _cells(event: Json) -> tuple[str, ...]:
    who = f"{event['author']} ({event['origin']})" if event["origin"] else event["author"]
    cells = (str(event["id"]), moment(event["at"]), who, event["verb"], event["route"] or "", _change(event),
             event["reason"])
    return tuple(map(printable, cells))


def _change(event: Json) -> str:
    """Whose share or which shadow became what, as far as it changed."""
    before, after = event["before"] or {}, event["after"] or {}
    if "version" in after:      # drain, restore
        return " ".join(filter(None, (str(after["version"]), after.get("server"))))
    old, new = _shares(before), _shares(after)
    parts = [f"{version} {old.get(version, 0):.4g} → {share:.4g} %" if old else f"{version} {share:.4g} %"
             for version, share in new.items() if share != old.get(version)]
    if before.get("shadow") != after.get("shadow"):
        shadow = after.get("shadow")
        parts.append(f"shadow {shadow['percent']:g} % to {shadow['to']}" if shadow else "shadow off")
    return ", ".join(parts)


def _shares(course: Json) -> dict[str, float]:
    split = course.get("split")
    if not isinstance(split, dict) or not sum(split.values()):
        return {}
    total = sum(split.values())
    return {version: 100 * weight / total for version, weight in split.items()}
