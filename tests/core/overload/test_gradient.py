from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.overload.gradient import DEEP, LOOK_AGAIN_S, Gradient
from tests.support.exploring import examples
from tests.support.simulated_server import SimulatedServer, steady, steps


def workers(number: int) -> list[Gradient]:
    return [Gradient(max(1, 8 // number), 1_000 // number) for _ in range(number)]


def beginning_at(limit: int) -> Gradient:
    """One that is at this limit, and may go down to 8."""
    gradient = Gradient(limit, 1_000)
    gradient.smallest = 8
    return gradient


@pytest.mark.parametrize(
    ("number", "places", "service_s"), [(1, 20, 0.02), (2, 20, 0.02), (4, 20, 0.02), (2, 100, 0.1), (2, 20, 0.5)]
)
def test_at_three_times_the_load_nearly_all_of_the_capacity_is_used_and_latency_stays_low(
        number: int, places: int, service_s: float) -> None:
    capacity = places / service_s
    server = SimulatedServer(workers(number), steady(3 * capacity), steady(places), steady(service_s))
    server.run(90.0)
    assert server.goodput(20.0, 90.0) >= 0.9 * capacity
    assert server.mean_s(20.0, 90.0) <= 3 * service_s


@pytest.mark.parametrize("number", [1, 2])
def test_half_an_hour_of_overload_does_not_become_normal(number: int) -> None:
    server = SimulatedServer(workers(number), steady(150.0), steady(10), steady(0.2))
    server.run(1_800.0)
    for begin in range(100, 1_800, 100):
        assert server.mean_s(begin, begin + 100) <= 3 * 0.2
    assert server.goodput(100.0, 1_800.0) >= 0.9 * 50.0


def test_once_the_load_has_fallen_nobody_is_refused() -> None:
    server = SimulatedServer(workers(2), steps((0.0, 3_000.0), (30.0, 400.0)), steady(20), steady(0.02))
    server.run(60.0)
    assert server.share_refused(32.0, 60.0) < 0.005


def test_it_follows_a_capacity_that_halves_and_comes_to_double() -> None:
    server = SimulatedServer(workers(2), steady(3_000.0), steps((0, 20), (30, 10), (60, 40)), steady(0.02))
    server.run(90.0)
    for begin, end, capacity in ((20.0, 30.0, 1_000.0), (35.0, 60.0, 500.0), (65.0, 90.0, 2_000.0)):
        assert server.goodput(begin, end) >= 0.9 * capacity
        assert server.mean_s(begin, end) <= 3 * 0.02


def test_a_normal_load_is_not_refused_for_its_noise() -> None:
    server = SimulatedServer(workers(2), steady(700.0), steady(20), steady(0.02))
    server.run(120.0)
    assert server.share_refused(10.0, 120.0) < 0.01


def test_a_normal_load_that_comes_to_three_times_the_capacity_is_held_within_seconds() -> None:
    server = SimulatedServer(workers(2), steps((0, 500.0), (60, 3_000.0)), steady(20), steady(0.02))
    server.run(75.0)
    assert server.mean_s(62.0, 75.0) <= 3 * 0.02
    assert server.goodput(62.0, 75.0) >= 0.9 * 1_000


@pytest.mark.parametrize("rate", [100.0, 600.0])
def test_a_version_that_has_become_slower_for_good_is_not_refused_requests_for_long(rate: float) -> None:
    server = SimulatedServer(workers(2), steady(rate), steady(40), steps((0, 0.02), (61, 0.06)))
    server.run(160.0)
    assert server.share_refused(110.0, 160.0) < 0.02


def test_it_grows_while_latency_is_flat_and_the_limit_binds() -> None:
    limit = Gradient(8, 1_000)
    now, limits = 0.0, []
    while now < 14.0:
        now += 0.25
        limits.append(limit.look(now, 25 * limit.limit, 0.25 * limit.limit, limit.limit))
    assert limits == sorted(limits)
    assert limits[-1] == 1_000


def test_it_does_not_grow_while_the_limit_does_not_bind() -> None:
    limit = beginning_at(50)
    assert {limit.look(look / 4, 500, 5.0, 20) for look in range(400)} == {50}


def test_idleness_changes_nothing() -> None:
    limit = beginning_at(50)
    for look in range(40):
        limit.look(look / 4, 500, 5.0, 20)
    before = limit.limit
    assert {limit.look(10.0 + look * 60, 0, 0.0, 0) for look in range(600)} == {before}
    assert {limit.look(50_000.0 + look / 4, look % 2, 0.5, 1) for look in range(400)} == {before}


def test_a_version_that_answers_nothing_any_more_keeps_its_limit() -> None:
    limit = beginning_at(50)
    for look in range(40):
        limit.look(look / 4, 500, 5.0, 20)
    for look in range(40, 4_000):
        limit.look(look / 4, 0, 0.0, 50)
    assert limit.limit == 50


def test_so_few_that_the_operator_always_allows_them_are_never_too_many() -> None:
    limit = beginning_at(100)
    for look in range(100):
        limit.look(look / 4, 100, 1.0, 6)
    for look in range(100, 108):
        limit.look(look / 4, 10, 2.0, 8)
    assert limit.limit == 100


def test_workers_search_for_the_best_latency_at_the_same_moments() -> None:
    limits = [beginning_at(100), beginning_at(60)]
    lows: list[list[float]] = [[], []]
    for look in range(1, 800):
        now = 7_777.1 + look / 4
        for index, limit in enumerate(limits):
            before = limit.limit
            limit.look(now, 500, before * 0.25, before)     # all of it is used, and answers come no faster for it
            if limit.limit <= before // 2 + 1:
                lows[index].append(now // LOOK_AGAIN_S)
    assert lows[0]
    assert set(lows[0]) == set(lows[1])


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 0.25, 0.25, 5.0, 400.0]), st.integers(0, 1_000),
        st.floats(0, 10_000, allow_nan=False), st.integers(0, 2_000),
    ),
    max_size=120,
)


@examples(100)
@given(LOOKS, st.integers(1, 20), st.integers(0, 500), st.integers(1, 1_000))
def test_whatever_happens_the_limit_is_within_its_bounds(
        looks: list[tuple[float, int, float, int]], smallest: int, more: int, before: int) -> None:
    limit, now = Gradient(before, before), 1_000.0      # the operator changes both
    limit.smallest, limit.largest = smallest, smallest + more
    for passed_s, answered, answered_s, most in looks:
        now += passed_s
        assert smallest <= limit.look(now, answered, answered_s, most) <= smallest + more
        assert limit.limit == int(limit.limit)


def test_a_best_latency_that_was_found_too_high_is_put_right_by_the_next_deep_search() -> None:
    server = SimulatedServer(workers(1), steady(300.0), steady(20), steady(0.2))
    server.run(40.0)
    server.limits[0].best_s = 0.4
    server.run(40.0 + 2 * DEEP * LOOK_AGAIN_S)
    assert server.mean_s(40.0 + DEEP * LOOK_AGAIN_S, server.now) <= 3 * 0.2
