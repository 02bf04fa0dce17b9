"""What a change came to, as a person reads it: where everything goes now, who applied it, and how to take it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.cli.client import printable
from proxy.cli.talk import Talk, warn
from proxy.cli.text import countdown

Json = dict[str, Any]


def report(talk: Talk, answer: Json, *, dry_run: bool = False, back: str = "") -> None:
    """Print the answer of a change, and warn when not every worker has applied it.

    `back`: the command that takes it back, a template for `{route}`; empty for none.
    """
    talk.show(answer, "\n".join(_lines(answer, dry_run, back)))
    applied = answer["applied"]
    if applied and applied["workers"] < applied["of"]:
        warn(f"warning: {applied['workers']} of {applied['of']} workers have applied it; the others are replaced "
             "(`turnout status`)")


def routes_of(answer: Json) -> list[Json]:
    """Return the routes that an answer is about."""
    routes: list[Json] = answer["routes"] if "routes" in answer else [answer["route"]]
    return routes


def _lines(answer: Json, dry_run: bool, back: str) -> Iterator[str]:
    routes = routes_of(answer)
    if dry_run:
        yield "Nothing was changed; it would be:"
    for route in routes:
        yield from describe(route)
    if not dry_run:
        yield _applied(answer)
    for note in answer["notes"]:
        yield printable(f"note: {note}")
    if back and not dry_run:
        yield from (back.format(route=route["name"]) for route in routes if not route.get("pending"))


def describe(route: Json) -> Iterator[str]:
    """Say where a route's requests and copies go, and whether it goes back by itself."""
    shares = " · ".join(f"{version} {100 * share:.4g} %" for version, share in route["shares"].items())
    shadow = route.get("shadow")
    copies = f"; copies of {shadow['percent']:g} % to {shadow['to']}" if shadow else ""
    yield printable(f"{route['name']}: {shares}{copies}")
    if pending := route.get("pending"):
        left = countdown(pending["seconds_left"])
        yield f"  goes back by itself in {left} unless you say: turnout confirm {route['name']}"


def _applied(answer: Json) -> str:
    applied = answer["applied"]
    if applied is None:
        return f"Revision {answer['revision']}: it was so already."
    took = f"in {answer['took_ms']:.1f} ms"
    return f"Revision {answer['revision']}, applied by {applied['workers']} of {applied['of']} workers {took}."
