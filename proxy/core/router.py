"""Finding the route of a request: host first, then the longest path prefix, then conditions. Compiled per snapshot.

The tables of a host form a chain: its own, those of the wildcards it falls under (the longest first), that of any host.
A request that nothing in one table takes goes on to the next. So host is more important than path, yet a table
for one host that covers only `/api` does not hide the rest of the site. The chain is linked once per snapshot.

A table holds its prefixes in a tree, one segment per level. Finding costs one dictionary lookup per segment, and never
more than the deepest prefix has, whatever the number of routes and the length of the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy.core.choice import Choice
from proxy.core.match import conditions_of, path_segments, specificity, to_bytes
from proxy.core.override import CompiledOverride
from proxy.core.request import RequestView
from proxy.core.route import Route
from proxy.core.snapshot import Snapshot
from proxy.core.split import Draw, Race
from proxy.core.sticky import strategy_for

__all__ = ["CompiledRoute", "Node", "RequestView", "RouteTable", "Router"]


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
        if self.override is not None:
            yield from (source.needs for source in self.override.sources if source.needs is not None)


class Node:
    """A path prefix in the tree of a table."""

    __slots__ = ("above", "children", "routes", "sole")

    def __init__(self, above: Node | None) -> None:
        self.above = above                 # the next shorter prefix in the tree
        self.children: dict[bytes, Node] = {}
        self.routes: tuple[CompiledRoute, ...] = ()   # of exactly this prefix, in the order they are tried
        self.sole: CompiledRoute | None = None        # the first of them, if it takes everything


class RouteTable:
    """The routes of one host, host wildcard, or any host; `beyond` is the table to go on with if none of them fits."""

    __slots__ = ("_root", "beyond", "only")

    def __init__(self, routes: Iterable[CompiledRoute], beyond: RouteTable | None) -> None:
        self.beyond = beyond
        self._root = Node(None)
        # Sorting is stable: what is equally specific stays in the order of the file.
        for route in sorted(routes, key=lambda route: specificity(route.route.match)):
            node = self._node(path_segments(route.route.match.path))
            if not node.routes or node.routes[-1].conditions:      # behind one that takes everything none is reached
                node.routes += (route,)
                node.sole = None if node.routes[0].conditions else node.routes[0]
        self.only = self._find_only()      # the route of every request of this host, if there is such a one

    def find(self, request: RequestView) -> CompiledRoute | None:
        """The route that takes a request: of the longest prefix whose conditions it passes."""
        deepest = self.descend(request.target)
        if deepest.sole is not None:
            return deepest.sole
        node: Node | None = deepest
        while node is not None:
            for route in node.routes:
                if not route.conditions or route.accepts(request):
                    return route
            node = node.above
        return self.beyond.find(request) if self.beyond is not None else None

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

    def _node(self, segments: tuple[bytes, ...]) -> Node:
        node = self._root
        for segment in segments:
            node = node.children.setdefault(segment, Node(node))
        return node

    def _find_only(self) -> CompiledRoute | None:
        first = self._root.routes[0] if self._root.routes else None
        return first if first is not None and not first.conditions and not self._root.children else None


class Router:
    """Every route of a snapshot, by host."""

    __slots__ = ("_any", "_deepest", "_exact", "_wildcards", "needs", "routes", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.routes = tuple(CompiledRoute(index, route, snapshot.secret) for index, route in enumerate(snapshot.routes))
        self.needs = frozenset(name for route in self.routes for name in route.needs)
        by_host: dict[bytes, list[CompiledRoute]] = {}
        for route in self.routes:
            by_host.setdefault(to_bytes(route.route.match.host or ""), []).append(route)
        self._any = RouteTable(by_host[b""], None) if b"" in by_host else None
        suffixes = {host[2:]: routes for host, routes in by_host.items() if host.startswith(b"*.")}
        self._deepest = max((suffix.count(b".") + 1 for suffix in suffixes), default=0)
        self._wildcards: dict[bytes, RouteTable] = {}
        for suffix in sorted(suffixes, key=len):            # shorter ones first: the longer go on to them
            self._wildcards[suffix] = RouteTable(suffixes[suffix], self._below_wildcard(suffix))
        self._exact = {host: RouteTable(routes, self._below_wildcard(host)) for host, routes in by_host.items()
                       if host and not host.startswith(b"*.")}

    def table(self, host: bytes) -> RouteTable | None:
        """The first table for a host; None if no route is for it.

        `host`: lower case, without port or trailing dot, an IPv6 literal in brackets; empty if the request has none.
        """
        return self._exact.get(host) or self._below_wildcard(host)

    def _below_wildcard(self, host: bytes) -> RouteTable | None:
        """The table of the longest wildcard that a host falls under, else that of any host.

        Only as many labels are split off as the longest wildcard has: a host of a thousand dots costs no more.
        """
        labels = host.rsplit(b".", self._deepest) if self._deepest else []
        for place in range(1 if labels and labels[0] else 2, len(labels)):
            table = self._wildcards.get(b".".join(labels[place:]))
            if table is not None:
                return table
        return self._any
