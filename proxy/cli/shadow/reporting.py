"""How a route's shadow answers: asked for, and as a person reads it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from proxy.cli.changes import route_path
from proxy.cli.client import printable
from proxy.cli.shadow.picture import render
from proxy.cli.talk import Talk

Json = dict[str, Any]
_SHOWN = 20


def report(talk: Talk, route: str, options: Json) -> None:
    """Print the report; with options (`everything`, `endpoint`, `path`, `kind`, `samples`, `limit`) the differences
    that they leave, in place of the most frequent ones. Raises Unreachable and Refused.
    """
    path = f"{route_path(route)}/shadow"
    view = talk.api.get(path)
    if options:
        view.update(talk.api.get(f"{path}/differences?{urlencode(_query(options))}"))
    talk.show(view, "" if talk.as_json else printable("\n".join(render(view)), keep="\n"))


def clear(talk: Talk, route: str) -> None:
    """Start the comparison afresh. Raises Unreachable and Refused."""
    answer = talk.api.ask("DELETE", f"{route_path(route)}/shadow/differences")
    told = "starts afresh" if answer.get("cleared", True) else "has nothing to forget"
    talk.show(answer, printable(f"The comparison of route {route} {told}."))


def _query(options: Json) -> Json:
    query = {"samples": options.get("samples", 1), "limit": options.get("limit", _SHOWN)}
    query |= {key: options[key] for key in ("endpoint", "path", "kind") if key in options}
    return {**query, "all": "true"} if options.get("everything") else query


