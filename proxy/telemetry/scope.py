"""Which series belong to the configuration in force: whatever else was counted once is neither shown nor kept.

Invariant: the number of series is bounded by the routes, versions and servers that are configured now, however many
came and went before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

Labels = tuple[str, ...]


class Scope:
    """The (route, version) pairs and the (version, server address) pairs of a configuration."""

    __slots__ = ("_pairs", "_routes", "_servers", "_versions")

    def __init__(self, pairs: Iterable[tuple[str, str]], servers: Iterable[tuple[str, str]]) -> None:
        self._pairs = frozenset(pairs)
        self._servers = frozenset(servers)
        self._routes = frozenset(route for route, _ in self._pairs)
        self._versions = frozenset(version for version, _ in self._servers)

    def holds(self, names: Labels) -> Callable[[Labels], bool]:
        """Return the test for the label values of a metric whose labels have these names."""
        match names[:2]:
            case ("route", "version"):
                pairs = self._pairs
                return lambda values: values[:2] in pairs
            case ("route", *_):
                routes = self._routes
                return lambda values: values[0] in routes
            case ("version", "server"):
                servers = self._servers
                return lambda values: values[:2] in servers
            case ("version", *_):
                versions = self._versions
                return lambda values: values[0] in versions
        return lambda _: True
