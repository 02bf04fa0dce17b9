from __future__ import annotations

from dataclasses import replace
from math import fsum, inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import changes
from proxy.core.changes import ChangeError, Step
from proxy.core.course import course_as_json, same_course
from proxy.core.route import Match, Route, Shadow, Sticky
from proxy.core.state import Course, Pending, RouteState, State

VERSIONS = ("old", "new", "next")
SHOP = Route("shop", Match(), (("old", 95.0), ("new", 5.0), ("next", 0.0)), "old")
CART = replace(SHOP, name="cart")
SESSIONS = replace(SHOP, sticky=Sticky("cookie", mode="session"))

weights = st.floats(min_value=0, max_value=1e9) | st.just(0.0)
splits = st.tuples(weights, weights, weights).filter(any).map(lambda found: tuple(zip(VERSIONS, found, strict=True)))
shadows = st.none() | st.builds(
    Shadow, st.sampled_from(VERSIONS), st.integers(0, 10_000).map(lambda steps: steps / 100),
    st.lists(st.sampled_from(["GET", "HEAD", "POST"]), min_size=1, unique=True).map(tuple),
)
courses = st.builds(Course, splits, shadows)
pendings = st.none() | st.builds(Pending, st.floats(0, 2e9), courses)
held = st.builds(
    RouteState, courses, courses, st.integers(1, 9), st.integers(0, 9), st.none() | courses, pendings
)
states = st.builds(lambda shop, cart: State(9, {"shop": shop, "cart": cart}), held, held)
times = st.none() | st.floats(0.1, 365 * 86_400)


def fresh(route: Route = SHOP) -> State:
    course = Course(route.split, route.shadow)
    return State(1, {route.name: RouteState(course, course, 1)})


def split_of(step: Step, route: str = "shop") -> dict[str, float]:
    return dict(step.state.routes[route].course.split)


def faults(change: Any, *arguments: Any) -> list[str]:
    with pytest.raises(ChangeError) as refused:
        change(*arguments)
    assert refused.value.kind == "invalid-change"
    return [problem.where for problem in refused.value.problems]


def steps(state: State, wanted: Course, within_s: float | None) -> list[Step]:
    """What each verb makes of a state."""
    patch: dict[str, object] = {"to": None}
    if wanted.shadow is not None:
        patch = {"to": wanted.shadow.to, "percent": wanted.shadow.percent, "methods": wanted.shadow.methods}
    done = [
        changes.split(state, SHOP, dict(wanted.split), 7.0, within_s),
        changes.shadow(state, SHOP, VERSIONS, patch, 7.0, within_s),
        changes.rollback(state, [SHOP]), changes.rollback(state, [SHOP, CART], again=True),
        changes.revert(state, SHOP),
    ]
    done += [changes.undo(state, SHOP)] if state.routes["shop"].before else []
    done += [changes.confirm(state, SHOP)] if state.routes["shop"].pending else []
    return done


@given(states, courses, times)
def test_a_step_changes_nothing_at_all_or_makes_one_new_revision(
    state: State, wanted: Course, within_s: float | None
) -> None:
    for step in steps(state, wanted, within_s):
        if not step.moves:
            assert step.state is state
            continue
        assert step.state.revision == state.revision + 1
        moved = {move.route for move in step.moves}
        for name, route in step.state.routes.items():
            assert (route.revision == step.state.revision) is (name in moved)
            assert (route is not state.routes[name]) is (name in moved)
        for move in step.moves:
            assert (move.before, move.after) == (
                state.routes[move.route].course, step.state.routes[move.route].course)


@given(states, courses, times)
def test_no_step_ever_leaves_a_route_without_weight_or_with_other_versions(
    state: State, wanted: Course, within_s: float | None
) -> None:
    for step in steps(state, wanted, within_s):
        for route in step.state.routes.values():
            assert tuple(name for name, _ in route.course.split) == VERSIONS
            assert all(weight >= 0 for _, weight in route.course.split)
            assert 0 < fsum(weight for _, weight in route.course.split) < inf


@given(states, courses, times)
def test_generations_never_go_back_and_what_the_file_wrote_stays(
    state: State, wanted: Course, within_s: float | None
) -> None:
    for step in steps(state, wanted, within_s):
        for name, route in step.state.routes.items():
            assert route.generation >= state.routes[name].generation
            assert route.written == state.routes[name].written


@given(states)
def test_rollback_sends_everything_home_ends_sessions_and_once_more_changes_nothing(state: State) -> None:
    step = changes.rollback(state, [SHOP, CART])
    for name, route in step.state.routes.items():
        assert all((weight > 0) is (version == "old") for version, weight in route.course.split)
        assert route.pending is None
        assert route.course.shadow == state.routes[name].course.shadow
        if route.course != state.routes[name].course:
            assert route.generation == state.routes[name].generation + 1
    assert changes.rollback(step.state, [SHOP, CART]).state is step.state


def test_rollback_keeps_the_sum_of_the_weights() -> None:
    assert split_of(changes.rollback(fresh(), [SHOP])) == {"old": 100, "new": 0, "next": 0}


def test_a_route_that_keeps_sessions_is_never_known_to_be_home() -> None:
    state = changes.split(fresh(), SESSIONS, {"old": 1}).state
    once = changes.rollback(state, [SESSIONS]).state
    assert once.routes["shop"].generation == state.routes["shop"].generation + 1
    assert once.routes["shop"].before == state.routes["shop"].before      # undo still knows where traffic was
    assert changes.rollback(once, [SESSIONS]).state.routes["shop"].generation == once.routes["shop"].generation + 1


@given(states, courses, times)
def test_undo_returns_to_the_course_before_and_undo_of_undo_is_redo(
    state: State, wanted: Course, within_s: float | None
) -> None:
    was = state.routes["shop"].course
    for step in steps(state, wanted, within_s):
        now = step.state.routes["shop"].course
        if now == was:
            continue
        undone = changes.undo(step.state, SHOP).state
        assert undone.routes["shop"].course == was
        assert undone.routes["shop"].pending is None
        assert changes.undo(undone, SHOP).state.routes["shop"].course == now


def test_there_is_nothing_to_undo_or_to_confirm_at_first() -> None:
    with pytest.raises(ChangeError, match="can be undone") as refused:
        changes.undo(fresh(), SHOP)
    assert refused.value.kind == "nothing-to-undo"
    with pytest.raises(ChangeError, match="waits to be confirmed") as refused:
        changes.confirm(fresh(), SHOP)
    assert refused.value.kind == "nothing-pending"


def test_the_same_weights_again_are_no_change_and_undo_still_goes_back_to_the_others() -> None:
    moved = changes.split(fresh(), SHOP, {"old": 1, "new": 1}).state
    again = changes.split(moved, SHOP, {"new": 1.0, "old": 1.0})
    assert again.state is moved
    assert split_of(changes.undo(again.state, SHOP)) == dict(SHOP.split)


def test_versions_that_are_not_named_get_no_weight() -> None:
    assert split_of(changes.split(fresh(), SHOP, {"new": 3})) == {"old": 0, "new": 3, "next": 0}


@pytest.mark.parametrize(
    ("weights", "where"),
    [
        ({"nwe": 1, "old": 1}, ["/split/nwe"]),
        ({"old": -1, "new": nan, "next": inf}, ["/split/old", "/split/new", "/split/next"]),
        ({"old": True}, ["/split/old"]),
        ({"old": "1"}, ["/split/old"]),
        ({"old": 10**400}, ["/split/old"]),
        ({"old": 0}, ["/split"]),
        ({}, ["/split"]),
        ({"old": 1.7e308, "new": 1.7e308}, ["/split"]),
        ({"a/b~c": 1}, ["/split/a~1b~0c"]),
    ],
)
def test_weights_that_make_no_sense_are_all_refused_at_once(weights: dict[str, object], where: list[str]) -> None:
    assert faults(changes.split, fresh(), SHOP, weights) == where


def test_a_misspelled_version_is_told_the_nearest_one() -> None:
    with pytest.raises(ChangeError, match="did you mean `new`"):
        changes.split(fresh(), SHOP, {"nwe": 1})


@pytest.mark.parametrize("within_s", [0.0, 0.09, -1.0, 365 * 86_400 + 1, inf, nan])
def test_a_time_to_confirm_in_has_bounds_and_is_refused_with_everything_else(within_s: float) -> None:
    assert faults(changes.split, fresh(), SHOP, {"nwe": 1}, 0.0, within_s) == ["/split/nwe", "/confirm_within"]


def test_a_pending_change_goes_back_to_where_it_began_whatever_was_changed_meanwhile() -> None:
    first = changes.split(fresh(), SHOP, {"new": 1}, 100.0, 10.0).state
    second = changes.split(first, SHOP, {"next": 1}, 105.0, 10.0).state
    third = changes.shadow(second, SHOP, VERSIONS, {"to": "new", "percent": 5}, 106.0, 20.0).state
    assert third.routes["shop"].pending == Pending(126.0, Course(SHOP.split))
    assert (changes.due(third, 125.9), changes.due(third, 126.0)) == ((), ("shop",))
    back = changes.revert(third, SHOP)
    assert back.state.routes["shop"].course == Course(SHOP.split)
    assert back.moves[0].verb == "revert"
    assert changes.undo(back.state, SHOP).state.routes["shop"].course == third.routes["shop"].course


def test_the_same_weights_with_a_new_time_extend_it() -> None:
    first = changes.split(fresh(), SHOP, {"new": 1}, 100.0, 10.0).state
    longer = changes.split(first, SHOP, {"new": 1}, 105.0, 60.0).state
    assert longer.routes["shop"].pending == Pending(165.0, Course(SHOP.split))
    assert longer.routes["shop"].before == Course(SHOP.split)


@given(states, courses)
def test_a_change_without_a_time_confirms(state: State, wanted: Course) -> None:
    assert changes.split(state, SHOP, dict(wanted.split)).state.routes["shop"].pending is None


@given(states)
def test_confirming_moves_nothing_and_leaves_nothing_to_revert(state: State) -> None:
    if state.routes["shop"].pending is None:
        return
    confirmed = changes.confirm(state, SHOP).state
    assert confirmed.routes["shop"].course == state.routes["shop"].course
    assert confirmed.routes["shop"].before == state.routes["shop"].before
    assert changes.revert(confirmed, SHOP).state is confirmed


def test_sessions_end_when_what_is_undone_had_taken_them_to_a_version() -> None:
    all_old = changes.split(fresh(), SHOP, {"old": 1}).state
    moved = changes.split(all_old, SHOP, {"old": 1, "new": 1}, 0.0, 10.0).state
    assert moved.routes["shop"].generation == 0
    assert changes.undo(moved, SHOP).state.routes["shop"].generation == 1
    assert changes.revert(moved, SHOP).state.routes["shop"].generation == 1
    more = changes.split(moved, SHOP, {"old": 1, "new": 3}).state
    assert changes.undo(more, SHOP).state.routes["shop"].generation == 0     # `new` keeps a share, so it keeps its own


SHADOWED = replace(SHOP, shadow=Shadow("new", 10.0, ("GET",)))


def shadow_after(state: State, patch: dict[str, object], route: Route = SHADOWED) -> Shadow | None:
    return changes.shadow(state, route, VERSIONS, patch).state.routes["shop"].course.shadow


def test_shadow_settings_start_from_those_of_the_file_and_change_one_by_one() -> None:
    assert shadow_after(fresh(SHADOWED), {"percent": 25}) == Shadow("new", 25.0, ("GET",))
    off = changes.shadow(fresh(SHADOWED), SHADOWED, VERSIONS, {"to": None}).state
    assert off.routes["shop"].course.shadow is None
    assert shadow_after(off, {"methods": ["POST"]}) == Shadow("new", 10.0, ("POST",))
    assert shadow_after(fresh(), {"to": "next", "percent": 1}, SHOP) == Shadow("next", 1.0)


@pytest.mark.parametrize("percent", [0, 0.01, 0.29, 12.34, 33.33, 99.99, 100])
def test_a_percentage_has_steps_of_a_hundredth(percent: float) -> None:
    assert shadow_after(fresh(SHADOWED), {"percent": percent}) == Shadow("new", percent, ("GET",))


def test_a_finer_percentage_of_an_older_release_is_rounded_when_something_else_changes() -> None:
    finer = replace(SHOP, shadow=Shadow("new", 33.3333))
    assert shadow_after(fresh(finer), {"methods": ["GET"]}, finer) == Shadow("new", 33.33, ("GET",))


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({}, ["/to", "/percent"]),
        ({"percent": 101, "methods": []}, ["/to", "/percent", "/methods"]),
        ({"to": "nwe", "percent": True}, ["/to", "/percent"]),
        ({"to": 3, "percent": nan}, ["/to", "/percent"]),
        ({"to": "new", "percent": 0.005}, ["/percent"]),
        ({"to": None, "percent": 5}, ["/percent"]),
        ({"to": "new", "percent": 5, "methods": ["GET", "GET", "CONNECT", "a b", 3]},
         ["/methods/1", "/methods/2", "/methods/3", "/methods/4"]),
        ({"to": "new", "percent": 5, "methods": "GET"}, ["/methods"]),
        ({"too": "new"}, ["/too", "/to", "/percent"]),
    ],
)
def test_shadow_settings_that_make_no_sense_are_all_refused_at_once(patch: dict[str, object], where: list[str]) -> None:
    assert faults(changes.shadow, fresh(), SHOP, VERSIONS, patch) == where


@given(courses, courses)
def test_the_versions_that_gain_are_those_that_the_way_leads_to(before: Course, after: Course) -> None:
    gaining = changes.gaining(before, after)
    assert not changes.gaining(before, before)
    assert all(dict(after.split)[version] > 0 for version in gaining)
    if gaining:
        assert before.split != after.split


def test_a_course_as_json_has_numbers_as_a_person_writes_them() -> None:
    course = Course((("old", 95.0), ("new", 2.5)), Shadow("new", 10.0, ("GET",)))
    assert str(course_as_json(course)) == str({
        "split": {"old": 95, "new": 2.5},
        "shadow": {"to": "new", "percent": 10, "methods": ["GET"]},
    })


def test_the_order_of_versions_makes_no_other_course() -> None:
    assert same_course(Course((("a", 1.0), ("b", 2.0))), Course((("b", 2.0), ("a", 1.0))))
    assert not same_course(Course((("a", 1.0), ("b", 2.0))), Course((("a", 2.0), ("b", 1.0))))
