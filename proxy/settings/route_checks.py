"""What must agree inside one route: its split, baseline, stickiness, override and shadow."""

from __future__ import annotations

import math

from proxy.settings.document import Loc
from proxy.settings.grammar import parse_header_name
from proxy.settings.model import OverrideSection, StickySection
from proxy.settings.pieces import RoutePieces, mapping
from proxy.settings.report import Report
from proxy.settings.shadow_checks import check_shadow
from proxy.settings.units import format_number, quote


def check_route(route: RoutePieces, versions: list[str] | None, report: Report) -> None:
    """Report every contradiction inside a route; `versions` are the names that exist, None if they are not known."""
    _check_versions_exist(route, versions, report)
    _check_weights(route, report)
    _check_headers(route, report)
    if route.baseline is not None and route.weights and route.baseline not in route.weights:
        near = report.near(route.baseline, route.weights)
        report.error((*route.loc, "baseline"), f"`{route.baseline}` is not in this route's split{near}")
    if route.sticky is not None:
        _check_sticky((*route.loc, "sticky"), route.sticky, report)
    if route.override is not None:
        _check_override((*route.loc, "override"), route.override, route.sticky, report)
    check_shadow(route, report)


def _check_versions_exist(route: RoutePieces, versions: list[str] | None, report: Report) -> None:
    if versions is None:
        return
    for name in route.weights:
        if name not in versions:
            near = report.near(name, versions)
            report.error((*route.loc, "split", name), f"no version is called {quote(name)}{near}", of_key=True)
    if route.shadow is not None and route.shadow.to not in versions:
        near = report.near(route.shadow.to, versions)
        report.error((*route.loc, "shadow", "to"), f"no version is called {quote(route.shadow.to)}{near}")


def _check_weights(route: RoutePieces, report: Report) -> None:
    loc = (*route.loc, "split")
    if route.raw.get("split") == {}:
        report.error(loc, "must not be empty: name at least one version")
    weights = [weight for weight in route.weights.values() if weight is not None]
    if not weights or len(weights) < len(route.weights):
        return
    if sum(weights) == 0:
        report.error(loc, "at least one weight must be more than 0")
    if len(weights) == 1:
        report.warning(loc, "has a single version: rollback has nowhere to go (list another one, with weight 0)")
    percents = [str(text).endswith("%") for text in mapping(route.raw.get("split")).values()]
    if any(percents) and not all(percents):
        report.error(loc, "mixes percentages and plain weights: write all of them with `%`, or none")
    elif any(percents) and not math.isclose(math.fsum(weights), 100, abs_tol=1e-6):
        report.error(loc, f"the percentages add up to {format_number(round(math.fsum(weights), 6))}%, not to 100%")


def _check_headers(route: RoutePieces, report: Report) -> None:
    """Header names are compared without case, so `X-A` and `x-a` are one condition given twice."""
    first: dict[str, str] = {}
    for name in mapping(mapping(route.raw.get("match")).get("headers")):
        if name.lower() in first:
            report.error((*route.loc, "match", "headers", name),
                         f"is given twice: also as {quote(first[name.lower()])}", of_key=True)
        first.setdefault(name.lower(), name)
    methods = route.match.methods if route.match else []
    for index, method in enumerate(methods):
        if method in methods[:index]:
            report.error((*route.loc, "match", "methods", index), f"`{method}` is given twice")


def _check_sticky(loc: Loc, sticky: StickySection, report: Report) -> None:
    given = sticky.model_fields_set
    if sticky.app_cookie is not None:
        if sticky.by not in (None, "app_cookie"):
            report.error((*loc, "by"), f"`by: {sticky.by}` and `app_cookie` are two ways: keep one")
        if "name" in given:
            report.error((*loc, "name"), "`app_cookie` already is the name of the cookie")
    elif sticky.by == "app_cookie":
        report.error((*loc, "by"), "write `app_cookie: NAME`, with the name of the application's cookie")
    elif sticky.by is None:
        report.error((*loc, "by"), "is missing: `cookie`, `header` or `address` (or `app_cookie: NAME`)")
    elif sticky.by == "header":
        _check_sticky_header(loc, sticky, report)
    elif sticky.by == "address" and "name" in given:
        report.error((*loc, "name"), "an address has no name: leave it out")
    elif (sticky.name or "").lower().startswith(("__host-", "__secure-")):
        report.error((*loc, "name"), f"`{sticky.name}`: browsers take this prefix over https only")
    if sticky.by not in ("cookie", None) or sticky.app_cookie is not None:
        if "max_age" in given:
            report.error((*loc, "max_age"), "only for `by: cookie`: Turnout issues no other cookie")
        if sticky.mode == "session":
            report.error((*loc, "mode"), "`session` needs `by: cookie`: a cookie that Turnout signs holds the version")


def _check_sticky_header(loc: Loc, sticky: StickySection, report: Report) -> None:
    if sticky.name is None:
        report.error((*loc, "name"), "is missing: which header?")
        return
    try:
        name = parse_header_name(sticky.name)
    except ValueError as error:
        report.error((*loc, "name"), str(error))
        return
    if name == "cookie":
        report.error((*loc, "name"), "the whole `Cookie` header changes all the time: use `app_cookie: NAME`")


def _check_override(loc: Loc, override: OverrideSection, sticky: StickySection | None, report: Report) -> None:
    if not (override.header or override.cookie or override.query):
        report.error(loc, "names no `header`, `cookie` or `query`: there is nothing to override with")
    if not override.networks:
        report.warning(loc, "without `from`, nobody may override: list the networks that may")
    if override.header == "cookie":
        report.error((*loc, "header"), "use `cookie: NAME` for a cookie")
    own = (sticky.app_cookie or (sticky.by == "cookie" and (sticky.name or "turnout"))) if sticky else None
    if override.cookie is not None and override.cookie == own:
        report.error((*loc, "cookie"), f"`{own}` is already the cookie of `sticky`")
