"""Finding the route of a request, and everything about a route that can be computed before one comes.

A request that nothing in one table takes goes on to the next of its host's chain (see `layout`). So host is more
important than path, yet a table for one host that covers only `/api` does not hide the rest of the site. Finding costs
one dictionary lookup per segment, and never more than the deepest prefix has, whatever the number of routes and the
length of the target.

A change that concerns one of a thousand routes compiles one: what did not change is shared with the router before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_

from proxy.core.choice import Choice
from proxy.core.layout import Layout, Node
from proxy.core.match import conditions_of, to_bytes
from proxy.core.override import CompiledOverride
from proxy.core.request import RequestView
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.core.split import Draw, Race
from proxy.core.sticky import strategy_for

__all__ = ["CompiledRoute", "RequestView", "RouteTable", "Router"]


class CompiledRoute:
    """A route with everything computed that can be before a request is there. Never changed after it is made."""

    __slots__ = ("conditions", "draw", "index", "name", "needs", "overridden", "override", "race", "route", "stick",
                 "strategy", "versions")

    def __init__(self, index: int, route: Route, secret: bytes = b"") -> None:
        weights = tuple(weight for _, weight in route.split)
        self.index = index                 # the route's place in the snapshot
        self.name = route.name
        self.route = route
        self.versions = tuple(version for version, _ in route.split)
        self.conditions = conditions_of(route.match)
        self.draw = Draw(weights)
        self.race = Race(route.salt or route.name, self.versions, weights)
        rule = route.override
        self.override = CompiledOverride(rule, self.versions) if rule is not None and rule.networks else None
        self.overridden = tuple(Choice(place, version, "override") for place, version in enumerate(self.versions))
        self.strategy = strategy_for(self, secret)
        self.stick = self.strategy.choose
        self.needs = frozenset(self._needs())   # names, in lower case, of the header fields that decisions read

    def accepts(self, request: RequestView) -> bool:
        """Whether the request passes all conditions."""
        for condition in self.conditions:  # noqa: SIM110 - a generator costs as much as two conditions
            if not condition.holds(request):
                return False
        return True

    def _needs(self) -> Iterator[bytes]:
        yield from self.strategy.needs
        yield from (to_bytes(header.name.lower()) for header in self.route.match.headers)
        copied_by = self.route.copying.header
        if copied_by is not None:
            yield to_bytes(copied_by.name.lower())
        if self.override is not None:
            yield from (source.needs for source in self.override.sources if source.needs is not None)


class RouteTable:
    """The routes of one host, host wildcard, or any host; `beyond` is the table to go on with if none of them fits."""

    __slots__ = ("_root", "_routes", "beyond", "only")

    def __init__(self, root: Node, routes: Sequence[CompiledRoute], beyond: RouteTable | None) -> None:
        self.beyond = beyond
        self._root = root
        self._routes = routes
        self.only = None if root.sole is None or root.children else routes[root.sole]
        """The route of every request of this host, if there is such a one."""

    def find(self, request: RequestView) -> CompiledRoute | None:
        """The route that takes a request: of the longest prefix whose conditions it passes."""
        routes = self._routes
        deepest = self.descend(request.target)
        if deepest.sole is not None:
            return routes[deepest.sole]
        node: Node | None = deepest
        while node is not None:
            for place in node.places:
                route = routes[place]
                if not route.conditions or route.accepts(request):
                    return route
            node = node.above
        return self.beyond.find(request) if self.beyond is not None else None

    def tries(self, request: RequestView) -> Iterator[CompiledRoute]:
        """Every route here whose path fits, in the order in which `find` tries them."""
        node: Node | None = self.descend(request.target)
        while node is not None:
            yield from (self._routes[place] for place in node.places)
            node = node.above

    def descend(self, target: bytes) -> Node:
        """The longest prefix in the tree that a target (`/path?query`) begins with. `*` counts as `/`."""
        node = self._root
        if not node.children:
            return node
        stop = target.find(b"?")
        if stop < 0:
            stop = len(target)
        start = 1
        while start <= stop and node.children:
            end = target.find(b"/", start, stop)
            if end < 0:
                end = stop
            child = node.children.get(target[start:end])
            if child is None:
                return node
            node = child
            start = end + 1
        return node


class Router:
    """Every route of a snapshot, by host. `before`: the router of another snapshot; what is alike is shared with it."""

    __slots__ = ("_layout", "_tables", "needs", "pairs", "routes", "snapshot")

    routes: tuple[CompiledRoute, ...]
    needs: frozenset[bytes]
    """Names, in lower case, of the header fields that any route's decisions read."""
    pairs: dict[tuple[str, str], tuple[int, int]]
    """Route and version by name → their places. The very same object as `before`'s where no name has changed."""

    def __init__(self, snapshot: Snapshot, before: Router | None = None) -> None:
        self.snapshot = snapshot
        if before is None or snapshot.secret != before.snapshot.secret or len(snapshot.routes) != len(before.routes):
            self.routes = tuple(CompiledRoute(index, route, snapshot.secret)
                                for index, route in enumerate(snapshot.routes))
            self._layout = Layout([route.match for route in snapshot.routes])
            self.needs, self.pairs = self._all_needs(), self._all_pairs()
        else:
            self._follow(before)
        self._tables: dict[bytes, RouteTable] = {}     # made when first asked for: most hosts are idle most of the time

    def _follow(self, before: Router) -> None:
        """Compile only what has changed."""
        routes, known = self.snapshot.routes, before.snapshot.routes
        changed = [place for place, same in enumerate(map(is_, routes, known))
                   if not same and routes[place] != known[place]]
        compiled = list(before.routes)
        for place in changed:
            compiled[place] = CompiledRoute(place, routes[place], self.snapshot.secret)
        self.routes = tuple(compiled)
        moved = any(routes[place].match != known[place].match for place in changed)
        self._layout = Layout([route.match for route in routes]) if moved else before._layout
        read_alike = all(compiled[place].needs == before.routes[place].needs for place in changed)
        self.needs = before.needs if read_alike else self._all_needs()
        named_alike = all(_names(compiled[place]) == _names(before.routes[place]) for place in changed)
        self.pairs = before.pairs if named_alike else self._all_pairs()

    def _all_needs(self) -> frozenset[bytes]:
        return frozenset().union(*(route.needs for route in self.routes))

    def _all_pairs(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {(route.name, version): (route.index, index)
                for route in self.routes for index, version in enumerate(route.versions)}

    def table(self, host: bytes) -> RouteTable | None:
        """The first table for a host; None if no route is for it.

        `host`: lower case, without port or trailing dot, an IPv6 literal in brackets; empty if the request has none.
        """
        return self._table(self._layout.first(host))

    def _table(self, name: bytes | None) -> RouteTable | None:
        if name is None:
            return None
        table = self._tables.get(name)
        if table is None:
            beyond = self._table(self._layout.beyond[name])
            table = self._tables[name] = RouteTable(self._layout.roots[name], self.routes, beyond)
        return table


def _names(route: CompiledRoute) -> tuple[str, tuple[str, ...]]:
    return route.name, route.versions
