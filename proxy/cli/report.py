"""What a change came to, as a person reads it: where everything goes now, who applied it, and how to take it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.cli.client import printable
from proxy.cli.course import course
from proxy.cli.talk import Talk, warn

Json = dict[str, Any]
_SHOWN = 20


def report(talk: Talk, answer: Json, *, dry_run: bool = False, back: str = "") -> None:
    """Print the answer of a change, and warn when not every worker has applied it.

    `back`: the command that takes it back, a template for `{route}`; empty for none.
    """
    talk.show(answer, "\n".join(_lines(answer, dry_run, back)))
    warn_of_workers(answer)


def warn_of_workers(answer: Json) -> None:
    """Say so when not every worker has applied the change."""
    reached = answer["applied"]
    if reached and reached["workers"] < reached["of"]:
        warn(f"warning: {reached['workers']} of {reached['of']} workers have applied it; the others are replaced "
             "(`turnout status`)")


def _lines(answer: Json, dry_run: bool, back: str) -> Iterator[str]:
    routes: list[Json] = answer["routes"] if "routes" in answer else [answer["route"]]
    if dry_run:
        yield "Nothing was changed; it would be:"
    for route in routes[:_SHOWN]:
        yield from course(route)
    if len(routes) > _SHOWN:
        yield f"… and {len(routes) - _SHOWN} more routes (`turnout status`)"
    if not dry_run:
        yield applied(answer)
    for note in answer["notes"]:
        yield printable(f"note: {note}")
    if back and answer["applied"] is not None:
        yield from (back.format(route=route["name"]) for route in routes if not route.get("pending"))


def applied(answer: Json) -> str:
    """The line that says which revision holds, and by how many workers."""
    reached = answer["applied"]
    if reached is None:
        return f"Revision {answer['revision']}: it was so already."
    took = f"in {answer['took_ms']:.1f} ms"
    return f"Revision {answer['revision']}, applied by {reached['workers']} of {reached['of']} workers {took}."
