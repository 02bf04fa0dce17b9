"""The operator's buckets from ours: which bound of /metrics a fine bucket of `histogram` falls under.

Ours are 9 % wide and end anywhere; a configured bound lies inside of one. That one is counted under the next configured
bound: `le="0.1"` never counts an observation above 0.1 s, and may miss some that lie less than 9 % below it. So "so
many were faster than" is a lower bound, a quantile is never too good, and the sum and the count are exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache

from proxy.telemetry.histogram import BOUNDS


@lru_cache(maxsize=8)
def _places(bounds: tuple[float, ...]) -> tuple[int, ...]:
    """For each fine bucket the first configured bound that is not below its own; `len(bounds)` is +Inf."""
    return (*(bisect_left(bounds, bound) for bound in BOUNDS), len(bounds))


def cumulative(buckets: Mapping[int, int], bounds: Sequence[float]) -> list[int]:
    """Return the counts for `bounds` (ascending, in seconds), each with all below it, and for +Inf at the end."""
    places = _places(tuple(bounds))
    counts = [0] * (len(bounds) + 1)
    for index, count in buckets.items():
        counts[places[index]] += count
    seen = 0
    for place, count in enumerate(counts):
        seen += count
        counts[place] = seen
    return counts
