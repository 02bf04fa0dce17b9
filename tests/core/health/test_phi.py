"""φ against the distribution it is made from, and against numbers that no server would make."""

from __future__ import annotations

from math import erfc, isfinite, log10, sqrt
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.health.phi import MOST, SAMPLES, Arrivals, phi

OFF = 0.00015
"""The logistic approximation is off by 0.00014 at most, as its authors say."""

intervals = st.floats(min_value=0.001, max_value=3600.0)


def tail(y: float) -> float:
    """1 - F of the standard normal distribution, exactly."""
    return erfc(y / sqrt(2)) / 2


@given(st.floats(-8, 8), intervals, intervals)
def test_phi_is_minus_the_logarithm_of_the_normal_tail(y: float, mean_s: float, sd_s: float) -> None:
    assert 10 ** -phi(mean_s + y * sd_s, mean_s, sd_s) == pytest.approx(tail(y), abs=OFF)


def test_phi_is_log10_of_two_when_the_silence_is_as_long_as_usual() -> None:
    assert phi(1.0, 1.0, 0.1) == pytest.approx(log10(2))


@pytest.mark.parametrize(("silence_s", "at_least", "below"), [(1.128, 0.9, 1.1), (1.309, 2.8, 3.3)])
def test_phi_is_1_and_3_where_one_suspicion_in_ten_and_in_a_thousand_is_wrong(
        silence_s: float, at_least: float, below: float) -> None:
    assert at_least < phi(silence_s, 1.0, 0.1) < below


@given(st.floats(0, 1e6), st.floats(0, 1e6), intervals, st.floats(0.001, 3600))
def test_phi_never_falls_while_the_silence_lasts(a: float, b: float, mean_s: float, sd_s: float) -> None:
    assert phi(min(a, b), mean_s, sd_s) <= phi(max(a, b), mean_s, sd_s)


@given(st.floats(allow_nan=False), st.floats(0, 1e300), st.floats(1e-300, 1e300))
def test_phi_is_a_number_from_0_to_its_most_for_any_time(silence_s: float, mean_s: float, sd_s: float) -> None:
    value = phi(silence_s, mean_s, sd_s)
    assert isfinite(value)
    assert 0 <= value <= MOST


def test_phi_keeps_its_value_where_the_tail_is_almost_nothing() -> None:
    assert phi(11.0, 1.0, 1.0) == pytest.approx(10 * (1.5976 + 7.0566) / 2.302585, rel=1e-6)


@given(st.lists(intervals, min_size=1, max_size=3 * SAMPLES))
def test_the_mean_and_the_spread_are_those_of_the_last_samples(samples: list[float]) -> None:
    arrivals = Arrivals(1.0)
    for sample in samples:
        arrivals.add(sample)
    last = [0.75, 1.25, *samples][-SAMPLES:]
    assert len(arrivals) == len(last)
    assert arrivals.mean_s == pytest.approx(fmean(last), abs=1e-8)
    assert arrivals.sd_s == pytest.approx(pstdev(last), abs=1e-6, rel=1e-6)


def test_the_running_sums_do_not_drift_however_long_they_run() -> None:
    arrivals = Arrivals(1.0)
    for _ in range(100):
        arrivals.add(86_400.0)
        arrivals.add(1e-9)
    for turn in range(50 * SAMPLES):
        arrivals.add(0.1 if turn % 2 else 0.3)
    assert arrivals.mean_s == pytest.approx(0.2, abs=1e-12)
    assert arrivals.sd_s == pytest.approx(0.1, abs=1e-9)


def test_before_anything_is_known_answers_are_expected_once_in_each_interval() -> None:
    arrivals = Arrivals(2.0)
    assert arrivals.mean_s == pytest.approx(2.0)
    assert arrivals.sd_s == pytest.approx(0.5)
