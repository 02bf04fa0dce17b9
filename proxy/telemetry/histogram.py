"""Durations in buckets of equal width on a logarithmic scale: eight per octave, from 50 µs to two minutes.

A bucket is 9 % wide, so a quantile read from it is within 9 % of the truth, whatever the distribution. The bounds are
fixed: histograms of any two workers, or of any two moments, can be added and subtracted bucket by bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

FIRST_S = 50e-6
PER_OCTAVE = 8

BOUNDS: tuple[float, ...] = tuple(FIRST_S * 2 ** (i / PER_OCTAVE) for i in range(21 * PER_OCTAVE + 3))
"""Upper bounds in seconds. Bucket `i` holds what is > BOUNDS[i-1] and <= BOUNDS[i]; bucket `len(BOUNDS)` the rest."""


class Histogram:
    """Observations by bucket (only those that have any) and their sum."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one observation."""
        buckets = self.buckets
        index = bisect_left(BOUNDS, seconds)
        buckets[index] = buckets.get(index, 0) + 1
        self.sum += seconds

    def merge(self, buckets: Mapping[int, int], total: float) -> None:
        """Add observations that were counted elsewhere, with their sum."""
        mine = self.buckets
        for index, count in buckets.items():
            mine[index] = mine.get(index, 0) + count
        self.sum += total

    def copy(self) -> Histogram:
        """Return the same observations, to be added to apart from these."""
        other = Histogram()
        other.buckets, other.sum = self.buckets.copy(), self.sum
        return other

    @property
    def count(self) -> int:
        """How many observations there are."""
        return sum(self.buckets.values())

    def quantile(self, q: float) -> float | None:
        """Return the duration in seconds that a fraction `q` (0 to 1) of the observations does not exceed.

        It is the upper bound of the bucket, so at most 9 % too high. None when nothing was observed; `inf` when the
        answer lies above the last bound.
        """
        wanted = q * self.count
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= wanted:
                return BOUNDS[index] if index < len(BOUNDS) else float("inf")
        return None
