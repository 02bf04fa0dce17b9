"""What must agree between the parts of a configuration: addresses, tokens, servers, and routes with one another.

Checks inside one route are in `route_checks`.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.core.listen import Listen
from proxy.core.route import Server
from proxy.settings.addresses import is_loopback, overlaps
from proxy.settings.document import Loc
from proxy.settings.pieces import Pieces, RoutePieces, listed, mapping
from proxy.settings.report import Report
from proxy.settings.route_checks import check_route

_MIN_TOKEN = 16


def cross_check(pieces: Pieces, environ: Mapping[str, str], report: Report) -> None:
    """Report every contradiction between readable parts."""
    _check_listens(pieces, report)
    _check_tokens(pieces, environ, report)
    _check_servers(pieces, report)
    _check_versions(pieces, report)
    _check_names(pieces.routes, report)
    _check_matches(pieces.routes, report)
    _check_session_cookies(pieces.routes, report)
    for route in pieces.routes:
        check_route(route, pieces.versions or None, report)     # of none at all, that is the problem
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
    if not is_loopback(admin) and not listed(mapping(pieces.data.get("admin")).get("tokens")):
        report.error(loc, f"`{admin.address}` is reachable from other machines: add `tokens`, or listen on 127.0.0.1")


def _check_tokens(pieces: Pieces, environ: Mapping[str, str], report: Report) -> None:
    names: dict[str, Loc] = {}
    holders: dict[str, str] = {}
    for loc, token in pieces.tokens:
        if token.name in names:
            spot = report.source.spot(names[token.name])
            report.error((*loc, "name"), f"`{token.name}` is already the name of another ({spot})")
        names.setdefault(token.name, loc)
        value = environ.get(token.token_env, "")
        if wrong := _wrong_with_token(value, holders.get(value)):
            report.error((*loc, "token_env"), f"the environment variable {token.token_env} {wrong}")
        holders.setdefault(value, token.name)


def _wrong_with_token(value: str, holder: str | None) -> str | None:
    """What is wrong with a token, never quoting it."""
    if not value:
        return "is not set, or empty"
    if len(value) < _MIN_TOKEN or not value.isascii() or not value.isprintable() or " " in value:
        return f"must hold at least {_MIN_TOKEN} visible ASCII characters: take `openssl rand -hex 32`"
    if holder is not None:
        return f"holds the same token as that of `{holder}`: nobody could tell who made a change"
    return None


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
