"""What a comparison should ignore, as lines to be pasted into the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from proxy.cli.changes import route_path
from proxy.cli.client import printable
from proxy.cli.talk import Talk

Json = dict[str, Any]


def learn(talk: Talk, route: str) -> None:
    """Print the rules that follow from noise. Raises Unreachable and Refused."""
    found = talk.api.get(f"{route_path(route)}/shadow/rules")
    talk.show(found, printable("\n".join(render(route, found)), keep="\n"))


def render(route: str, found: Json) -> Iterator[str]:
    """Return the rules as a piece of the file, each with why."""
    lists = [(key, found.get(key) or []) for key in ("ignore", "unordered")]
    if not any(rules for _, rules in lists):
        yield f"Nothing to ignore was seen on route {route}."
        if not found.get("control", True):
            yield "Learning takes a second copy to the version that answers: `control: true` in `shadow` of the file."
        return
    yield f"# shadow of route {route}: what differs between two answers of the same version"
    yield "compare:"
    for key, rules in lists:
        if rules:
            yield f"  {key}:"
            yield from (f"    - {_quoted(rule)}{_because(found, rule)}" for rule in rules)
    yield f"# in force after `turnout reload`; then `turnout shadow {route} clear` compares afresh"


def _quoted(rule: str) -> str:
    """As the file takes it, where a dollar sign is `$$` except at the start of a JSON path."""
    return json.dumps(rule[:1] + rule[1:].replace("$", "$$"), ensure_ascii=False)


def _because(found: Json, rule: str) -> str:
    why = (found.get("because") or {}).get(rule)
    return f"    # in {100 * why['control_rate']:.3g} % of {why['compared']:,}" if why else ""
