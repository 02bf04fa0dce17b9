"""What the supervisor asks and what it is told: JSON-able data in the words of the API.

Options come from the supervisor, which has checked them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.comparison.book import Book, named
from proxy.comparison.shelf import Shelf
from proxy.core.compare.groups import Endpoint, Sample
from proxy.core.compare.groups_data import as_data, restore
from proxy.core.compare.noise import Finding, findings, suggestions, unordered_suggestions
from proxy.telemetry.histogram import Histogram

MOST_SHOWN = 20
"""Groups in a report."""
MOST_SAVED = 8 * 1024 * 1024
"""Bytes of groups that a successor is handed; what is beyond begins afresh there."""
_VERDICTS = {"difference": "different"}
Data = dict[str, Any]


def tell(shelf: Shelf, about: str, route: str, options: Mapping[str, Any], now_s: float) -> Data | None:
    """The answer to a question; None where the route was never watched. Raises KeyError for a question nobody asks."""
    if about == "clear":
        return {"cleared": shelf.clear(route, now_s)}
    if about == "save":
        return {"books": _saved_books(shelf)}
    book = shelf.find(route)
    return None if book is None else _ABOUT[about](book, options)


def report(book: Book, _: Mapping[str, Any]) -> Data:
    """Totals, endpoints, and the most frequent differences."""
    book.tidy()
    totals = book.totals()
    skipped = dict(totals.skipped)
    for reason, count in book.uncompared.items():
        skipped[reason] = skipped.get(reason, 0) + count
    found = [one for one in findings(book.groups, book.rules.rules) if one.verdict == "difference"]
    return {
        "since": book.since_s, "to": book.watched.to, "control": book.watched.control,
        "compared": totals.compared, "matched": totals.matched, "different": totals.different, "noisy": totals.noisy,
        "skipped": skipped,
        "latency": {name: _latency(histogram) for name, histogram in _histograms(book).items()},
        "endpoints": [_endpoint(name, one) for name, one in sorted(
            book.groups.endpoints.items(), key=lambda item: (-item[1].compared, item[0]))],
        "differences": [_difference(one, book, samples=1) for one in found[:MOST_SHOWN]],
        "more": max(0, len(found) - MOST_SHOWN), "dropped_groups": book.groups.dropped,
    }


def differences(book: Book, options: Mapping[str, Any]) -> Data:
    """Groups, by `endpoint`, `path` and `kind` where they are named; `all`: also noise and what is undecided."""
    book.tidy()
    endpoint, path, kind = options.get("endpoint"), options.get("path"), options.get("kind")
    found = [
        one for one in findings(book.groups, book.rules.rules)
        if (options.get("all") or one.verdict == "difference")
        and (endpoint is None or endpoint in (one.key.endpoint, _parts(one.key.endpoint)[1]))
        and path in (None, one.key.path) and kind in (None, one.key.kind.value)
    ]
    limit = options.get("limit", MOST_SHOWN)
    return {
        "differences": [_difference(one, book, options.get("samples", 1)) for one in found[:limit]],
        "more": max(0, len(found) - limit),
    }


def rules(book: Book, _: Mapping[str, Any]) -> Data:
    """Ignore rules for what differs between two answers of the version that answers, each with how often that was."""
    book.tidy()
    ignore, unordered = suggestions(book.groups), unordered_suggestions(book.groups)
    because = {rule: {"control_rate": 0.0, "compared": 0} for rule in (*ignore, *unordered)}
    for key, group in book.groups.items():
        controlled = book.groups.endpoint(key.endpoint).controlled
        for rule in because:
            if controlled and (key.path == rule or (key.path.startswith(rule) and key.path[len(rule)] in ".[")):
                rate = min(1.0, (group.both + group.control_only) / controlled)
                if rate > because[rule]["control_rate"]:
                    because[rule] = {"control_rate": round(rate, 6), "compared": controlled}
    return {"ignore": ignore, "unordered": unordered, "because": because, "control": book.watched.control}


def take_over(book: Book, options: Mapping[str, Any]) -> Data:
    """Go on with what a predecessor has `saved`, if that is of a route watched as this one is."""
    saved: Mapping[str, Any] = options["saved"]
    if book.totals().compared == 0 and _as_saved(book) == saved.get("watched"):
        restore(book.groups, dict(saved["groups"]))
        book.learn_again()
        book.since_s = float(saved["since"])
        book.uncompared = {str(reason): int(count) for reason, count in saved["uncompared"].items()}
        for name, histogram in _histograms(book).items():
            buckets, total = saved.get(name, ((), 0.0))
            histogram.merge({int(index): count for index, count in buckets}, total)
        book.told_all()
        return {"restored": True}
    return {"restored": False}


def _saved_books(shelf: Shelf) -> dict[str, Data]:
    """Of those with the smallest results as many as fit."""
    saved: dict[str, Data] = {}
    room = MOST_SAVED
    for name, book in sorted(shelf.books.items(), key=lambda item: item[1].groups.bytes):
        room -= book.groups.bytes
        if room < 0:
            break
        saved[name] = _saved(book)
    return saved


def _saved(book: Book) -> Data:
    return {
        "watched": _as_saved(book), "since": book.since_s, "groups": as_data(book.groups),
        "uncompared": book.uncompared,
        **{name: [list(histogram.buckets.items()), histogram.sum] for name, histogram in _histograms(book).items()},
    }


def _histograms(book: Book) -> dict[str, Histogram]:
    return {"primary": book.primary, "shadow": book.shadow, "later": book.later}


def _as_saved(book: Book) -> list[Any]:
    watched = book.watched
    return [watched.route, watched.to, watched.control, watched.rules]


_ABOUT: dict[str, Callable[[Book, Mapping[str, Any]], Data]] = {
    "report": report, "differences": differences, "rules": rules, "restore": take_over,
}


def _difference(one: Finding, book: Book, samples: int) -> Data:
    method, endpoint = _parts(one.key.endpoint)
    return {
        "endpoint": endpoint, "method": method, "path": one.key.path, "kind": one.key.kind.value,
        "count": one.group.count, "rate": round(one.candidate_rate, 6),
        "control_rate": round(one.control_rate, 6) if book.watched.control else None,
        "verdict": _VERDICTS.get(one.verdict, one.verdict),
        "first_seen": one.group.first_s, "last_seen": one.group.last_s,
        "samples": [_sample(sample) for sample in one.group.samples[:samples]],
    }


def _sample(sample: Sample) -> Data:
    return {"at": sample.at_s, "id": sample.request, "primary": sample.primary, "shadow": sample.shadow}


def _endpoint(name: str, one: Endpoint) -> Data:
    method, endpoint = _parts(name)
    return {"endpoint": endpoint, "method": method, "compared": one.compared, "matched": one.matched + one.noisy,
            "different": one.different, "skipped": named(one.skipped)}


def _parts(name: str) -> tuple[str, str]:
    method, blank, template = name.partition(" ")
    return (method, template) if blank else ("", name)


def _latency(histogram: Histogram) -> Data:
    return {f"p{share}_ms": _milliseconds(histogram.quantile(share / 100)) for share in (50, 99)}


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None or seconds == float("inf") else round(seconds * 1000, 3)
