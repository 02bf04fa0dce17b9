from __future__ import annotations

import pytest

from proxy.core.route import Match, Route
from proxy.core.snapshot import Snapshot
from proxy.core.withdrawal import without

SPLIT = (("old", 60.0), ("new", 30.0), ("next", 10.0))


def a_snapshot(*names: str) -> Snapshot:
    return Snapshot(7, (), tuple(Route(name, Match(), SPLIT, "old") for name in names))


@pytest.mark.parametrize(
    ("named", "left"),
    [({"new"}, (60.0, 0.0, 10.0)), ({"old"}, (0.0, 30.0, 10.0)), ({"new", "next"}, (60.0, 0.0, 0.0))],
)
def test_what_is_left_keeps_its_proportions(named: set[str], left: tuple[float, ...]) -> None:
    (route,) = without(a_snapshot("shop"), {("shop", version) for version in named}).routes
    assert tuple(weight for _, weight in route.split) == left
    assert route.generation == 1


def test_where_nothing_is_left_the_baseline_gets_everything() -> None:
    shop = Route("shop", Match(), (("old", 0.0), ("new", 5.0)), "old")
    (route,) = without(Snapshot(1, (), (shop,)), {("shop", "new")}).routes
    assert route.split == (("old", 100.0), ("new", 0.0))


def test_a_route_with_nowhere_else_to_go_stays_as_it_is() -> None:
    before = a_snapshot("shop")
    assert without(before, {("shop", version) for version, _ in SPLIT}) == before


def test_other_routes_and_the_revision_stay() -> None:
    before = a_snapshot("shop", "blog")
    after = without(before, {("shop", "new")})
    assert after.revision == before.revision
    assert after.routes[1] is before.routes[1]
