"""Medians, percentiles and ratios of rounds. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures with the smallest and the largest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread | None:
    """None if there are no values."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values sorted upwards: the smallest that `percent` % do not exceed.

    Raises ValueError for no values. `percent` is in (0, 100].
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def ratios(above: Mapping[int, float], below: Mapping[int, float]) -> list[float]:
    """Per round that has both figures: the one ÷ the other. Rounds whose divisor is not positive are left out."""
    return [above[number] / below[number] for number in sorted(above) if below.get(number, 0.0) > 0.0]
