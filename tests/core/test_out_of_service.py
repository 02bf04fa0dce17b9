"""What may be drained, what a drain means for each server, and that nobody loses the last place to go by accident."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import draining
from proxy.core.changes import ChangeError, Step
from proxy.core.draining import (
    consequences,
    drain,
    elsewhere,
    in_service,
    lost,
    named,
    needed,
    out_of_service,
    restore,
    without_servers,
)
from proxy.core.merge import initial, merged
from proxy.core.route import Match, Route, Server, Shadow, Version
from proxy.core.state import Course, State

A, B = "http://10.0.0.1:9001", "http://10.0.0.2:9001"
OLD = Version("old", (Server("10.0.0.1", 9001), Server("10.0.0.2", 9001)))
NEW = Version("new", (Server("10.0.0.1", 9001), Server("", 0, "/run/new.sock")))
ALL = (OLD, NEW)
SHOP = Route("shop", Match(), (("old", 95.0), ("new", 5.0)), "old")
CART = replace(SHOP, name="cart", split=(("old", 100.0), ("new", 0.0)))

pairs = [(version.name, address) for version in ALL for address in ["", *(one.address for one in version.servers)]]
asks = st.lists(st.tuples(st.sampled_from(pairs), st.booleans()), max_size=8)
splits = st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 2.0])).filter(any)
routes = st.lists(
    st.builds(lambda number, split, baseline, when_down: replace(
        SHOP, name=f"r{number}", split=(("old", split[0]), ("new", split[1])), baseline=baseline, when_down=when_down),
        st.integers(0, 3), splits, st.sampled_from(["old", "new"]), st.sampled_from(["baseline", "fail", "hold"])),
    unique_by=lambda route: route.name, min_size=1, max_size=3)


def begun(*routes: Route) -> State:
    return initial(routes, ALL, None, 0.0).state


def version(name: str) -> Version:
    return OLD if name == "old" else NEW


def servers(versions: Iterable[Version]) -> set[tuple[str, str]]:
    return {(version.name, server.address) for version in versions for server in version.servers}


def drained(*asked: tuple[str, str], of: State | None = None) -> State:
    """The state after these drains, forced."""
    state = of or begun(SHOP, CART)
    for name, server in asked:
        state = drain(state, ALL, [SHOP, CART], version(name), server or None, force=True).state
    return state


def refusal(state: State, name: str, server: str | None = None, *routes: Route) -> str:
    with pytest.raises(ChangeError) as refused:
        drain(state, ALL, routes or (SHOP, CART), version(name), server)
    assert refused.value.kind == "last-server"
    return str(refused.value)


@given(asks)
def test_a_server_is_out_when_the_last_word_about_it_was_drain(asked: list[tuple[tuple[str, str], bool]]) -> None:
    state = begun(SHOP)
    out: set[tuple[str, str]] = set()
    for (name, server), is_drain in asked:
        found = version(name)
        which = {server} if server else {one.address for one in found.servers}
        changed = {(name, address) for address in which}
        if is_drain:
            state, out = drain(state, ALL, [SHOP], found, server or None, force=True).state, out | changed
        else:
            state, out = restore(state, found, server or None).state, out - changed
        assert out_of_service(state.drained, ALL) == out
        assert servers(in_service(state.drained, ALL)) == servers(ALL) - out


@given(asks)
def test_a_step_changes_nothing_or_makes_one_revision_and_says_what_was_before_and_after(
    asked: list[tuple[tuple[str, str], bool]]
) -> None:
    state = begun(SHOP)
    for (name, server), is_drain in asked:
        step = drain(state, ALL, [SHOP], version(name), server or None, force=True) if is_drain else restore(
            state, version(name), server or None)
        if not step.services:
            assert step == Step(state)
            continue
        told, = step.services
        assert step.state.revision == state.revision + 1
        assert (told.verb, told.version, told.server) == ("drain" if is_drain else "restore", name, server or None)
        for of, drains in ((state, told.before), (step.state, told.after)):
            assert drains == tuple(sorted(address for one, address in of.drained if one == name))
        assert {one for one in state.drained ^ step.state.drained if one[0] != name} == set()
        assert step.state.routes is state.routes
        state = step.state


@given(asks)
def test_a_version_that_is_drained_as_a_whole_has_no_other_drain(asked: list[tuple[tuple[str, str], bool]]) -> None:
    state = begun(SHOP)
    for (name, server), is_drain in asked:
        state = drain(state, ALL, [SHOP], version(name), server or None, force=True).state if is_drain else restore(
            state, version(name), server or None).state
        for name_of, address in state.drained:
            assert address == "" or (name_of, "") not in state.drained


@given(routes, asks)
def test_without_force_no_drain_ever_leaves_requests_with_nowhere_to_go(
    routes: list[Route], asked: list[tuple[tuple[str, str], bool]]
) -> None:
    state = begun(*routes)
    for (name, server), is_drain in asked:
        if not is_drain:
            state = restore(state, version(name), server or None).state
            continue
        try:
            state = drain(state, ALL, routes, version(name), server or None).state
        except ChangeError:
            forced = drain(state, ALL, routes, version(name), server or None, force=True).state
            empty = without_servers(forced.drained, ALL)
            assert any(lost(route, route.split, empty) for route in routes)
    empty = without_servers(state.drained, ALL)
    assert not any(lost(route, route.split, empty) for route in routes)


def test_the_last_server_of_a_baseline_with_traffic_is_kept_and_the_refusal_says_what_to_type() -> None:
    state = drained(("old", A))
    text = refusal(state, "old", B)
    assert text.startswith(f"{B}, the last server of `old` in service, is still needed: requests of `shop`, `cart`")
    assert "`turnout weight shop old=0 new=100`; `turnout weight cart old=0 new=100`" in text
    assert text.endswith("or drain it all the same with `force`")


def test_a_whole_baseline_with_traffic_is_kept() -> None:
    assert refusal(begun(SHOP), "old", None, SHOP).startswith("`old` is still needed: requests of `shop` would")


def test_a_candidate_with_traffic_can_be_drained_since_the_baseline_takes_its_requests() -> None:
    step = drain(begun(SHOP, CART), ALL, [SHOP, CART], NEW)
    assert consequences(begun(SHOP, CART), step.state, ALL, [SHOP, CART]) == (
        "requests of `shop` for `new` go to the baseline until it is restored",)


@pytest.mark.parametrize("when_down", ["fail", "hold"])
def test_a_candidate_whose_requests_the_baseline_would_not_take_is_kept(when_down: Literal["fail", "hold"]) -> None:
    strict = replace(SHOP, when_down=when_down)
    assert "move them first (`turnout weight shop old=100 new=0`)" in refusal(begun(strict), "new", None, strict)
    home = replace(strict, split=(("old", 1.0), ("new", 0.0)))
    assert drain(begun(home), ALL, [home], NEW).state.drained == {("new", "")}


def test_a_baseline_without_weight_is_kept_while_a_drained_candidate_needs_it() -> None:
    away = replace(SHOP, split=(("old", 0.0), ("new", 1.0)))
    state = drain(begun(away), ALL, [away], NEW).state
    assert "`turnout restore new`" in refusal(state, "old", None, away)


def test_a_baseline_without_weight_can_be_drained_and_what_follows_is_told() -> None:
    away = replace(SHOP, split=(("old", 0.0), ("new", 1.0)))
    before = begun(away)
    step = drain(before, ALL, [away], OLD)
    assert consequences(before, step.state, ALL, [away]) == (
        "`shop` cannot be rolled back to `old` until it is restored",)


def test_the_only_version_is_kept_and_another_server_asked_for() -> None:
    only = replace(SHOP, split=(("old", 1.0),))
    assert "give `old` another server: it is the only version" in refusal(begun(only), "old", None, only)


def test_force_drains_and_tells_that_requests_are_refused() -> None:
    state = begun(SHOP)
    step = drain(state, ALL, [SHOP], OLD, force=True)
    assert consequences(state, step.state, ALL, [SHOP]) == (
        "requests of `shop` for `old` are refused until it is restored",)


def test_that_nothing_is_copied_any_more_is_told() -> None:
    copied = replace(CART, shadow=Shadow("new", 10.0))
    silent = replace(SHOP, split=CART.split, shadow=Shadow("new", 0.0))
    state = begun(copied, silent)
    step = drain(state, ALL, [copied, silent], NEW)
    assert consequences(state, step.state, ALL, [copied, silent]) == (
        "nothing of `cart` is copied to `new` until it is restored",)


def test_a_server_that_another_version_has_too_is_told_until_it_is_drained_there() -> None:
    state = drained(("old", A))
    assert elsewhere(state, ALL, OLD, A) == (f"{A} is in service for `new`, too: drain it there before you stop it",)
    assert elsewhere(state, ALL, OLD, None) == (
        "a server of `old` is in service for `new`, too: drain it there before you stop it",)
    assert elsewhere(drained(("old", A), ("new", A)), ALL, OLD, A) == ()
    assert elsewhere(state, ALL, OLD, B) == ()


def test_a_version_is_needed_where_nobody_else_would_answer() -> None:
    assert needed(begun(SHOP, CART), ALL, [SHOP, CART], "old") == ["shop", "cart"]
    assert needed(begun(SHOP, CART), ALL, [SHOP, CART], "new") == []
    assert needed(drained(("old", ""), of=begun(SHOP)), ALL, [SHOP], "new") == ["shop"]
    assert needed(drained(("old", ""), of=begun(SHOP)), ALL, [SHOP], "old") == []


def test_many_routes_do_not_fill_the_refusal() -> None:
    many = [replace(SHOP, name=f"r{number}") for number in range(100)]
    text = refusal(begun(*many), "old", None, *many)
    assert "`r4` and 95 more" in text
    assert len(text) < 500


def test_one_server_restored_of_a_whole_version_leaves_the_others_drained_each_by_itself() -> None:
    state = restore(drained(("new", "")), NEW, A).state
    assert state.drained == {("new", "unix:/run/new.sock")}


def test_a_server_that_the_file_adds_to_a_drained_version_is_drained_too() -> None:
    wider = replace(NEW, servers=(*NEW.servers, Server("10.0.0.9", 80)))
    assert ("new", "http://10.0.0.9:80") in out_of_service(drained(("new", "")).drained, [OLD, wider])
    assert ("new", "http://10.0.0.9:80") not in out_of_service(drained(("new", A)).drained, [OLD, wider])


def test_what_the_file_names_no_more_is_forgotten_and_each_is_told() -> None:
    state = drained(("old", A), ("old", B), ("new", ""))
    kept, services = named(state, [replace(OLD, servers=OLD.servers[:1])])
    assert kept == {("old", A)}
    assert [(told.verb, told.version, told.server, told.before, told.after, told.reason) for told in services] == [
        ("restore", "new", None, ("",), (), "the file has this version no more"),
        ("restore", "old", B, (A, B), (A,), "the file has this server no more")]


def test_a_reload_keeps_what_is_drained_and_a_restart_too() -> None:
    state = drained(("old", A), ("new", ""))
    step = merged([replace(SHOP, baseline="new"), CART], ALL, state, {"shop": SHOP, "cart": CART})
    assert step.state.drained == state.drained
    assert initial([SHOP, CART], ALL, state, 0.0) == Step(state)


def test_a_restart_without_a_drained_server_in_the_file_is_one_new_revision_that_says_so() -> None:
    state = drained(("old", A), ("old", B))
    smaller = (replace(OLD, servers=OLD.servers[:1]), NEW)
    step = initial([SHOP, CART], smaller, state, 0.0)
    assert step.state.revision == state.revision + 1
    assert step.state.drained == {("old", A)}
    assert step.state.routes == state.routes
    assert step.moves == ()
    assert [told.server for told in step.services] == [B]
    assert step.entries == step.services
    assert initial([SHOP, CART], smaller, step.state, 0.0) == Step(step.state)


def test_nothing_drained_costs_nothing() -> None:
    assert in_service(draining.out_of_service(frozenset(), ALL), ALL) == ALL


def test_a_course_does_not_matter_to_a_route_that_the_state_has_not_yet() -> None:
    state = begun(SHOP)
    assert drain(state, ALL, [CART], OLD).state.drained == {("old", "")}
    assert state.routes["shop"].course == Course(SHOP.split)
