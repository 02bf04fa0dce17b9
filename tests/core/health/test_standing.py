"""Who takes traffic, and who gets whose share."""

from __future__ import annotations

from math import fsum, isclose
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.health.effective import destination, effective_shares
from proxy.core.health.standing import Standing, VersionState, is_panic, taking, version_state
from proxy.core.route import Match, Route
from proxy.core.split import shares

WELL, ILL = Standing(), Standing(well=False)
DRAINED = Standing(drained=True)
NAMES = ("old", "new", "next")

standings = st.lists(st.builds(Standing, st.booleans(), st.booleans()), min_size=1, max_size=8)
parts = st.floats(0, 1)
states = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(get_args(VersionState)))
whens = st.sampled_from(["baseline", "fail", "hold"])
weights = st.lists(st.floats(0, 1e6), min_size=3, max_size=3).filter(any)
routes = st.builds(
    lambda weights, when, base: Route("shop", Match(), tuple(zip(NAMES, weights, strict=True)), base, when_down=when),
    weights, whens, st.sampled_from(NAMES))


def shop(when_down: str, **split: float) -> Route:
    return Route("shop", Match(), tuple(split.items()), "old", when_down=when_down)  # type: ignore[arg-type]


@given(standings, parts)
def test_a_drained_server_never_takes_traffic(servers: list[Standing], panic: float) -> None:
    assert not any(takes for server, takes in zip(servers, taking(servers, panic), strict=True) if server.drained)


@given(standings, parts)
def test_a_server_that_is_well_always_takes_traffic_unless_drained(servers: list[Standing], panic: float) -> None:
    taken = taking(servers, panic)
    assert all(takes for server, takes in zip(servers, taken, strict=True) if server.well and not server.drained)


@given(standings, parts, st.booleans())
def test_some_server_takes_traffic_exactly_when_the_version_is_up(
        servers: list[Standing], panic: float, tripped: bool) -> None:
    assert any(taking(servers, panic, tripped=tripped)) == (version_state(servers, tripped=tripped) == "up")


@given(standings, parts)
def test_outside_of_panic_only_the_well_take_traffic(servers: list[Standing], panic: float) -> None:
    if not is_panic(servers, panic):
        assert taking(servers, panic) == tuple(server == WELL for server in servers)


@pytest.mark.parametrize(("servers", "panic", "panics"), [
    ([WELL, ILL, ILL, ILL], 0.3, True),
    ([WELL, ILL, ILL], 0.3, False),
    ([WELL, ILL, DRAINED, DRAINED], 0.3, False),
    ([ILL, ILL, ILL, ILL], 0.3, False),
    ([WELL, ILL, ILL, ILL], 0.0, False),
    ([WELL], 1.0, False),
])
def test_panic_is_when_fewer_than_its_part_of_those_in_service_are_well_but_one_is(
        servers: list[Standing], panic: float, panics: bool) -> None:
    assert is_panic(servers, panic) == panics


@pytest.mark.parametrize(("servers", "tripped", "state"), [
    ([WELL, ILL], False, "up"), ([WELL], True, "down"), ([ILL, ILL], False, "down"), ([ILL, DRAINED], False, "down"),
    ([DRAINED, DRAINED], False, "drained"), ([DRAINED], True, "drained"),
])
def test_the_state_of_a_version(servers: list[Standing], tripped: bool, state: VersionState) -> None:
    assert version_state(servers, tripped=tripped) == state


def test_a_candidate_that_is_down_leaves_its_share_to_the_baseline() -> None:
    assert effective_shares(shop("baseline", old=75, new=25), {"new": "down"}) == {"old": 1.0, "new": 0.0}


@pytest.mark.parametrize("when_down", ["fail", "hold"])
@pytest.mark.parametrize("state", ["down", "drained"])
def test_with_fail_and_hold_it_leaves_its_share_to_nobody(when_down: str, state: VersionState) -> None:
    assert effective_shares(shop(when_down, old=75, new=25), {"new": state}) == {"old": 0.75, "new": 0.0}


def test_with_nowhere_to_go_a_version_that_is_down_is_tried_all_the_same() -> None:
    both: dict[str, VersionState] = {"old": "down", "new": "down"}
    assert effective_shares(shop("baseline", old=75, new=25), both) == {"old": 0.75, "new": 0.25}


def test_what_is_drained_on_every_side_is_sent_to_nobody() -> None:
    both: dict[str, VersionState] = {"old": "drained", "new": "drained"}
    assert effective_shares(shop("baseline", old=75, new=25), both) == {"old": 0.0, "new": 0.0}


@given(routes, states)
def test_shares_add_up_to_one_unless_some_version_fails_by_rule(
        route: Route, states: dict[str, VersionState]) -> None:
    sent = fsum(effective_shares(route, states).values())
    rules = route.when_down != "baseline" or any(state == "drained" for state in states.values())
    assert isclose(sent, 1.0) or (rules and sent < 1.0)


@given(routes, states)
def test_a_baseline_gets_what_the_split_gives_it_and_more_unless_it_is_drained(
        route: Route, states: dict[str, VersionState]) -> None:
    own = dict(zip(NAMES, shares([weight for _, weight in route.split]), strict=True))[route.baseline]
    assert effective_shares(route, states)[route.baseline] >= own or states.get(route.baseline) == "drained"


@given(routes, states)
def test_nothing_is_sent_to_a_version_that_is_drained(route: Route, states: dict[str, VersionState]) -> None:
    assert not any(share for name, share in effective_shares(route, states).items() if states.get(name) == "drained")


@given(routes, states, st.sampled_from(NAMES))
def test_only_the_baseline_ever_takes_what_is_not_its_own(
        route: Route, states: dict[str, VersionState], version: str) -> None:
    assert destination(route, version, states) in (version, route.baseline, None)
