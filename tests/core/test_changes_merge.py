from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.core import changes
from proxy.core.merge import initial, merged, steered
from proxy.core.route import Copying, Match, Route, Server, Shadow, Version
from proxy.core.state import Course, State

NAMES = ("old", "new")
VERSIONS = tuple(Version(name, (Server("127.0.0.1", 9001),)) for name in NAMES)
NEXT = Version("next", (Server("127.0.0.1", 9003),))
SHOP = Route("shop", Match(), (("old", 95.0), ("new", 5.0)), "old")
CART = replace(SHOP, name="cart", match=Match(path="/cart"))

weights = st.sampled_from([0.0, 1.0, 5.0, 95.0])
splits = st.tuples(weights, weights).filter(any).map(lambda found: tuple(zip(NAMES, found, strict=True)))
routes = st.lists(st.sampled_from(["shop", "cart", "api"]), unique=True, min_size=1).flatmap(
    lambda names: st.tuples(*(st.builds(lambda split, name=name: replace(SHOP, name=name, split=split), splits)
                              for name in names)))
commands = st.lists(st.tuples(st.integers(0, 5), splits, st.none() | st.floats(1, 20)), max_size=4)


def begun(*routes: Route) -> State:
    return initial(routes, VERSIONS, None, 0.0).state


def moved(state: State, route: Route, new: float, within_s: float | None = None) -> State:
    return changes.split(state, route, {"old": 100 - new, "new": new}, 0.0, within_s).state


def known(*routes: Route) -> dict[str, Route]:
    return {route.name: route for route in routes}


Done = list[tuple[int, tuple[tuple[str, float], ...], float | None]]
"""Splits at run time: of which route, the weights, and the time to confirm in."""


def after(state: State, routes: tuple[Route, ...], done: Done) -> State:
    for which, split, within_s in done:
        state = changes.split(state, routes[which % len(routes)], dict(split), 10.0, within_s).state
    return state


def test_the_file_is_where_a_route_starts() -> None:
    step = initial([SHOP, CART], VERSIONS, None, 0.0)
    assert (step.state.revision, step.moves) == (1, ())
    assert all(held.course == held.written == Course(SHOP.split) for held in step.state.routes.values())


@given(routes, commands)
def test_a_restart_with_the_same_file_brings_back_exactly_what_was(routes: tuple[Route, ...], done: Done) -> None:
    state = after(begun(*routes), routes, done)
    assert initial(routes, VERSIONS, state, 10.5) == changes.Step(state)


@given(routes, routes, commands)
def test_a_route_keeps_its_run_time_course_exactly_if_the_file_says_what_it_said(
    old: tuple[Route, ...], new: tuple[Route, ...], done: Done
) -> None:
    state = after(begun(*old), old, done)
    step = merged(new, VERSIONS, state, known(*old))
    assert step.state.revision == state.revision + 1
    assert step.state.routes.keys() == known(*new).keys()
    for route in new:
        held, was = step.state.routes[route.name], state.routes.get(route.name)
        file = Course(route.split)
        assert held.written == file
        if was is None or was.written != file:
            assert held.course == file
            assert held.pending is None
        else:
            assert held == was
    verbs = {move.route: move.verb for move in step.moves}
    for name, was in state.routes.items():
        overruled = name in known(*new) and was.course != was.written and step.state.routes[name].course != was.course
        assert (verbs.get(name) == "file-wins") is overruled


def test_when_the_file_changes_its_mind_it_wins_and_says_what_it_overruled() -> None:
    state = moved(begun(SHOP), SHOP, 50)
    step = merged([replace(SHOP, split=(("old", 80.0), ("new", 20.0)))], VERSIONS, state, known(SHOP))
    assert [(move.verb, dict(move.before.split), dict(move.after.split))       # type: ignore[union-attr]
            for move in step.moves] == [("file-wins", {"old": 50, "new": 50}, {"old": 80, "new": 20})]
    assert changes.undo(step.state, SHOP).state.routes["shop"].course == Course((("old", 50.0), ("new", 50.0)))


def test_a_file_that_catches_up_with_the_operators_moves_nothing_and_confirms() -> None:
    state = moved(begun(SHOP), SHOP, 50, 600.0)
    step = merged([replace(SHOP, split=(("old", 50.0), ("new", 50.0)))], VERSIONS, state, known(SHOP))
    assert [move.verb for move in step.moves] == []
    assert step.state.routes["shop"].pending is None
    assert step.state.routes["shop"].before == Course(SHOP.split)


def test_the_order_in_which_the_file_names_versions_is_no_change() -> None:
    state = moved(begun(SHOP), SHOP, 50)
    turned = replace(SHOP, split=tuple(reversed(SHOP.split)))
    assert not merged([turned], VERSIONS, state, known(SHOP)).moves
    assert dict(merged([turned], VERSIONS, state, known(SHOP)).state.routes["shop"].course.split) == {
        "old": 50, "new": 50}


def test_a_version_that_comes_or_goes_makes_another_course_and_leaves_nothing_to_undo() -> None:
    state = moved(begun(SHOP), SHOP, 50)
    wider = replace(SHOP, split=(*SHOP.split, ("next", 0.0)))
    step = merged([wider], (*VERSIONS, NEXT), state, known(SHOP))
    assert step.state.routes["shop"].course == Course(wider.split)
    assert step.state.routes["shop"].before is None


def test_routes_that_come_and_go_are_told_and_one_that_returns_honours_no_old_session() -> None:
    state = changes.rollback(begun(SHOP, CART), [CART]).state
    gone = merged([SHOP], VERSIONS, state, known(SHOP, CART))
    assert [(move.verb, move.route, move.after) for move in gone.moves] == [("reload", "cart", None)]
    back = merged([SHOP, CART], VERSIONS, gone.state, known(SHOP))
    assert [(move.verb, move.route, move.before) for move in back.moves] == [("reload", "cart", None)]
    assert back.state.routes["cart"].generation > state.routes["cart"].generation


def test_a_route_that_changes_in_anything_else_has_a_new_revision_and_keeps_its_course() -> None:
    state = moved(begun(SHOP, CART), SHOP, 50)
    step = merged([replace(SHOP, baseline="new"), CART], VERSIONS, state, known(SHOP, CART))
    assert step.moves == ()
    assert step.state.routes["shop"] == replace(state.routes["shop"], revision=3)
    assert step.state.routes["cart"] == state.routes["cart"]


def test_copies_to_a_version_that_is_gone_end_wherever_they_are_remembered() -> None:
    state = changes.shadow(begun(SHOP), SHOP, (*NAMES, "next"), {"to": "next", "percent": 5}).state
    state = changes.split(state, SHOP, {"new": 1}, 0.0, 60.0).state
    step = merged([SHOP], VERSIONS, state, known(SHOP))
    held = step.state.routes["shop"]
    assert [move.verb for move in step.moves] == ["shadow"]
    assert held.pending is not None
    assert held.before is not None
    assert [course.shadow for course in (held.course, held.before, held.pending.back_to)] == [None] * 3
    assert dict(held.course.split) == {"old": 0, "new": 1}


def test_what_nobody_confirmed_while_turnout_was_away_is_reverted_at_start() -> None:
    state = moved(moved(begun(SHOP, CART), SHOP, 50, 10.0), CART, 50, 20.0)
    assert initial([SHOP, CART], VERSIONS, state, 9.9).state is state
    step = initial([SHOP, CART], VERSIONS, state, 10.0)
    assert [(move.verb, move.route) for move in step.moves] == [("revert", "shop")]
    assert step.state.revision == state.revision + 1
    assert step.state.routes["shop"].course == Course(SHOP.split)
    assert step.state.routes["shop"].revision == step.state.revision
    assert step.state.routes["cart"] == state.routes["cart"]
    later = initial([SHOP, CART], VERSIONS, state, 30.0)
    assert later.state.revision == state.revision + 1
    assert {move.route for move in later.moves} == {"shop", "cart"}


def test_how_copies_are_made_is_the_file_s_also_where_operators_steer() -> None:
    written = replace(SHOP, shadow=Shadow("new", 10.0), copying=Copying(host="a"))
    state = changes.shadow(begun(written), written, NAMES, {"percent": 50}).state
    now = replace(written, copying=Copying(host="b"))
    step = merged([now], VERSIONS, state, known(written))
    route, = steered([now], step.state)
    assert (route.shadow, route.copying) == (Shadow("new", 50.0), Copying(host="b"))


def test_the_shadow_of_the_file_follows_the_same_rule() -> None:
    with_copies = replace(SHOP, shadow=Shadow("new", 10.0))
    state = changes.shadow(begun(with_copies), with_copies, NAMES, {"percent": 50}).state
    assert not merged([with_copies], VERSIONS, state, known(with_copies)).moves
    step = merged([SHOP], VERSIONS, state, known(with_copies))
    assert [move.verb for move in step.moves] == ["file-wins"]
    assert step.state.routes["shop"].course.shadow is None


def test_steered_routes_have_the_course_and_generation_that_hold_and_others_are_untouched() -> None:
    state = changes.rollback(begun(SHOP, CART), [SHOP]).state
    shop, cart = steered([SHOP, CART], state)
    assert (dict(shop.split), shop.generation) == ({"old": 100, "new": 0}, 1)
    assert cart is CART


def test_a_file_that_changes_its_copies_alone_sends_nobody_back_to_a_version_that_was_left() -> None:
    state = changes.rollback(begun(SHOP), [SHOP]).state
    step = merged([replace(SHOP, shadow=Shadow("new", 10.0))], VERSIONS, state, known(SHOP))
    held = step.state.routes["shop"]
    assert dict(held.course.split) == {"old": 100, "new": 0}
    assert held.course.shadow == Shadow("new", 10.0)
    assert [(move.verb, move.after) for move in step.moves] == [("reload", held.course)]
    assert changes.undo(step.state, SHOP).state.routes["shop"].course == state.routes["shop"].course


def test_copies_that_the_file_changes_leave_a_pending_split_pending() -> None:
    state = moved(begun(SHOP), SHOP, 50, 10.0)
    with_copies = replace(SHOP, shadow=Shadow("new", 10.0))
    step = merged([with_copies], VERSIONS, state, known(SHOP))
    pending = step.state.routes["shop"].pending
    assert pending is not None
    assert (pending.until, pending.back_to) == (10.0, Course(SHOP.split, Shadow("new", 10.0)))
    assert changes.revert(step.state, with_copies).state.routes["shop"].course == Course(SHOP.split, with_copies.shadow)
