"""What must agree between the parts of a configuration: addresses, servers, buckets, and routes with one another.

Checks inside one route are in `route_checks`, what concerns health, attempts and load is in `traffic_checks`, and
tokens in `tokens`.
"""

from __future__ import annotations

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.addresses import exposed, is_loopback, overlaps
from proxy.settings.document import Loc
from proxy.settings.pieces import Pieces, RoutePieces, attempt, listed, mapping
from proxy.settings.report import Report
from proxy.settings.route_checks import check_route
from proxy.settings.shadow_checks import check_memory
from proxy.settings.traffic_checks import check_traffic
from proxy.settings.units import parse_duration, quote


def cross_check(pieces: Pieces, report: Report) -> None:
    """Report every contradiction between readable parts."""
    _check_listens(pieces, report)
    _check_buckets(pieces, report)
    _check_servers(pieces, report)
    _check_versions(pieces, report)
    _check_names(pieces.routes, report)
    _check_matches(pieces.routes, report)
    _check_session_cookies(pieces.routes, report)
    for route in pieces.routes:
        check_route(route, pieces.versions or None, report)     # of none at all, that is the problem
    check_memory(pieces, report)
    check_traffic(pieces, report)
    _check_secret(pieces, report)


def _check_listens(pieces: Pieces, report: Report) -> None:
    bound: list[tuple[Loc, Listen]] = []
    for loc, listen in [*pieces.listens, pieces.admin]:
        for other_loc, other in bound:
            if overlaps(listen, other):
                spot = report.source.spot(other_loc)
                report.error(loc, f"`{listen.address}` is already taken by `{other.address}` ({spot})")
                break
        bound.append((loc, listen))
    loc, admin = pieces.admin
    if not listed(mapping(pieces.data.get("admin")).get("tokens")) and (why := exposed(admin)):
        report.error(loc, f"{why}: add `tokens`, or listen on 127.0.0.1")


def _check_buckets(pieces: Pieces, report: Report) -> None:
    before: tuple[float, str] = (0.0, "")
    for index, text in enumerate(listed(mapping(pieces.data.get("metrics")).get("buckets"))):
        bound = attempt(parse_duration, text)
        if bound is None:
            continue
        if bound == before[0]:
            report.error(("metrics", "buckets", index), f"{quote(text)} is given twice")
        elif bound < before[0]:
            report.error(("metrics", "buckets", index), f"{quote(text)} comes after {quote(before[1])}: "
                                                        "write them in ascending order")
        before = max(before, (bound, str(text)))


def _check_servers(pieces: Pieces, report: Report) -> None:
    first: dict[Server, tuple[Loc, str]] = {}
    for loc, version, server in pieces.servers:
        if loop := _loops_to(server, pieces.listens):
            report.error(loc, f"`{server.address}` is where Turnout itself listens ({report.source.spot(loop)}): "
                              "requests would go round in a circle")
        known = first.setdefault(server, (loc, version))
        if known[0] == loc:
            continue
        if known[1] == version:
            report.error(loc, f"`{server.address}` is given twice (also in {report.source.spot(known[0])})")
        else:
            report.warning(loc, f"`{server.address}` is also a server of `{known[1]}` ({report.source.spot(known[0])})")


def _loops_to(server: Server, listens: list[tuple[Loc, Listen]]) -> Loc | None:
    address = Listen(server.host, server.port, server.unix_path)
    for loc, listen in listens:
        if listen == address or (overlaps(listen, address) and is_loopback(address)):
            return loc
    return None


def _check_versions(pieces: Pieces, report: Report) -> None:
    if pieces.versions == []:
        report.error(("versions",), "must not be empty")
    if pieces.data.get("routes") == []:
        report.error(("routes",), "must not be empty")
    used = {name for route in pieces.routes for name in route.weights}
    used |= {str(mapping(route.raw.get("shadow")).get("to")) for route in pieces.routes}
    for name in pieces.versions or []:
        if name not in used and pieces.routes:
            report.warning(("versions", name), "no route uses this version", of_key=True)


def _check_names(routes: list[RoutePieces], report: Report) -> None:
    first: dict[str, Loc] = {}
    for route in routes:
        if route.name is None:
            continue
        if route.name in first:
            report.error((*route.loc, "name"), f"`{route.name}` is already the name of another route "
                                               f"({report.source.spot(first[route.name])})")
        first.setdefault(route.name, (*route.loc, "name"))


def _check_matches(routes: list[RoutePieces], report: Report) -> None:
    """Two routes with one match would leave it to chance which gets a request."""
    first: dict[object, RoutePieces] = {}
    for route in routes:
        if route.match is None:
            continue
        match = route.match
        conditions = (match.host, match.path, frozenset(match.methods), frozenset(match.headers.items()))
        other = first.setdefault(conditions, route)
        if other is not route:
            name = f"`{other.name}`" if other.name else "another route"
            report.error((*route.loc, "match"), f"is the same as that of {name} ({report.source.spot(other.loc)}): "
                                                "no request could be told apart")


def _check_session_cookies(routes: list[RoutePieces], report: Report) -> None:
    """Turnout's cookie of a session holds one version of one route: a second route would overwrite it."""
    first: dict[str, RoutePieces] = {}
    for route in routes:
        if route.sticky is None or route.sticky.by != "cookie":
            continue
        name = route.sticky.name or "turnout"
        other = first.setdefault(name, route)
        if other is not route and "session" in (route.sticky.mode, other.sticky and other.sticky.mode):
            spot = report.source.spot((*other.loc, "sticky"))
            report.error((*route.loc, "sticky"), f"another route uses the cookie `{name}` too ({spot}): "
                                                 "with `mode: session` each needs a `name` of its own")


def _check_secret(pieces: Pieces, report: Report) -> None:
    in_memory = pieces.data.get("state_dir") == "memory"
    session = [route for route in pieces.routes if route.sticky is not None and route.sticky.mode == "session"]
    if session and in_memory and pieces.data.get("secret") is None:
        report.warning((*session[0].loc, "sticky", "mode"),
                       "without `secret`, and with `state_dir: memory`, every session is forgotten at a restart")
