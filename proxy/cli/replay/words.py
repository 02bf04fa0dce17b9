"""The result of a replay as a person reads it, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.cli.replay.result import NO_BODY
from proxy.cli.shadow.picture import differences, endpoints, latency, summary

Json = dict[str, Any]
_FAILED = {"unreachable": "nobody took the connection", "timeout": "no answer in time", "no_answer": "broken off"}
_NO_BODY = {
    "streamed": "they were too long to be held", "costly": "to look them through for secrets would have taken too long",
    "coding": "in a content coding that is not read", "framing": "their chunks could not be read",
    "missing": "an earlier version did not say why",
}


def as_json(view: Json) -> str:
    """JSON that is harmless on a terminal."""
    return json.dumps(view, indent=2)


def render(view: Json, failed: Mapping[str, int]) -> Iterator[str]:
    """Yield the lines of a summary: what was sent, what came back, and in what it differs."""
    yield f"{view['file']} → {view['to']}: {view['sent']:,} requests sent"
    if view["without_fields"]:
        yield f"  {view['without_fields']:,} of them without header fields that held secrets, which are not recorded"
    if redacted := view["totals"]["skipped"].get("redacted"):
        yield f"  {redacted:,} not sent: their target or body held secrets (--send-redacted sends them without)"
    without = {reason: count for reason, count in view["totals"]["skipped"].items() if reason.startswith(NO_BODY)}
    for reason, count in without.items():
        slug = reason.removeprefix(NO_BODY)
        yield f"  {count:,} not sent: their bodies are not in the recording: {_NO_BODY.get(slug, slug)}"
    if not view["whole"]:
        yield "  ended before the end of the recording"
    if view["unreadable"]:
        yield f"  {view['unreadable']:,} lines are no recorded requests"
    for reason, count in failed.items():
        yield f"  {count:,} without an answer: {_FAILED[reason]}"
    told = {**failed, **without, "redacted": 0}
    totals = {**view["totals"], "skipped": {reason: count for reason, count in view["totals"]["skipped"].items()
                                            if reason not in told}}
    yield from ("", *summary(totals, "sent"))
    if not totals["compared"]:
        return
    yield from ("", latency(totals["latency"], ("recorded", "now")))
    if view["endpoints"]:
        yield from ("", *endpoints(view["endpoints"]))
    yield ""
    yield from differences(view["differences"], view["more"])
