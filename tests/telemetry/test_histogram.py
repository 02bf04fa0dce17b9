from __future__ import annotations

import itertools
import random
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.histogram import BOUNDS, Histogram


def test_the_bounds_reach_from_50_microseconds_to_two_minutes_in_steps_of_nine_percent() -> None:
    assert BOUNDS[0] == 50e-6
    assert 110 < BOUNDS[-1] < 130
    assert all(1.09 < after / before < 1.0906 for before, after in itertools.pairwise(BOUNDS))


@given(st.lists(st.floats(0, 500), max_size=50), st.lists(st.floats(0, 500), max_size=50))
def test_two_histograms_merged_are_the_histogram_of_both(left: list[float], right: list[float]) -> None:
    both, first, second = Histogram(), Histogram(), Histogram()
    for seconds in left + right:
        both.add(seconds)
    for seconds in left:
        first.add(seconds)
    for seconds in right:
        second.add(seconds)
    first.merge(second.buckets, second.sum)
    assert first.buckets == both.buckets
    assert abs(first.sum - both.sum) < 1e-6
    assert both.count == len(left) + len(right)


def test_a_quantile_is_never_below_the_truth_and_at_most_a_bucket_above() -> None:
    rng = random.Random(7)
    values = sorted(rng.lognormvariate(-5, 1.5) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for q in (0.01, 0.5, 0.9, 0.99, 0.999):
        truth = values[int(q * len(values)) - 1]
        measured = histogram.quantile(q)
        assert measured is not None
        assert truth <= measured <= max(truth * 1.1, BOUNDS[0])


def test_what_is_longer_than_the_last_bound_counts_as_infinite() -> None:
    histogram = Histogram()
    histogram.add(1000.0)
    assert histogram.buckets == {len(BOUNDS): 1}
    assert histogram.quantile(0.5) == float("inf")


def test_nothing_observed_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None


@given(st.floats(0, 500))
def test_a_duration_lies_within_the_bounds_of_its_bucket(seconds: float) -> None:
    index = bisect_left(BOUNDS, seconds)
    assert index == 0 or BOUNDS[index - 1] < seconds
    assert index == len(BOUNDS) or seconds <= BOUNDS[index]
