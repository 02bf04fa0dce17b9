from __future__ import annotations

import pytest

from benchmarks.rounds import Spread, percentile, ratios, spread


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (1, 50, 99, 99.9, 100)] == [1, 50, 99, 100, 100]


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 50) == 7.0


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


def test_ratios_are_taken_within_a_round_and_only_there() -> None:
    assert ratios({0: 10.0, 1: 30.0, 2: 5.0}, {0: 5.0, 1: 10.0, 3: 1.0}) == [2.0, 3.0]


def test_a_round_whose_divisor_is_not_positive_says_nothing() -> None:
    assert ratios({0: 10.0, 1: 10.0}, {0: 0.0, 1: -2.0}) == []


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert spread([]) is None
