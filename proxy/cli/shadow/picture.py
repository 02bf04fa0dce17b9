"""The result of a comparison as a person reads it: the report of a shadow, and the summary of a replay.

It takes the shape of the API's report (`GET /api/v1/routes/{route}/shadow`). What servers sent is in it: whoever prints
these lines makes them printable.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.cli.table import table
from proxy.cli.text import moment

Json = dict[str, Any]
_MOST_ENDPOINTS = 10
_LONGEST_SAMPLE = 80
_WHY_SKIPPED = {
    "shed": "left out, because the worker or the route was busy", "in_flight": "as many as `in_flight` were under way",
    "failing": "left out for a second, because the shadow kept failing", "memory": "`memory` was full",
    "too_large": "requests longer than `max_body`", "cut": "requests that broke off",
    "upgrade": "requests for a tunnel", "comparer_busy": "the comparing process had no time",
    "moved": "answered by another version after a retry", "no_answer": "the client got no answer of a server",
    "beyond_rate": "more than `compare.per_second`",
    "answer_too_large": "answers longer than `compare.max_body`", "answer_cut": "answers longer than is captured",
    "answer_coding": "in a content coding that is not read", "answer_corrupt": "broken compression on both sides",
    "answer_too_costly": "answers that would take too long to be rid of secrets",
    "answer_bomb": "compressed more than anything honest",
    "answer_hidden": "one of the two answers is hidden as a whole",
}
"""What a person makes of the reasons that need a word more than themselves."""


def render(view: Json) -> Iterator[str]:
    """Yield the lines of a report: headline, warnings, totals, latency, endpoints, differences, what to type next."""
    yield from _head(view)
    totals = view["totals"]
    yield from ("", *summary(totals))
    if totals["compared"]:
        yield from ("", latency(totals["latency"]))
    if view["endpoints"]:
        yield from ("", *endpoints(view["endpoints"]))
    if totals["compared"]:
        yield ""
        yield from differences(view["differences"], view.get("more", 0))
    if dropped := view.get("dropped_groups"):
        yield f"{dropped:,} rare differences were forgotten for want of room."
    yield from ("", *_next(view))


def summary(totals: Json, copied: str = "copied") -> Iterator[str]:
    """Yield how many answers were compared, how many matched, and why others were not compared."""
    rate = totals["match_rate"]
    if rate is None:
        yield f"Nothing was compared; {totals['copied']:,} {copied}"
    else:
        yield (f"{_percent(rate)} match: {totals['compared']:,} compared, {totals['matched']:,} matched, "
               f"{totals['different']:,} different; {totals['copied']:,} {copied}")
    for reason, count in sorted(totals["skipped"].items(), key=lambda item: (-item[1], item[0])):
        told = f" ({_WHY_SKIPPED[reason]})" if reason in _WHY_SKIPPED else ""
        yield f"  {count:,} not compared: {reason}{told}"


def differences(found: list[Json], more: int = 0) -> Iterator[str]:
    """Yield the groups of differences, the most frequent first, with one sample or as many as there are."""
    if not found:
        yield "No differences."
        return
    yield f"DIFFERENCES ({len(found)}{f' of {len(found) + more}' if more else ''})"
    for group in found:
        verdict = "" if group["verdict"] == "different" else f"  [{group['verdict']}]"
        meaning = "  (the client was answered, the shadow gave no answer)" if group["kind"] == "no-answer" else ""
        yield f"{_place(group)}  {group['path']}  {group['kind']}{verdict}{meaning}"
        control = group["control_rate"]
        against = "" if control is None else f", {_percent(control)} between two answers of the same version"
        yield (f"    {group['count']:,} times, {_percent(group['rate'])}{against}; "
               f"{moment(group['first_seen'])} to {moment(group['last_seen'])}")
        for sample in group["samples"]:
            which = f"  (request {sample['id']})" if sample["id"] else ""
            yield f"    {_short(sample['primary'])} → {_short(sample['shadow'])}{which}"


def _head(view: Json) -> Iterator[str]:
    shadow, name = view["shadow"], view["route"]
    if shadow is None:
        yield f"{name}: nothing is copied."
    else:
        yield f"{name}: copies of {shadow['percent']:g} % of {', '.join(shadow['methods'])} go to {shadow['to']}"
    if shadow and view["fraction"] < 1:
        yield f"  of which {_percent(view['fraction'])} are made at present: the worker or the route is busy"
    comparer = view["comparer"]
    if shadow and not comparer["running"]:
        yield "  nothing compares the answers: `compare` is off, or the comparing process is being started"
    if comparer["restarts"]:
        yield f"  the comparing process was started anew {comparer['restarts']:,} times (`turnout events`)"
    if comparer["dropped"]:
        yield f"  {comparer['dropped']:,} pairs were dropped because it had no time for them"


def latency(found: Json, sides: tuple[str, str] = ("clients got", "shadow")) -> str:
    """Return how long the answers took, pairwise."""
    keys = {**dict(zip(sides, ("primary", "shadow"), strict=True)), "longer by": "later"}
    rows = [(name, *(_ms(found[key][quantile]) for quantile in ("p50_ms", "p99_ms")))
            for name, key in keys.items() if key in found]
    return table(("answers of", "p50", "p99"), rows, left=1)


def endpoints(found: list[Json]) -> Iterator[str]:
    """Yield a table of the worst endpoints, by how many of their answers differ."""
    worst = sorted(found, key=lambda one: (-one["different"], -one["compared"], one["endpoint"]))
    rows = [
        (_place(one), f"{one['compared']:,}", f"{one['different']:,}",
         _percent(one["matched"] / one["compared"]) if one["compared"] else "-", f"{sum(one['skipped'].values()):,}")
        for one in worst[:_MOST_ENDPOINTS]
    ]
    yield table(("endpoint", "compared", "different", "match", "skipped"), rows, left=1)
    if len(worst) > _MOST_ENDPOINTS:
        yield f"… and {len(worst) - _MOST_ENDPOINTS} more endpoints (--json)"


def _next(view: Json) -> Iterator[str]:
    """The next useful command."""
    name, totals = view["route"], view["totals"]
    if view["shadow"] is None:
        yield f"Next: `turnout shadow {name} to=VERSION percent=1` starts copies."
    elif not totals["compared"]:
        yield f"Next: send requests, then `turnout shadow {name}` again."
    elif view["differences"]:
        first = view["differences"][0]
        yield f"Next: `turnout shadow {name} report --path '{first['path']}' --samples 5` shows more of the first;"
        yield f"      `turnout shadow {name} learn` says what is noise."
    else:
        to = view["shadow"]["to"]
        yield f"Next: if no client sees {to} yet, `turnout weight {name} {to}=1%` lets the first ones."


def _place(one: Json) -> str:
    return f"{one.get('method') or ''} {one['endpoint']}".strip()


def _percent(fraction: float) -> str:
    """Never 100 % for less than all, nor 0 % for more than nothing."""
    text = f"{100 * fraction:.4g}"
    if fraction < 1 and text == "100":
        text = "99.99"
    return f"{text} %"


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.1f} ms"


def _short(excerpt: str) -> str:
    if not excerpt:
        return "(nothing)"
    return excerpt if len(excerpt) <= _LONGEST_SAMPLE else excerpt[:_LONGEST_SAMPLE] + "…"
