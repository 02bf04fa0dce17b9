from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import names as metric
from proxy.telemetry.buckets import cumulative
from proxy.telemetry.exposition import Exposition
from proxy.telemetry.fold import Fold
from proxy.telemetry.histogram import BOUNDS, Histogram
from tests.support.scrape import facts, samples

WIDTH = 2 ** (1 / 8)
durations = st.lists(st.floats(0, 400), max_size=60)
bounds = st.lists(st.floats(1e-6, 600), min_size=1, max_size=15, unique=True).map(sorted)


def histogram_of(seconds: list[float]) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram


@given(durations, bounds)
def test_counts_only_grow_from_bound_to_bound_and_end_with_all(seconds: list[float], configured: list[float]) -> None:
    counts = cumulative(histogram_of(seconds).buckets, configured)
    assert all(lower <= upper for lower, upper in pairwise(counts))
    assert counts[-1] == len(seconds)


@given(durations, bounds)
def test_a_bound_never_counts_what_is_above_it_and_misses_at_most_nine_percent_below(
    seconds: list[float], configured: list[float]
) -> None:
    counts = cumulative(histogram_of(seconds).buckets, configured)
    ordered = sorted(seconds)
    for bound, count in zip(configured, counts, strict=False):
        assert count <= bisect_right(ordered, bound)
        if BOUNDS[0] <= bound <= BOUNDS[-1]:  # outside of ours nothing is known but 0 or all
            assert count >= bisect_right(ordered, bound / WIDTH * (1 - 1e-9))


def test_a_bound_that_is_one_of_ours_is_exact() -> None:
    histogram = histogram_of([BOUNDS[40], BOUNDS[40] * 1.0001, BOUNDS[39]])
    assert cumulative(histogram.buckets, [BOUNDS[40]]) == [2, 3]


def test_what_took_longer_than_our_last_bound_is_in_no_bucket_but_the_last() -> None:
    assert cumulative(histogram_of([500.0]).buckets, [600.0]) == [0, 1]


@given(durations, bounds)
def test_sum_and_count_on_the_page_are_exact(seconds: list[float], configured: list[float]) -> None:
    fold = Fold()
    histogram = histogram_of(seconds)
    fold.add(1, [], [], [(metric.DURATION, ("shop", "new"), histogram.buckets, histogram.sum)])
    page = samples(Exposition(fold, configured).render(facts(), None)[0])
    labels = (("route", "shop"), ("version", "new"))
    name = "turnout_request_duration_seconds"
    assert page[f"{name}_count", labels] == len(seconds)
    assert page[f"{name}_bucket", (("le", "+Inf"), *labels)] == len(seconds)
    assert math.isclose(page[f"{name}_sum", labels], histogram.sum)


def test_other_buckets_after_a_reload_are_those_of_the_facts() -> None:
    exposition = Exposition(Fold(), (0.1,))
    les = [
        dict(labels)["le"]
        for name, labels in samples(exposition.render(replace(facts(), buckets=(0.2, 2.0)), None)[0])
        if name.endswith("_bucket") and ("version", "new") in labels
    ]
    assert les == ["0.2", "2.0", "+Inf"]
