"""Latency as Turnout's workers measured it, of the present step and of the whole performance."""

from __future__ import annotations

from proxy.telemetry.fold import Fold
from proxy.telemetry.histogram import Histogram
from proxy.telemetry.names import DURATION

Latency = tuple[float, float]
"""Median and 99th percentile in milliseconds."""


class Meter:
    """Reads the supervisor's histograms; a step is what was added since `begin`."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._before: dict[str, Histogram] = {}

    def begin(self) -> None:
        """Begin a step: what is there already belongs to the ones before. Workers report a moment late."""
        self._before = self._now()

    def of_step(self, version: str) -> Latency | None:
        """Return the latency of a version in this step; None while there is none."""
        now = self._now().get(version, Histogram())
        before = self._before.get(version, Histogram())
        added = Histogram()
        added.merge({index: count - before.buckets.get(index, 0) for index, count in now.buckets.items()}, 0.0)
        return _latency(added)

    def overall(self, version: str) -> Latency | None:
        """Return the latency of a version from the beginning; None while there is none."""
        return _latency(self._now().get(version, Histogram()))

    def _now(self) -> dict[str, Histogram]:
        """Copies by version: there is one route."""
        copies: dict[str, Histogram] = {}
        for (_route, version), histogram in self._fold.histograms(DURATION).items():
            copies.setdefault(version, Histogram()).merge(histogram.buckets, histogram.sum)
        return copies


def _latency(histogram: Histogram) -> Latency | None:
    median, p99 = histogram.quantile(0.5), histogram.quantile(0.99)
    return None if not histogram.count or median is None or p99 is None else (1000 * median, 1000 * p99)
