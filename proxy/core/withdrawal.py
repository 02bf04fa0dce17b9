"""Taking versions out of service where nobody can be asked what is to come instead: the baseline is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from proxy.core.route import Route
from proxy.core.snapshot import Snapshot


def without(snapshot: Snapshot, pairs: Collection[tuple[str, str]]) -> Snapshot:
    """Return the snapshot with no traffic for these (route, version) pairs, under the same revision.

    What is left of a split keeps its proportions; where nothing is left, the baseline gets everything, unless it is
    named itself: then that route stays as it is, because there is nowhere else to go. Sessions end, as in a rollback.
    """
    routes = tuple(_reduced(route, {version for name, version in pairs if name == route.name})
                   for route in snapshot.routes)
    return replace(snapshot, routes=routes)


def _reduced(route: Route, named: Collection[str]) -> Route:
    if not named:
        return route
    split = tuple((version, 0.0 if version in named else weight) for version, weight in route.split)
    if not any(weight for _, weight in split):
        if route.baseline in named:
            return route
        split = tuple((version, 100.0 if version == route.baseline else 0.0) for version, _ in route.split)
    return replace(route, split=split, generation=route.generation + 1)
