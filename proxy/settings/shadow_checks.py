"""What must agree inside a route's `shadow`, and what of it an operator should know."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.core.compare.rules import problems_of
from proxy.core.course import copied_to_itself, copies_itself, doubled, unsafe_methods
from proxy.core.route import Shadow
from proxy.settings.cpus import usable_cpus
from proxy.settings.document import Loc
from proxy.settings.pieces import Pieces, RoutePieces, attempt, mapping
from proxy.settings.report import Report
from proxy.settings.section import keys_of
from proxy.settings.shadow_model import CompareSection, ShadowSection
from proxy.settings.units import format_size, parse_count, quote


def check_shadow(route: RoutePieces, report: Report) -> None:
    """Report every contradiction inside the shadow of a route."""
    raw = mapping(route.raw.get("shadow"))
    loc = (*route.loc, "shadow")
    check_twice((*loc, "drop_headers"), raw.get("drop_headers"), report)
    check_twice((*loc, "set_headers"), raw.get("set_headers"), report, of_key=True)
    _check_compare((*loc, "compare"), mapping(raw.get("compare")), report)
    if route.shadow is not None:
        _warn(loc, route, route.shadow, report)


def check_memory(pieces: Pieces, report: Report) -> None:
    """Warn of bounds that, divided by the workers, leave no room for a single copy and the answers."""
    workers = workers_of(pieces)
    for route in pieces.routes:
        if route.shadow is None:
            continue
        shadow, loc = route.shadow, (*route.loc, "shadow")
        answers = 0 if shadow.compare is None else 3 if shadow.control else 2
        most = shadow.max_body + (answers * shadow.compare.max_body if shadow.compare else 0)
        share = shadow.memory // workers
        if share < most:
            report.warning(
                (*loc, "memory"), f"{quote(format_size(shadow.memory))} are {format_size(share)} for each of {workers} "
                                  f"workers; a copy and the answers may need {format_size(most)}")


def workers_of(pieces: Pieces) -> int:
    """How many workers there will be, as far as that can be told."""
    return attempt(parse_count, pieces.data.get("workers")) or usable_cpus()


def _warn(loc: Loc, route: RoutePieces, shadow: ShadowSection, report: Report) -> None:
    if unsafe := unsafe_methods(Shadow(shadow.to, shadow.percent, tuple(shadow.methods))):
        report.warning((*loc, "methods"), doubled(unsafe))
    if shadow.by == "key" and not mapping(route.raw.get("sticky")):
        report.warning((*loc, "by"), "without `sticky` no client has a key: nothing is copied")
    if shadow.compare is None and (shadow.control or shadow.alert_below is not None):
        key = "control" if shadow.control else "alert_below"
        report.warning((*loc, key), "means nothing with `compare: off`")
    split = [(name, 1.0 if weight is None else weight) for name, weight in route.weights.items()]
    if split and copies_itself(split, Shadow(shadow.to, 0)):
        report.warning((*loc, "to"), copied_to_itself(shadow.to))
    for name in shadow.set_headers:
        if name in shadow.drop_headers:
            report.warning((*loc, "drop_headers"), f"{quote(name)} is also in `set_headers`, which replaces it anyway")


def check_twice(loc: Loc, names: object, report: Report, *, of_key: bool = False) -> None:
    """Report header names that are given twice: they are compared without case."""
    first: dict[str, str] = {}
    for index, name in enumerate(names if isinstance(names, (list, dict)) else ()):
        if isinstance(name, str):
            if name.lower() in first:
                at: Iterable[str | int] = (name,) if of_key else (index,)
                report.error((*loc, *at), f"is given twice: also as {quote(first[name.lower()])}", of_key=of_key)
            first.setdefault(name.lower(), name)


def _check_compare(loc: Loc, raw: dict[str, object], report: Report) -> None:
    """What concerns several entries of a list; the rest is said already, and a report says nothing twice."""
    known = {key: value for key, value in raw.items() if key in keys_of(CompareSection) and value is not None}
    for problem in problems_of(known):
        key, _, index = problem.where[1:].partition("/")
        report.error((*loc, key, int(index)) if index else (*loc, key), problem.message)
