"""Requests of one client at a rate: what a token bucket allows, whatever is forgotten meanwhile."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.overload.clients import Rates

BEGUN = 1_000.0
# Times and rates are such that floating point is exact, so the model may be compared without tolerance.
_gaps = st.integers(0, 640).map(lambda ticks: ticks / 64)
_rates = st.sampled_from([0.25, 1.0, 2.0, 8.0])
_visits = st.lists(st.tuples(_gaps, st.sampled_from(["a", "b", b"c"]), st.booleans()), max_size=80)


@given(_rates, st.integers(1, 5), _visits)
def test_each_client_gets_what_its_token_bucket_allows_whatever_is_tidied_between(
    rate: float, burst: int, visits: list[tuple[float, str | bytes, bool]],
) -> None:
    rates, now = Rates(rate, burst), BEGUN
    buckets: dict[str | bytes, tuple[float, float]] = {}
    for gap, key, tidied in visits:
        now += gap
        tokens, at = buckets.get(key, (float(burst), now))
        tokens = min(burst, tokens + (now - at) * rate)
        assert (rates.take(key, now) == 0.0) is (tokens >= 1)
        buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
        if tidied:
            rates.tidy(now, 2)


@given(st.floats(0.01, 1e4), st.integers(1, 1000), st.floats(0, 1e7))
def test_who_waits_as_long_as_told_is_served_and_nobody_before(rate: float, burst: int, now: float) -> None:
    rates = Rates(rate, burst)
    assert [rates.take("a", now) for _ in range(burst)] == [0.0] * burst
    wait_s = rates.take("a", now)
    assert 0 < wait_s <= 1 / rate
    assert rates.take("a", now + wait_s / 2) > 0
    assert rates.take("a", now + wait_s + 1e-6) == 0.0


@given(st.floats(0.01, 500), st.integers(1, 30), st.lists(st.floats(0, 0.5), max_size=200))
def test_no_stretch_of_time_sees_more_than_the_burst_and_what_the_rate_adds(
    rate: float, burst: int, gaps: list[float],
) -> None:
    rates, now = Rates(rate, burst), BEGUN
    granted = []
    for gap in gaps:
        now += gap
        if not rates.take("a", now):
            granted.append(now)
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            assert last - first + 1 <= burst + (granted[last] - granted[first]) * rate + 1e-3


@given(st.floats(0.01, 1e6))
def test_without_a_burst_one_second_of_the_rate_may_come_at_once(rate: float) -> None:
    most = min(max(1, math.ceil(rate)), 1000)
    rates = Rates(rate)
    assert [rates.take("a", BEGUN) for _ in range(most)] == [0.0] * most
    if most < 1000:
        assert rates.take("a", BEGUN) > 0


def test_clients_do_not_pay_for_each_other() -> None:
    rates = Rates(1, 1)
    assert rates.take("a", BEGUN) == 0.0
    assert rates.take("a", BEGUN) > 0
    assert rates.take("b", BEGUN) == 0.0


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 0.2)), max_size=300), st.integers(1, 20))
def test_the_table_is_bounded_however_many_clients_come(visits: list[tuple[int, float]], most: int) -> None:
    rates, now = Rates(1, 3, most), BEGUN
    for client, gap in visits:
        now += gap
        rates.take(str(client), now)
        assert len(rates) <= most


def test_those_whose_bucket_is_full_are_forgotten_first() -> None:
    rates = Rates(1, 1, 3)
    for number in range(3):
        rates.take(f"early {number}", BEGUN)
    later = BEGUN + 5
    assert rates.take("new", later) == 0.0
    assert len(rates) == 1
    assert rates.take("new", later) > 0, "what it has used is remembered"


def test_where_nobodys_bucket_is_full_who_was_longest_away_is_forgotten() -> None:
    rates = Rates(0.01, 1, 2)
    rates.take("a", BEGUN)
    rates.take("b", BEGUN)
    assert rates.take("a", BEGUN + 1) > 0
    rates.take("c", BEGUN + 2)
    assert rates.take("a", BEGUN + 3) > 0
    assert rates.take("c", BEGUN + 3) > 0
    assert rates.take("b", BEGUN + 3) == 0.0


def test_tidying_forgets_at_most_as_many_as_it_is_told() -> None:
    rates = Rates(1, 1)
    for number in range(10):
        rates.take(str(number), BEGUN)
    rates.tidy(BEGUN + 5, 4)
    assert len(rates) == 6
    rates.tidy(BEGUN + 5, 100)
    assert len(rates) == 0
    rates.tidy(BEGUN + 5, 100)
